"""Every file that a stage writes: its path in the results folder and the type of what it holds, here alone."""

from charloom.adapters.files.formats import Artifact, Csv, IdsFile, Json, JsonLines, Text
from charloom.core.common import records

VOCABULARY = Json("prepare/vocabulary.json", list[str])
IDS = IdsFile("prepare/ids.npy")
SUMMARY = Json("prepare/summary.json", records.Summary)

ERRORS = Json("gradcheck/errors.json", records.GradientErrors)
ERROR_TABLE = Csv("gradcheck/errors.csv", records.ErrorRow)
STEP_SWEEP = Csv("gradcheck/step_sweep.csv", records.StepSizeError)

MODEL = Artifact("train/model.npz")
BEST_MODEL = Artifact("train/best.npz")
HISTORY = Csv("train/history.csv", records.HistoryRow)
SAMPLES = JsonLines("train/samples.jsonl", records.Sample)
WARNINGS = JsonLines("train/warnings.jsonl", records.TrainingWarning)
METRICS = Json("train/metrics.json", records.TrainingMetrics)

TEXT = Text("synthesize/sample.txt")
QUALITY = Json("synthesize/metrics.json", records.Quality)

FIGURES = {name: Artifact(f"plot/{name}.png") for name in ("loss", "gradcheck", "step_sweep", "samples")}
REPORT = Artifact("plot/report.html")

RESULT = Json("track/result.json", records.Result)
