"""Every file that a stage writes: its path in the results folder and the type of what it holds, here alone."""

from pathlib import Path

from charloom.adapters.files.formats import (
    CHECKSUMS,
    Artifact,
    Csv,
    IdsFile,
    Json,
    JsonLines,
    Text,
    hash_file,
    read_checksums,
    write_checksums,
)
from charloom.core.common import quality_records, records
from charloom.core.common.headline import Headline

VOCABULARY = Json("prepare/vocabulary.json", list[str])
IDS = IdsFile("prepare/ids.npy")
SUMMARY = Json("prepare/summary.json", records.Summary)

BASELINES = Json("baseline/metrics.json", records.Baselines)

ERRORS = Json("gradcheck/errors.json", records.GradientErrors)
ERROR_TABLE = Csv("gradcheck/errors.csv", records.ErrorRow)
STEP_SWEEP = Csv("gradcheck/step_sweep.csv", records.StepSizeError)

MODEL = Artifact("train/model.npz")
BEST_MODEL = Artifact("train/best.npz")
HISTORY = Csv("train/history.csv", records.HistoryRow)
SAMPLES = JsonLines("train/samples.jsonl", records.Sample)
WARNINGS = JsonLines("train/warnings.jsonl", records.TrainingWarning)
METRICS = Json("train/metrics.json", records.TrainingMetrics)
INSPECTIONS = JsonLines("train/inspection.jsonl", records.Inspection)
SNAPSHOTS = Artifact("train/snapshots.npz")

TEXT = Text("synthesize/sample.txt")
QUALITY = Json("synthesize/metrics.json", records.Quality)
TEXT_QUALITY = Json("synthesize/quality.json", quality_records.TextQuality)

EVALUATION = Json("evaluate/metrics.json", records.ModelEvaluation)

FIGURES = {
    name: Artifact(f"plot/{name}.png")
    for name in ("loss", "gradcheck", "step_sweep", "samples", "gradient_flow", "dynamics", "quality")
}
HEADLINE = Json("plot/metrics.json", Headline)
REPORT = Artifact("plot/report.html")
EXPLORER = Artifact("plot/explorer.html")

PARAMETERS = {
    stage: Json(f"{stage}/parameters.json", records.ParameterValues)
    for stage in ("prepare", "baseline", "gradcheck", "train", "synthesize", "evaluate")
}

RESULT = Json("track/result.json", records.Result)

ALL: tuple[Artifact, ...] = (
    *(VOCABULARY, IDS, SUMMARY),
    BASELINES,
    *(ERRORS, ERROR_TABLE, STEP_SWEEP),
    *(MODEL, BEST_MODEL, HISTORY, SAMPLES, WARNINGS, METRICS, INSPECTIONS, SNAPSHOTS),
    *(TEXT, QUALITY, TEXT_QUALITY),
    EVALUATION,
    *PARAMETERS.values(),
    *(*FIGURES.values(), HEADLINE, REPORT, EXPLORER),
    RESULT,
)
STAGES = tuple(dict.fromkeys(artifact.stage for artifact in ALL))


def seal(stage: str, out: Path) -> None:
    """Write the checksums of all files of a stage into its folder `out`, once they are there."""
    write_checksums(out, [artifact.path(out).name for artifact in ALL if artifact.stage == stage])


def verify(stage: str, inp: Path) -> tuple[dict[str, str], list[str]]:
    """The sha256 of each file of a stage, by its name in the results folder `inp`, and what differs from SHA256SUMS."""
    folder = inp / stage
    try:
        expected = read_checksums(folder)
    except FileNotFoundError:
        return {}, [f"{stage}/{CHECKSUMS} is missing"]
    except ValueError as error:
        return {}, [f"{stage}/{CHECKSUMS} is damaged ({error})"]
    found, problems = {}, []
    for name, sha256 in expected.items():
        try:
            found[f"{stage}/{name}"] = hash_file(folder / name)
        except FileNotFoundError:
            problems.append(f"{stage}/{name} is missing")
        except ValueError as error:
            problems.append(f"{stage}/{name} is damaged ({error})")
        else:
            if found[f"{stage}/{name}"] != sha256:
                problems.append(f"{stage}/{name} is not as the stage wrote it")
    return found, problems
