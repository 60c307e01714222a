"""plot: the results of the other stages: figures, a report, a page to explore the network on, and headline figures."""

from pathlib import Path

from charloom.adapters import plots, report
from charloom.adapters.command import stage_main
from charloom.adapters.configuration import Config, flatten, from_recorded
from charloom.adapters.files import artifacts, parameters
from charloom.core.common.headline import Headline
from charloom.core.common.reference import reference_errors
from charloom.stages import exploration


def run(config: Config, inp: Path, out: Path) -> None:
    """Draw the figures and the pages into `out`, from the stage folders in `inp` and the parameters in them.

    Raises StateError where a file of another stage is missing or damaged, or two stages disagree.
    """
    made_with = from_recorded(parameters.read(inp), inp)
    summary, errors = artifacts.SUMMARY.read(inp), artifacts.ERRORS.read(inp)
    baselines = artifacts.BASELINES.read(inp)
    history, samples = artifacts.HISTORY.read(inp), artifacts.SAMPLES.read(inp)
    metrics, warnings = artifacts.METRICS.read(inp), artifacts.WARNINGS.read(inp)
    inspections, text_quality = artifacts.INSPECTIONS.read(inp), artifacts.TEXT_QUALITY.read(inp)
    T, K = made_with.train.seq_length, summary.vocabulary_size
    quality, evaluation = artifacts.QUALITY.read(inp), artifacts.EVALUATION.read(inp)
    reference = reference_errors(made_with.model.cell, made_with.model.layers)

    figures = {
        "loss": plots.loss(history, seq_length=T, vocabulary_size=K, baselines=baselines.models, warnings=warnings),
        "gradcheck": plots.gradient_errors(errors, reference=reference),
        "step_sweep": plots.step_sweep(artifacts.STEP_SWEEP.read(inp), step=errors.step),
        "samples": plots.samples(samples),
        "gradient_flow": plots.gradient_flow(inspections, seq_length=T),
        "dynamics": plots.dynamics(inspections),
        "quality": plots.quality(text_quality),
    }
    page = report.page(
        summary=summary,
        errors=errors,
        reference=reference,
        baselines=baselines,
        metrics=metrics,
        warnings=warnings,
        samples=samples,
        text=artifacts.TEXT.read(inp),
        quality=quality,
        text_quality=text_quality,
        evaluation=evaluation,
        parameters=flatten(made_with.parameters()),
        figures=figures,
    )

    for name, png in figures.items():
        artifacts.FIGURES[name].write_bytes(out, png)
    loss = report.held_out_loss(metrics, evaluation)
    artifacts.HEADLINE.write(out, Headline.of(loss, errors, metrics, baselines, quality))
    artifacts.REPORT.write_bytes(out, page.encode())
    artifacts.EXPLORER.write_bytes(out, exploration.page(inp, metrics, order=made_with.baseline.order))
    artifacts.seal("plot", out)


if __name__ == "__main__":
    stage_main(run)
