"""The pictures of MLflow's pages in tracking.md and sweeps.md, taken of real runs.

`python docs/mlflow_pages.py` makes a project in a temporary folder, runs a sweep and a long training there, and takes
the pictures in Chromium (about two minutes).
"""

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow import MlflowClient
from PIL import Image

if TYPE_CHECKING:
    from mlflow.entities import Run
    from playwright.sync_api import Page

HERE = Path(__file__).parent
SWEEP = (
    "-m",
    "hydra/launcher=joblib",
    "preset=smoke",
    "sweep.plot=all",
    "optimizer.learning_rate=0.05,0.1",
    "seed=1,2",
)
LIVE = ("train.steps=10000000", "train.log_every=1000", "gradcheck.mode=fast")
PAUSE = 10_000  # milliseconds between the two pictures of the training
MODE = "workflowType=machine_learning"
ERRORS, LOSS, SAMPLE = "gradcheck/relative_errors.json", "plot/loss.png", "synthesize/sample.txt"
# MLflow's own assistant stays closed.
SETTINGS = {"mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true", "mlflow.assistant.panelOpen_v1": "false"}


def make_project(root: Path) -> None:
    """The configuration and the text of this project, in a folder of their own."""
    shutil.copytree(HERE.parent / "conf", root / "conf")
    shutil.copy(HERE.parent / "params.yaml", root)
    (root / "data").mkdir()
    shutil.copy(HERE.parent / "data/corpus.txt", root / "data")


@contextmanager
def command(root: Path, module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command of charloom in the project, ended with SIGTERM if it is not done by then."""
    dropped = ("DVC_", "HYDRA_", "MLFLOW_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    environment |= {"PYTHONPATH": str(HERE.parent / "src"), "MLFLOW_DISABLE_TELEMETRY": "true"}
    line = [sys.executable, "-m", f"charloom.{module}", *arguments]
    with subprocess.Popen(line, cwd=root, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate()


def picture(page: "Page") -> bytes:
    """What the page shows once its charts have settled."""
    page.wait_for_timeout(2500)
    return page.screenshot()


def save(name: str, *pictures: bytes) -> None:
    """Save pictures of one size as one, each below the one before, with a palette of 128 colours."""
    images = [Image.open(io.BytesIO(data)).convert("RGB") for data in pictures]
    width, height = images[0].size
    whole = Image.new("RGB", (width, height * len(images)))
    for row, image in enumerate(images):
        whole.paste(image, (0, row * height))
    whole.quantize(128).save(HERE / f"mlflow-{name}.png", optimize=True)


def open_run(page: "Page", runs: str, run: "Run", part: str) -> None:
    """Load a part of a run's page anew; `runs` is the address of the list of runs."""
    page.goto("about:blank")
    page.goto(f"{runs.split('/runs?')[0]}/runs/{run.info.run_id}/{part}?{MODE}")


def show_sweep(page: "Page", runs: str, jobs: "list[Run]") -> None:
    """The sweep's own run above those of its jobs, their comparison, and artifacts of one: errors, a figure, a text."""
    page.goto(runs)
    page.get_by_role("button", name="Toggle sidebar").click()
    page.get_by_role("button", name="Hide banner").click()
    page.locator(".ag-row").filter(has_text="sweep ").locator("button").first.click()
    page.get_by_role("gridcell", name="adagrad", exact=True).first.wait_for()
    save("sweep", picture(page))

    ids = json.dumps([run.info.run_id for run in jobs])
    experiments = json.dumps([jobs[0].info.experiment_id])
    page.goto(f"{runs.split('#')[0]}#/compare-runs?runs={ids}&experiments={experiments}&{MODE}")
    page.get_by_text("Parallel Coordinates Plot").wait_for()
    metrics = page.get_by_role("combobox").nth(1)
    metrics.press("Backspace")  # the metric that MLflow chose
    metrics.fill("curves/validation")
    metrics.press("Enter")
    metrics.press("Escape")
    page.locator(".parcoords").first.wait_for(state="attached")
    save("compare", picture(page))

    shown = {}
    for artifact in (ERRORS, LOSS, SAMPLE):
        open_run(page, runs, jobs[0], f"artifacts/{artifact}")
        page.get_by_text(artifact).first.wait_for()
        shown[artifact] = picture(page)
    save("errors", shown[ERRORS])
    save("artifacts", shown[LOSS], shown[SAMPLE])


def show_live(page: "Page", runs: str, run: "Run") -> None:
    """The smooth loss of a training that goes on, twice."""
    pictures, points = [], []
    for _ in range(2):
        open_run(page, runs, run, "model-metrics")
        page.get_by_placeholder("Search metric charts").fill("curves/smooth_loss$")
        line = page.locator(".scatterlayer path.js-line").first
        line.wait_for()
        pictures.append(picture(page))
        points.append((line.get_attribute("d") or "").count("L") + 1)
        page.wait_for_timeout(PAUSE)
    print(f"points of the curve that grows: {points[0]}, then {points[1]}")
    assert points[0] < points[1]
    save("live", *pictures)


def main() -> None:
    """Run the sweep and the training, and take the pictures."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        root = Path(folder) / "project"
        make_project(root)
        with command(root, "experiment", *SWEEP) as sweep:
            assert sweep.wait() == 0
        client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
        experiment = client.get_experiment_by_name("charloom")
        assert experiment is not None
        found = client.search_runs([experiment.experiment_id])
        jobs = [run for run in found if "mlflow.parentRunId" in run.data.tags]

        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 640})
        page.set_default_timeout(60_000)
        page.add_init_script(f"Object.assign(localStorage, {json.dumps(SETTINGS)})")
        with command(root, "tracking", "--no-browser", "--port", "5917") as server:
            assert server.stdout is not None
            runs = server.stdout.readline().removeprefix("MLflow: ").strip()
            show_sweep(page, runs, jobs)
            with command(root, "experiment", *LIVE):
                live: list[Run] = []
                while not live:
                    page.wait_for_timeout(1000)
                    going = client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")
                    live = [run for run in going if run.data.metrics.get("curves/smooth_loss")]
                page.set_viewport_size({"width": 1200, "height": 640})
                show_live(page, runs, live[0])
        browser.close()


if __name__ == "__main__":
    main()
