"""synthesize: the trained model writes a text, and the text is measured."""

import math
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from charloom.adapters.command import require_memory, stage_main
from charloom.adapters.configuration import Config, SynthesizeConfig
from charloom.adapters.files import artifacts, corpus, models, parameters
from charloom.adapters.files.formats import replacing
from charloom.adapters.process.workers import blas_threads
from charloom.core.common.errors import DataError, hint
from charloom.core.common.quality_records import TextQuality
from charloom.core.network import Model, Network
from charloom.core.text import passage_quality, quality

_SEPARATOR = "\n\n----\n\n"
_TEMPERATURES = (0.5, 0.75, 1.0, 1.25)
_PASSAGE, _MOST_PASSAGES = 500, 200  # characters of a passage whose quality is measured, or more where there are 200
_MEASURED = 2_000_000  # characters of the training text that a written text is compared with


def run(config: Config, inp: Path, out: Path) -> None:
    """Write the text and its quality into `out`; the text is on the terminal as it is written."""
    options, data, key = config.synthesize, config.data, "synthesize.prime_file"
    prime = options.prime
    if options.prime_file:
        prime = corpus.read_text(Path(options.prime_file), encoding=data.encoding, newline=data.newline, key=key)
    model, _, description = models.choose(options.model, inp, key="synthesize.model")
    sources = ["prepare", "train"] if models.from_training(options.model) else _compared_with(inp)
    trained_on = corpus.load(inp) if sources else None
    _require_memory(model.network, options)
    print(f"writing with {description}", file=sys.stderr)
    if trained_on is None:
        print(
            f"there is no training text in {inp}: no word of the text counts as known, and none as copied",
            file=sys.stderr,
        )
    training_text = trained_on.vocabulary.decode(trained_on.train_ids[:_MEASURED]) if trained_on else ""
    unreadable = "choose synthesize.prime from the training text's characters or set synthesize.on_unknown=skip"
    with blas_threads(1):  # another number rounds differently
        with hint(DataError, unreadable):
            characters = model.characters(
                rng=np.random.default_rng(options.seed),
                streams=options.streams,
                prime=prime,
                temperature=options.temperature,
                top_k=options.top_k,
                top_p=options.top_p,
                on_unknown=options.on_unknown,
            )
        with replacing(artifacts.TEXT.path(out)) as file:
            for piece in _pieces(characters, prime, options):
                file.write(piece.encode())
                sys.stdout.write(piece)
        print()
        artifacts.TEXT_QUALITY.write(out, _text_quality(model, trained_on, training_text, options))

    with artifacts.TEXT.path(out).open(encoding="utf-8", newline="") as text:
        text.seek(len(prime.encode()))
        artifacts.QUALITY.write(out, quality(text.read(_MEASURED), training_text))
    parameters.write("synthesize", config.stage_parameters("synthesize"), inp, out, sources)
    artifacts.seal("synthesize", out)


def _text_quality(
    model: Model, trained_on: corpus.Corpus | None, training_text: str, options: SynthesizeConfig
) -> TextQuality:
    """The quality of passages sampled at several temperatures, the configured one among them, and of held-out text.

    They are drawn from the whole distribution, by a generator of their own for each temperature.
    """
    if not options.quality_length:
        return TextQuality(0, [], None)
    streams = _quality_streams(options)
    length = math.ceil(options.quality_length / streams)
    temperatures = sorted({*_TEMPERATURES, options.temperature})
    *seeds, bootstrap_seed = np.random.SeedSequence([options.seed, 1]).spawn(len(temperatures) + 1)
    groups: list[tuple[float | None, list[str]]] = []
    for temperature, seed in zip(temperatures, seeds, strict=True):
        drawn = model.characters(rng=np.random.default_rng(seed), streams=streams, temperature=temperature)
        groups.append((temperature, ["".join(text) for text in zip(*islice(drawn, length), strict=True)]))
    held_out = ""
    if trained_on:
        held_out = trained_on.vocabulary.decode(trained_on.validation_ids[: options.quality_length])
    whole = range(0, len(held_out) - length + 1, length) or range(min(1, len(held_out)))
    groups.append((None, [held_out[start : start + length] for start in whole]))
    found = passage_quality(groups, training_text, rng=np.random.default_rng(bootstrap_seed))
    return TextQuality(
        training_characters=len(training_text),
        sampled=[each for each in found if each.temperature is not None],
        held_out=next((each for each in found if each.temperature is None), None),
    )


def _quality_streams(options: SynthesizeConfig) -> int:
    """How many passages are sampled side by side for each temperature."""
    return max(1, min(_MOST_PASSAGES, options.quality_length // _PASSAGE))


def _compared_with(inp: Path) -> list[str]:
    """The stages in `inp` that the text of another model is compared with: the training text, where there is one."""
    return ["prepare"] if artifacts.SUMMARY.path(inp / "prepare").exists() else []


def _require_memory(network: Network, options: SynthesizeConfig) -> None:
    """Refuse more streams than memory holds; the texts of several are kept until the last character is drawn."""
    B, length = max(options.streams, _quality_streams(options)), options.length
    needed = Network.memory(1, B, **network.sizes) + 8 * 8 * B * network.vocabulary_size
    needed += length * (4 * options.streams + 200) if options.streams > 1 else 0
    advice = f"lower synthesize.streams ({B}) or synthesize.length ({length})"
    require_memory(needed, "the text", advice)


def _pieces(characters: Iterator[str], prime: str, options: SynthesizeConfig) -> Iterator[str]:
    """What is written: one text as it is drawn, or the texts of many streams with a line between them."""
    drawn = islice(characters, options.length)
    if options.streams == 1:
        yield prime
        yield from drawn
        return
    for number, text in enumerate(zip(*drawn, strict=True)):
        yield (_SEPARATOR if number else "") + prime + "".join(text)


if __name__ == "__main__":
    stage_main(run)
