"""Plot: what the other stages left behind, as figures and as one page.

Reads prepare/, gradcheck/, train/ and synthesize/; writes loss.png, gradcheck.png, step_sweep.png, samples.png and
report.html.
"""

import csv
import io
import json
from pathlib import Path

from charloom import plots, report
from charloom.command import stage_main
from charloom.config import Config, flatten
from charloom.errors import StateError


def run(config: Config, inp: Path, out: Path) -> None:
    """Draw the figures and the page from the stage folders in `inp`. Raises StateError where a file is missing."""
    summary = json.loads(_read(inp, "prepare/summary.json"))
    errors = json.loads(_read(inp, "gradcheck/errors.json"))
    sweep = csv.DictReader(io.StringIO(_read(inp, "gradcheck/step_sweep.csv")))
    history = list(csv.DictReader(io.StringIO(_read(inp, "train/history.csv"))))
    samples = [json.loads(line) for line in _read(inp, "train/samples.jsonl").split("\n") if line]
    measured = "validation_nats_per_char"

    figures = {
        "loss": plots.loss(
            [int(row["step"]) for row in history],
            [float(row["loss"]) for row in history],
            [float(row["smooth_loss"]) for row in history],
            {int(row["step"]): float(row[measured]) for row in history if row[measured]},
            seq_length=config.train.seq_length,
            vocabulary_size=summary["vocabulary_size"],
        ),
        "gradcheck": plots.gradient_errors(errors),
        "step_sweep": plots.step_sweep(
            [(row["method"], float(row["step"]), row["tensor"], float(row["max_relative_error"])) for row in sweep],
            step=errors["step"],
        ),
        "samples": plots.samples(samples),
    }
    page = report.page(
        summary=summary,
        errors=errors,
        metrics=json.loads(_read(inp, "train/metrics.json")),
        samples=samples,
        text=_read(inp, "synthesize/sample.txt"),
        quality=json.loads(_read(inp, "synthesize/metrics.json")),
        parameters=flatten(config.parameters()),
        figures=figures,
    )

    out.mkdir(parents=True, exist_ok=True)
    for name, png in figures.items():
        (out / f"{name}.png").write_bytes(png)
    (out / "report.html").write_bytes(page.encode())


def _read(inp: Path, name: str) -> str:
    """The file's text, its newlines as they stand."""
    try:
        return (inp / name).read_bytes().decode()
    except FileNotFoundError:
        stage = name.split("/")[0]
        raise StateError(
            f"{inp / name} is missing; run the stage {stage} first, or name its folder with inp="
        ) from None


if __name__ == "__main__":
    stage_main(run)
