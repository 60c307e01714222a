"""A result in a few lines for the terminal: its headline figures, what they are compared with, and where its pages are.

Only reads: the figures are those of the stages' files.
"""

from pathlib import Path

from charloom.adapters.files import artifacts, parameters
from charloom.core.common.formatting import scientific, score_table, standing
from charloom.core.common.records import Baselines, ModelEvaluation, Score


def summary(inp: Path) -> str:
    """The headline figures of the result in the folder `inp`, as lines.

    Raises StateError where a file is missing or damaged, or two stages were made with different parameters.
    """
    parameters.read(inp)
    text, errors, metrics = artifacts.SUMMARY.read(inp), artifacts.ERRORS.read(inp), artifacts.METRICS.read(inp)
    baselines, evaluation = artifacts.BASELINES.read(inp), artifacts.EVALUATION.read(inp)
    known = artifacts.QUALITY.read(inp).known_word_fraction
    figures = {
        "training": f"{metrics.steps:,} updates on {text.path}, smooth loss {metrics.smooth_loss:.1f} nats per window",
        "gradient check": f"{'passed' if errors.passed else 'FAILED'}, largest scaled error "
        f"{scientific(errors.max_scaled_error)}, threshold {scientific(errors.threshold)}",
        "generated text": f"{known:.0%} of its words are in the training text",
    }
    pages = {"report": inp / artifacts.REPORT.name, "explorer": inp / artifacts.EXPLORER.name}
    figures |= {name: str(path) for name, path in pages.items() if path.exists()}  # a sweep draws those of its best job
    lines = [f"{name:14}  {figure}" for name, figure in figures.items()]
    return "\n".join([*_losses(baselines, evaluation, metrics.best_validation_nats_per_char), "", *lines])


def _losses(baselines: Baselines, evaluation: ModelEvaluation, best: float | None) -> list[str]:
    """A table of the losses on the validation text, the highest first, and the network's place in it."""
    scores: dict[str, Score] = {model.name: model for model in baselines.models}
    if evaluation.text is None and evaluation.carried and evaluation.windows:
        best = evaluation.carried.nats_per_char
        scores[f"this network, windows of {evaluation.window}"] = evaluation.windows
    if best is None:
        return [*baselines.left_out, "The network has no validation loss."]
    scores["this network"] = Score.of(best)
    ordered = dict(sorted(scores.items(), key=lambda item: -item[1].nats_per_char))
    place = standing(best, baselines.models)
    return [score_table(ordered), *([f"On the validation text the network is {place}."] if place else [])]
