"""baseline: uniform and n-gram models on the same split, which say what a network's loss is worth."""

import sys
from pathlib import Path

import numpy as np

from charloom.adapters.command import require_memory, stage_main
from charloom.adapters.configuration import Config
from charloom.adapters.files import artifacts, corpus, parameters
from charloom.core.common.formatting import listed, score_table
from charloom.core.text import baselines
from charloom.core.text.ngrams import BYTES_PER_CHARACTER


def run(config: Config, inp: Path, out: Path) -> None:
    """Write how well the models predict the validation text into `out`, and print it as a table."""
    text, order = corpus.load(inp), config.baseline.order
    require_memory(
        BYTES_PER_CHARACTER * max(len(text.train_ids), len(text.validation_ids)) if order else 0,
        "counting n-grams",
        f"lower baseline.order ({order}) to 0 for the uniform model alone, or give a shorter text",
    )
    found = baselines(text.train_ids, text.validation_ids, vocabulary_size=len(text.vocabulary), order=order)
    if found.models:
        print(score_table({model.name: model for model in found.models}))
        print(f"{found.characters:,} characters of the validation text, from the second on")
    for reason in found.left_out:
        print(f"left out: {reason}")
    if found.unseen:
        unseen = np.setdiff1d(text.validation_ids[1:], text.train_ids)
        print(
            f"{found.unseen:,} of the {found.characters:,} validation characters are not in the training text "
            f"({listed(text.vocabulary.decode(unseen))}); the n-gram models give each the uniform model's share",
            file=sys.stderr,
        )
    artifacts.BASELINES.write(out, found)
    parameters.write("baseline", config.stage_parameters("baseline"), inp, out)
    artifacts.seal("baseline", out)


if __name__ == "__main__":
    stage_main(run)
