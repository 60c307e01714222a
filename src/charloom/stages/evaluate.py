"""evaluate: how well a model predicts the validation text, or any other, as a whole and where."""

from collections.abc import Iterator
from pathlib import Path

from charloom.adapters.command import require_memory, stage_main
from charloom.adapters.configuration import Config
from charloom.adapters.files import artifacts, corpus, models, parameters
from charloom.adapters.files.formats import hash_file
from charloom.adapters.process.workers import blas_threads
from charloom.core.common.errors import DataError, hint
from charloom.core.common.records import Evaluation, ModelEvaluation, Score
from charloom.core.network import Model, evaluate_text, evaluation_memory


def run(config: Config, inp: Path, out: Path) -> None:
    """Write the evaluation into `out`, and its main figures to the terminal.

    Raises DataError for a text that cannot be evaluated; a validation text of fewer than two characters is recorded as
    one without scores, since a pipeline may well have none.
    """
    options = config.evaluate
    model, path, description = models.choose(options.model, inp, key="evaluate.model")
    require_memory(evaluation_memory(model.network), "the evaluation", "evaluate a smaller model")
    with blas_threads(1):  # another number rounds differently
        found = _evaluate(config, model, inp)
    record = ModelEvaluation(**vars(found), model=options.model, model_sha256=hash_file(path), text=options.path)
    artifacts.EVALUATION.write(out, record)
    sources = {"prepare": options.path is None, "train": models.from_training(options.model)}
    read = [stage for stage, is_read in sources.items() if is_read]
    parameters.write("evaluate", config.stage_parameters("evaluate"), inp, out, read)
    artifacts.seal("evaluate", out)
    print(f"{description}, on {options.path or 'the validation text'}:")
    print(*_table(record), sep="\n")


def _evaluate(config: Config, model: Model, inp: Path) -> Evaluation:
    options, data, key = config.evaluate, config.data, "evaluate.path"
    if options.path is None:
        text = corpus.load(inp)
        if len(text.validation_ids) < 2:
            return Evaluation(len(text.validation_ids), 0, options.window, None, None, [], [], [])
        if text.vocabulary == model.vocabulary:
            return evaluate_text(model.network, model.vocabulary, text.validation_ids, window=options.window)
        characters = text.vocabulary.decode(text.validation_ids)
    else:
        characters = corpus.read_text(Path(options.path), encoding=data.encoding, newline=data.newline, key=key)
    advice = "set evaluate.on_unknown=skip to leave unknown characters out, or evaluate.path to another text"
    with hint(DataError, advice):
        return model.evaluate(characters, window=options.window, on_unknown=options.on_unknown)


def _table(found: Evaluation) -> Iterator[str]:
    """The scores and the kinds of characters, as lines."""
    if found.carried is None or found.windows is None:
        yield f"  not scored: a text must have two characters or more, got {found.characters}"
        return
    skipped = f", {found.skipped:,} unknown ones left out" if found.skipped else ""
    yield f"  {found.characters:,} characters predicted{skipped}"
    yield _row("", "nats/char", "bits/char", "perplexity")
    yield _score("state carried from the start", found.carried)
    yield _score(f"windows of {found.window} from a zero state", found.windows)
    yield _row("", "nats/char", "of the loss", "characters")
    for group in found.by_kind:
        yield _row(group.name, f"{group.nats_per_char:.4f}", f"{group.share:.1%}", f"{group.characters:,}")


def _score(name: str, score: Score) -> str:
    return _row(name, f"{score.nats_per_char:.4f}", f"{score.bits_per_char:.4f}", f"{score.perplexity:.3f}")


def _row(name: str, *cells: str) -> str:
    return f"  {name:<32}" + "".join(f"{cell:>12}" for cell in cells)


if __name__ == "__main__":
    stage_main(run)
