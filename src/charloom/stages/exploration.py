"""What the plot stage puts on the explorer's page: the trained network, and what is known of its units."""

import sys
from collections.abc import Sequence
from pathlib import Path

from charloom.adapters import explorer
from charloom.adapters.files import artifacts, corpus, models, snapshots
from charloom.adapters.process.workers import blas_threads
from charloom.core.common.records import TrainingMetrics
from charloom.core.common.types import Ids
from charloom.core.network.units import compare
from charloom.core.text import Vocabulary, features
from charloom.core.text.ngrams import NGrams

_EXCERPT = 600  # characters of the text that the page starts with
_COMPARED = 6_000  # characters that the units are compared with features on
_COUNTED = 5_000_000  # characters of a training text that is not too long to be counted here once more


def page(inp: Path, metrics: TrainingMetrics, *, order: int) -> bytes:
    """The page of the network with the lowest validation loss; what is left out of it is said on the terminal, too.

    `order` is that of the n-gram model that the network is compared with. The page reads the validation text, which the
    network was not trained on, or the training text where there is no other.

    Raises StateError or DataError where a file of another stage is missing or damaged.
    """
    text, model = corpus.load(inp), models.load(inp / artifacts.BEST_MODEL.name)
    ids = text.validation_ids if len(text.validation_ids) else text.train_ids
    decode, kept = text.vocabulary.decode, snapshots.load(inp / artifacts.SNAPSHOTS.name)
    with blas_threads(1):  # another number rounds differently
        units = compare(model.network, ids[:_COMPARED], features(decode(ids[:_COMPARED])))
    excerpt = _excerpt(decode(ids[: 3 * _EXCERPT]))
    order = min(order, len(text.train_ids))
    is_short = len(text.train_ids) <= explorer.LONGEST_TRAINING_TEXT
    made = explorer.page(
        model=model,
        step=metrics.best_step or metrics.steps,
        corpus=Path(text.summary.path).name,
        excerpt=excerpt,
        training_text=decode(text.train_ids) if is_short else None,
        order=order,
        ngram_losses=_ngram_losses(text.train_ids, text.vocabulary, excerpt, order),
        units=units,
        snapshots={
            int(step): {name: array[place] for name, array in kept.parameters.items()}
            for place, step in enumerate(kept.steps)
        },
    )
    for note in made.notes:
        print(f"the explorer: {note}", file=sys.stderr)
    return made.content


def _ngram_losses(train_ids: Ids, vocabulary: Vocabulary, excerpt: str, order: int) -> Sequence[float]:
    """The losses of the excerpt by the n-gram model; none where the training text is too long."""
    if len(train_ids) > _COUNTED:
        return []
    model = NGrams(train_ids, vocabulary_size=len(vocabulary), order=order)
    losses: list[float] = model.losses(vocabulary.encode(excerpt)).tolist()
    return losses


def _excerpt(text: str) -> str:
    r"""The beginning of a text; of its first whole paragraph, where that begins soon enough.

    >>> _excerpt("of a sentence.\n\nA new one")
    'A new one'
    """
    _, _, after = text.partition("\n\n")
    return (after if len(after) >= min(_EXCERPT, len(text) // 3) else text)[:_EXCERPT]
