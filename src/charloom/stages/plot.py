"""Plot: what the other stages left behind, as figures and as one page.

Reads prepare/, gradcheck/, train/ and synthesize/; writes loss.png, gradcheck.png, step_sweep.png, samples.png and
report.html.
"""

from pathlib import Path

from charloom.adapters.command import stage_main
from charloom.adapters.configuration import Config, flatten
from charloom.adapters.files import artifacts
from charloom.adapters.plots import plots
from charloom.adapters.report import report


def run(config: Config, inp: Path, out: Path) -> None:
    """Draw the figures and the page from the stage folders in `inp`. Raises StateError where a file is missing."""
    summary, errors = artifacts.SUMMARY.read(inp), artifacts.ERRORS.read(inp)
    history, samples = artifacts.HISTORY.read(inp), artifacts.SAMPLES.read(inp)
    validation = {row.step: row.validation_nats_per_char for row in history if row.validation_nats_per_char is not None}

    figures = {
        "loss": plots.loss(
            [row.step for row in history],
            [row.loss for row in history],
            [row.smooth_loss for row in history],
            validation,
            seq_length=config.train.seq_length,
            vocabulary_size=summary.vocabulary_size,
        ),
        "gradcheck": plots.gradient_errors(errors),
        "step_sweep": plots.step_sweep(artifacts.STEP_SWEEP.read(inp), step=errors.step),
        "samples": plots.samples(samples),
    }
    page = report.page(
        summary=summary,
        errors=errors,
        metrics=artifacts.METRICS.read(inp),
        samples=samples,
        text=artifacts.TEXT.read(inp),
        quality=artifacts.QUALITY.read(inp),
        parameters=flatten(config.parameters()),
        figures=figures,
    )

    for name, png in figures.items():
        artifacts.FIGURES[name].write_bytes(out, png)
    artifacts.REPORT.write_bytes(out, page.encode())


if __name__ == "__main__":
    stage_main(run)
