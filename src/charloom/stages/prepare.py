"""prepare: the corpus becomes a vocabulary, ids and a split."""

from pathlib import Path

from charloom.adapters.command import stage_main
from charloom.adapters.configuration import Config
from charloom.adapters.files import artifacts, corpus, parameters


def run(config: Config, inp: Path, out: Path) -> None:
    """Write the vocabulary, the ids and the summary of the corpus into `out`; reads nothing in `inp`."""
    data = config.data
    summary = corpus.prepare(
        Path(data.path), out, encoding=data.encoding, newline=data.newline, validation_fraction=data.validation_fraction
    )
    parameters.write("prepare", config.stage_parameters("prepare"), inp, out)
    artifacts.seal("prepare", out)
    print(
        f"{summary.path}: {summary.characters:,} characters, {summary.vocabulary_size} distinct; "
        f"{summary.train_characters:,} to train on, {summary.validation_characters:,} to validate"
    )


if __name__ == "__main__":
    stage_main(run)
