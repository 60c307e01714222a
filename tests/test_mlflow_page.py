"""What a person sees in MLflow's pages, in a real browser."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import DEVNULL

import pytest

from charloom.adapters import sweeps
from charloom.adapters.files import artifacts
from charloom.adapters.tracking import Journal, follower
from charloom.adapters.tracking.addresses import Target
from charloom.adapters.tracking.sending import Sent
from charloom.core.common.records import Sample
from tests.explored import make_model, make_page
from tests.project import ROOT, Project, wait_for
from tests.results import CHROMIUM, MLFLOW_WARNINGS, browser_page, enter_project, make_config, make_result, record
from tests.swept import add_job

pytestmark = MLFLOW_WARNINGS

_MARKUP = "<script>owned=1</script><img src=x onerror='owned=1'></pre>![x](http://127.0.0.1:1/x.png)"

LONG = ("preset=smoke", "train.steps=100000000", "train.log_every=100")


@dataclass(frozen=True)
class Pages:
    """MLflow's pages, being served, on a project with one run and a sweep."""

    start: str  # what `make ui` prints
    run_id: str
    sweep: str  # the run of the sweep
    job: str  # the run of one of its jobs
    hostile: str  # the run of a result whose texts and names are hostile
    failed: str  # the run of a job that failed with a hostile error


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    with pytest.MonkeyPatch.context() as patch:
        root = enter_project(tmp_path_factory.mktemp("project"), patch)
        Project(root).corpus.parent.mkdir()
        shutil.copy(ROOT / "data/corpus.txt", Project(root).corpus)
        inp = make_result(root / "artifacts")
        artifacts.EXPLORER.write_bytes(inp / "plot", make_page(make_model("gru")))
        artifacts.seal("plot", inp / "plot")
        config = make_config()
        above = Journal(root / "a sweep/tracking")
        above.start(Target.named(config.tracking), "a sweep")
        job = record(config, inp, parent=above.folder)
        for number, cell in enumerate(("rnn", "gru")):
            add_job(root / "a sweep", number, {"model.cell": cell}, 2.0 - number / 10)
        sweeps.note_summary(above, sweeps.write_summary(root / "a sweep"), root / "a sweep")
        above.end("FINISHED")
        follower.sync(root / "a sweep")
        sent = Sent.read(above.folder)
        assert sent is not None
        recorded = record(config, inp)
        hostile = _record_hostile(inp)
        (failed,) = Project(root).runs("attributes.status = 'FAILED'")
        with Project(root).mlflow_pages() as server:
            assert server.stdout is not None
            printed = server.stdout.readline()
            assert printed.startswith("MLflow: http://127.0.0.1:"), printed
            start = printed.removeprefix("MLflow: ").strip()
            yield Pages(start, recorded.run_id, str(sent.run_id), job.run_id, hostile, failed.info.run_id)


def _record_hostile(inp: Path) -> str:
    """Record the result with markup wherever a stranger's text may stand, and a job that failed with it."""
    config = make_config(learning_rate=0.2)
    config = config.model_copy(update={"data": config.data.model_copy(update={"path": f"data/{_MARKUP}.txt"})})
    artifacts.SUMMARY.write(inp / "prepare", replace(artifacts.SUMMARY.read(inp), path=config.data.path))
    artifacts.SAMPLES.write(inp / "train", [Sample(1, 1.0, _MARKUP)])
    artifacts.TEXT.write_bytes(inp / "synthesize", _MARKUP.encode())
    recorded = record(config, inp)
    failed = Journal(inp.parent / "a sweep/1/tracking")
    failed.start(Target.named(config.tracking), "failed", parent=inp.parent / "a sweep/tracking")
    failed.end("FAILED", f"there is no file {_MARKUP}\n# {_MARKUP}")
    follower.sync(inp.parent / "a sweep")
    return recorded.run_id


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")
def test_the_run_its_loss_curve_and_its_error_table_can_be_seen(pages: Pages, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    expect.set_options(timeout=20_000)
    with browser_page(tmp_path / "profile", viewport={"width": 1500, "height": 900}) as page:
        # The list of runs: the run, the sweep, and the columns that tell runs apart.
        page.goto(pages.start)
        link = page.get_by_role("link", name="rnn 100, adagrad 0.1, smooth loss 38.4")
        expect(link.first).to_be_visible()
        expect(page.get_by_role("link", name="a sweep")).to_be_visible()
        for column in ("curves/smooth_loss", "optimizer.name"):
            expect(page.get_by_role("columnheader", name=column).first).to_be_visible()
        expect(page.get_by_role("gridcell", name="adagrad", exact=True).first).to_be_visible()

        # The run: its description with the gradient's errors, its dataset.
        link.first.click()
        expect(page).to_have_url(re.compile(f"/runs/{pages.run_id}"))
        expect(page.get_by_text("The gradient's largest relative error")).to_be_visible()
        expect(page.get_by_text(re.compile(r"^corpus\.txt"))).to_be_visible()

        # Its loss curve: a chart over the steps, with a line drawn in it.
        page.get_by_role("tab", name="Model metrics").click()
        sections = page.get_by_text(re.compile(r"^(curves|evaluate|gradcheck|inside|ngrams|synthesize|train)\b"))
        expect(sections.first).to_have_text("curves")
        page.get_by_placeholder("Search metric charts").fill("curves/loss$")
        expect(page.get_by_text("rnn 100, adagrad 0.1, smooth loss 38.4 (curves/loss)")).to_be_visible()
        expect(page.get_by_text("Step", exact=True).first).to_be_visible()
        line = page.locator(".scatterlayer path.js-line").first
        expect(line).to_be_visible()
        assert (line.get_attribute("d") or "").count("L") > 100

        # Its table of errors, exponents and all.
        page.goto(pages.start.split("/runs?")[0] + f"/runs/{pages.run_id}/artifacts/gradcheck/relative_errors.json")
        for heading in ("tensor", "max_relative_error"):
            expect(page.get_by_role("columnheader", name=heading)).to_be_visible()
        for figure in ("3.613e-07", "5.867e-14"):  # of W, by central differences and by the complex step
            expect(page.get_by_text(figure, exact=True)).to_be_visible()


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")
def test_the_explorer_works_among_the_artifacts(pages: Pages, tmp_path: Path) -> None:
    address = f"{pages.start.split('/runs?')[0]}/runs/{pages.run_id}/artifacts/plot/explorer.html"
    with browser_page(tmp_path / "profile") as page:
        page.goto(address)
        explorer = page.frame_locator("iframe")
        explorer.locator("#text").fill("the cat", timeout=20_000)
        assert "After “t”" in explorer.locator("#chosen").inner_text()
        assert "bits of surprise" in explorer.locator("#chosen").inner_text()


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")
def test_the_run_of_a_sweep_says_which_configuration_is_the_best_and_its_page_works_there(
    pages: Pages, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    run = f"{pages.start.split('/runs?')[0]}/runs/{pages.sweep}"
    with browser_page(tmp_path / "profile") as page:
        page.goto(run)
        expect(page.get_by_text("best: model.cell=gru, 1.9000")).to_be_visible(timeout=20_000)
        expect(page.get_by_text("best/validation_nats_per_char", exact=True)).to_be_visible()
        expect(page.get_by_text("rnn, gru", exact=True)).to_be_visible()
        page.goto(f"{run}/artifacts/sweep.html")
        sweep = page.frame_locator("iframe")
        sweep.get_by_label("Filter").fill("gru", timeout=20_000)
        assert sweep.locator("#count").inner_text() == "1 of 2"


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")
def test_the_jobs_of_a_sweep_are_below_its_run_and_can_be_compared_in_parallel_coordinates(
    pages: Pages, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    with browser_page(tmp_path / "profile", viewport={"width": 1500, "height": 900}) as page:
        page.goto(pages.start)
        sweep = page.locator(".ag-row").filter(has_text="a sweep")
        expect(sweep.first).to_be_visible(timeout=20_000)
        job = page.locator(f"a[href*='{pages.job}']")
        expect(job).to_have_count(0)
        sweep.locator("button").first.click()
        expect(job.first).to_be_visible()

        experiment = re.search(r"/experiments/(\d+)", pages.start)
        assert experiment
        runs = f'["{pages.job}","{pages.run_id}"]&experiments=["{experiment[1]}"]'
        page.goto(f"{pages.start.split('#')[0]}#/compare-runs?runs={runs}&workflowType=machine_learning")
        expect(page.get_by_text("Parallel Coordinates Plot")).to_be_visible()
        expect(page.locator(".parcoords .y-axis .axis-title").first).to_be_visible()


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")
def test_the_curve_of_a_training_grows_while_it_runs(pages: Pages, tmp_path: Path) -> None:
    project = Project(Path.cwd())
    training = project.start("-m", "charloom.experiment", *LONG, stdout=DEVNULL, stderr=DEVNULL)
    try:
        going = "attributes.status = 'RUNNING' and metrics.`curves/loss` > 0"
        wait_for(lambda: project.runs(going), training)
        (run,) = project.runs(going)
        with browser_page(tmp_path / "profile", viewport={"width": 1500, "height": 900}) as page:

            def points() -> int:
                page.goto("about:blank")
                page.goto(f"{pages.start.split('/runs?')[0]}/runs/{run.info.run_id}/model-metrics")
                page.get_by_placeholder("Search metric charts").fill("curves/loss$")
                line = page.locator(".scatterlayer path.js-line").first
                line.wait_for(timeout=20_000)
                return (line.get_attribute("d") or "").count("L")

            first = points()
            wait_for(lambda: points() > first, training)
    finally:
        training.terminate()
        training.wait()


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")
def test_no_hostile_text_or_name_runs_a_script_in_mlflow_or_asks_another_server(pages: Pages, tmp_path: Path) -> None:
    runs = f"{pages.start.split('/runs?')[0]}/runs"
    with browser_page(tmp_path / "profile") as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        for address, shown in (
            (f"{runs}/{pages.hostile}", "The gradient's largest relative error"),
            (f"{runs}/{pages.hostile}/artifacts/synthesize/sample.txt", "owned=1"),
            (f"{runs}/{pages.hostile}/artifacts/samples/step-00000001.txt", "owned=1"),
            (f"{runs}/{pages.failed}", "there is no file"),
        ):
            page.goto(address)
            page.get_by_text(shown).first.wait_for(timeout=20_000)
            assert not any(frame.evaluate("() => 'owned' in window") for frame in page.frames), address
    assert not [address for address in asked if "x.png" in address]
