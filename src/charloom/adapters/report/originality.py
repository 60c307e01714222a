"""Whether a network recites the text that it was trained on or invents one, in a sentence."""

from charloom.core.common.quality_records import PassageQuality, TextQuality


def originality(found: TextQuality) -> str:
    """How much is copied and how much is new where the temperature is nearest to 1, beside held-out text.

    A difference is one where the 95 % intervals do not overlap. Empty where nothing was sampled.
    """
    if not found.sampled:
        return ""
    nearest = min(found.sampled, key=lambda each: abs((each.temperature or 0) - 1))
    copied = f"{nearest.mean_longest_copy.value:.1f} characters of a passage"
    said = f"At temperature {nearest.temperature:g}, the longest copy has {copied} on average"
    if found.held_out:
        said += f", {found.held_out.mean_longest_copy.value:.1f} in held-out text: {_against(nearest, found.held_out)}"
    if nearest.known_words is None:
        return f"{said}."
    joint = "and" if found.held_out is None else "while"
    known = f"{1 - nearest.known_words.value:.0%} of its words are not in the training text"
    if found.held_out and found.held_out.known_words:
        known += f", against {1 - found.held_out.known_words.value:.0%} in held-out text"
    return f"{said}, {joint} {known}."


def _against(sampled: PassageQuality, held_out: PassageQuality) -> str:
    ours, theirs = sampled.mean_longest_copy, held_out.mean_longest_copy
    if ours.low > theirs.high:
        return "the network has memorised parts of the training text"
    if ours.high < theirs.low:
        return "it invents more than it recites"
    return "it does not recite more than a text that nobody copied"
