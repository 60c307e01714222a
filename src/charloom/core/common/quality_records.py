"""What the stage synthesize finds out of the quality of sampled text, as plain values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A figure of a text, and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class NgramQuality:
    """The n-grams of a text: the share that is `distinct` within its passage, and that is not in the training text."""

    n: int
    distinct: Estimate
    new: Estimate


@dataclass(frozen=True)
class PassageQuality:
    """The quality of equally long passages, sampled at a `temperature`, or of the held-out text where it is None.

    `known_words` is the share of the words that the training text has, None without words. `longest_copy` is the length
    of the longest passage that stands there to the letter, `copied`; `mean_longest_copy` is the mean over passages.
    """

    temperature: float | None
    passages: int
    characters: int
    words: int
    known_words: Estimate | None
    ngrams: list[NgramQuality]
    mean_longest_copy: Estimate
    longest_copy: int
    copied: str


@dataclass(frozen=True)
class TextQuality:
    """The quality of what a model writes, by temperature, and that of the held-out text, the ceiling, where there is
    one; `training_characters` are those that they are compared with.
    """

    training_characters: int
    sampled: list[PassageQuality]
    held_out: PassageQuality | None
