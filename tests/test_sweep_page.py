"""The page of a sweep: in Chromium, it shows what Python computes, gives no orders, and asks nobody for anything."""

import html
import math
import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from charloom.adapters.sweeps.jobs import Job
from charloom.adapters.sweeps.objectives import Objective
from charloom.adapters.sweeps.page import charts, page
from charloom.adapters.sweeps.reading import Point
from charloom.adapters.sweeps.summary import Summary, summarize
from charloom.adapters.sweeps.writing import PAGE, write_summary
from tests.results import CHROMIUM, browser_page
from tests.swept import add_job

if TYPE_CHECKING:
    from playwright.sync_api import Page

RATE, SIZE, CELL = "optimizer.learning_rate", "model.hidden_size", "model.cell"
RATES, SIZES = (0.003, 0.03, 0.3), (32, 64)
HOSTILE = "a</script></style><script>owned=1</script><img src=x onerror='owned=1'>\"'&\x1b[31m\u202e{{1}}${x}"

in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")


def loss_of(rate: float, size: int, seed: int) -> float:
    return 1.8 + 0.2 * abs(math.log10(rate / 0.03)) + 6 / size + 0.01 * seed**2


@dataclass(frozen=True)
class Swept:
    """A sweep's folder with its summary."""

    folder: Path
    summary: Summary

    @property
    def page(self) -> Path:
        return self.folder / PAGE

    def mean(self, place: int) -> float:
        mean = self.summary.mean(self.summary.configurations[place])
        assert mean is not None
        return mean.mean


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """Six configurations of three seeds each, one of which failed and one of which was pruned."""
    folder = tmp_path_factory.mktemp("multirun") / "a sweep"
    number = 0
    for rate in RATES:
        for size in SIZES:
            for seed in (1, 2, 3):
                values = {RATE: rate, "optimizer.epsilon": rate / 10, SIZE: size, "seed": seed}
                reason = {5: ("failed", "<b>out of memory</b>"), 17: ("pruned", "pruned at step 200")}.get(number)
                status, message = reason or ("finished", "")
                text = f"written at {rate:g} by {size} units, seed {seed}"
                add_job(folder, number, values, loss_of(rate, size, seed), status=status, message=message, sample=text)  # type: ignore[arg-type]
                number += 1
    return Swept(folder, write_summary(folder))


@pytest.fixture(scope="module")
def one_browser(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[tuple[Page, list[str]]]":
    with browser_page(tmp_path_factory.mktemp("profile"), viewport={"width": 1280, "height": 900}) as page:
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url) if "file:" not in request.url else None)
        yield page, problems


@pytest.fixture
def browser(one_browser: "tuple[Page, list[str]]") -> "Iterator[Page]":
    """A page, and after the test the check that it had no error and asked for nothing."""
    page, problems = one_browser
    problems.clear()
    page.set_viewport_size({"width": 1280, "height": 900})
    yield page
    page.emulate_media(color_scheme="light", media="screen")
    assert problems == []


def cells(page: "Page") -> list[list[str]]:
    """The texts of the table, row by row as they stand."""
    found: list[list[str]] = page.evaluate(
        "() => [...document.querySelectorAll('#results tbody tr')].filter((row) => !row.hidden)"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    return found


@in_chromium
def test_the_table_has_every_configuration_with_its_mean_and_deviation_the_best_first(
    browser: "Page", swept: Swept
) -> None:
    browser.goto(swept.page.as_uri())
    shown = cells(browser)
    assert len(shown) == len(RATES) * len(SIZES)
    expected = sorted(
        (
            statistics.mean(losses),
            f"{statistics.mean(losses):.4f} ± {statistics.stdev(losses):.4f}",
            f"{rate:g}",
            str(size),
        )
        for rate in RATES
        for size in SIZES
        if len(losses := [loss_of(rate, size, seed) for seed in (1, 2, 3)]) == 3
        and (rate, size) not in ((0.003, 64), (0.3, 64))  # of which a seed failed, and one was pruned
    )
    whole = [row for row in shown if row[2] == "3"]
    assert [(row[1], row[4], row[3]) for row in whole] == [(text, rate, size) for _, text, rate, size in expected]
    assert shown[-1][0:4] == ["6", shown[-1][1], "2", "64"]  # a seed was pruned: the last, whatever its mean
    headers = browser.locator("#results thead th").all_inner_texts()
    assert headers[:7] == ["rank", "validation_nats_per_char", "seeds", SIZE, RATE, "optimizer.epsilon", headers[6]]
    assert [row[headers.index("failed")] for row in shown].count("1") == 1


@in_chromium
def test_the_dots_and_their_bars_stand_where_the_means_and_deviations_are(browser: "Page", swept: Swept) -> None:
    browser.goto(swept.page.as_uri())
    summary = swept.summary
    axis = charts.objective_axis(summary)
    (by_size, by_rate) = browser.locator("#keys + .small .chart").all()
    for chart, key in ((by_size, SIZE), (by_rate, RATE)):
        drawn = chart.evaluate(
            """(svg) => [...svg.querySelectorAll('g')].map((group) => {
                const of = (element) => element && element.getBoundingClientRect(), all = of(svg);
                const dot = of(group.querySelector('circle')), bar = of(group.querySelector('line'));
                const y = (pixel) => 1 - (pixel - all.top) / all.height;
                return [Number(group.dataset.c), (dot.left + dot.width / 2 - all.left) / all.width,
                    y(dot.top + dot.height / 2), bar && y(bar.bottom), bar && y(bar.top)];
            })"""
        )
        places = charts.by_key(summary, charts.Key(key, []))
        assert places is not None
        assert len(drawn) == len(summary.ranked)
        for place, x, y, low, high in drawn:
            configuration = summary.configurations[place]
            mean = summary.mean(configuration)
            assert mean is not None
            assert mean.sd is not None
            assert y == pytest.approx(axis.place(mean.mean), abs=0.005)
            assert (low, high) == pytest.approx(
                (axis.place(mean.mean - mean.sd), axis.place(mean.mean + mean.sd)), abs=0.01
            )
            assert x == pytest.approx(places.x.place(configuration.parameters[key]), abs=0.01)


@in_chromium
def test_the_curves_end_at_the_losses_of_the_jobs(browser: "Page", swept: Swept) -> None:
    browser.goto(swept.page.as_uri())
    validation = browser.locator("#losses + figure .chart")
    drawn = validation.evaluate(
        """(svg) => [...svg.querySelectorAll('path')].map((path) => {
            const end = path.getPointAtLength(path.getTotalLength());
            return [Number(path.dataset.c), end.x, 1000 - end.y];
        })"""
    )
    ticks = validation.evaluate(
        """(svg) => [...svg.querySelectorAll('.y')].map((text) =>
            [Number(text.textContent), 1000 - 10 * parseFloat(text.getAttribute('y'))])"""
    )
    (low, low_y), (high, high_y) = ticks[0], ticks[-1]
    found: dict[int, list[float]] = {}
    for place, x, y in drawn:
        assert x == pytest.approx(1000)
        found.setdefault(place, []).append(low + (y - low_y) * (high - low) / (high_y - low_y))
    for place, losses in found.items():
        jobs = swept.summary.configurations[place].jobs
        expected = [job.figures["validation_nats_per_char"] for job in jobs if job.figures]
        assert sorted(losses) == pytest.approx(sorted(expected), abs=0.003)


@in_chromium
def test_a_cell_of_the_heat_map_is_the_mean_of_its_configurations(browser: "Page", swept: Swept) -> None:
    browser.goto(swept.page.as_uri())
    table = browser.locator(".heat:visible")
    assert table.locator("thead th").all_inner_texts() == ["0.003", "0.03", "0.3"]
    for row in table.locator("tbody tr").all():
        size = int(row.locator("th").inner_text())
        for rate, text in zip(RATES, row.locator("td").all_inner_texts(), strict=True):
            (place,) = (
                place
                for place, each in enumerate(swept.summary.configurations)
                if (each.parameters[RATE], each.parameters[SIZE]) == (rate, size)
            )
            assert text == f"{swept.mean(place):.4f}"


@in_chromium
def test_a_click_on_a_heading_sorts_by_its_numbers_and_another_one_the_other_way(browser: "Page", swept: Swept) -> None:
    browser.goto(swept.page.as_uri())
    heading = browser.get_by_role("columnheader", name=RATE)
    for direction, expected in (("ascending", sorted(RATES)), ("descending", sorted(RATES, reverse=True))):
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == direction
        rates = [float(row[4]) for row in cells(browser)]
        assert list(dict.fromkeys(rates)) == expected
        assert len(rates) == len(RATES) * len(SIZES)


@in_chromium
def test_the_filter_leaves_the_rows_that_have_all_its_words(browser: "Page", swept: Swept) -> None:
    browser.goto(swept.page.as_uri())
    browser.get_by_label("Filter").fill("learning_rate=0.03 64")
    assert browser.locator("#count").inner_text() == "1 of 6"
    assert [row[3:5] for row in cells(browser)] == [["64", "0.03"]]
    browser.get_by_label("Filter").fill("0.03")  # part of any cell: an epsilon of another row, too
    assert len(cells(browser)) == 4


@in_chromium
def test_a_row_that_is_picked_stands_out_in_every_chart_and_is_described(browser: "Page", swept: Swept) -> None:
    browser.goto(swept.page.as_uri())
    browser.locator("#results tbody tr").nth(1).click()
    picked = browser.evaluate("() => [...document.querySelectorAll('.picked')].map((mark) => mark.dataset.c)")
    assert set(picked) == {"1"}
    assert len(picked) == 1 + 2 * 3 + 2 + 1  # the row, two curves of three seeds, two dots, a line over all keys
    assert f"rank 2, validation_nats_per_char {swept.mean(1):.4f}" in browser.locator("#picked").inner_text()
    browser.keyboard.press("Escape")
    assert browser.locator(".picked").count() == 0


@in_chromium
def test_the_table_can_be_walked_through_with_the_keyboard(browser: "Page", swept: Swept) -> None:
    browser.goto(swept.page.as_uri())
    browser.locator("#results tbody tr").first.focus()
    for _ in range(2):
        browser.keyboard.press("ArrowDown")
    assert browser.locator("#picked").inner_text().startswith("rank 3,")
    browser.keyboard.press("Enter")
    browser.get_by_label("Filter").focus()
    assert browser.locator("tr.picked").get_attribute("data-c") == "2"


@in_chromium
def test_keys_that_change_together_are_one_axis_and_are_named(browser: "Page", swept: Swept) -> None:
    browser.goto(swept.page.as_uri())
    captions = browser.locator("#keys + .small figcaption").all_inner_texts()
    assert captions == [f"{SIZE}.", f"{RATE}, and with it optimizer.epsilon. Logarithmic horizontal axis."]
    assert browser.locator(".parallel .grid").count() == 3
    assert browser.locator(".parallel path").count() == 6


@in_chromium
def test_the_samples_of_the_best_and_the_worst_and_the_jobs_without_a_result_are_there(
    browser: "Page", swept: Swept
) -> None:
    browser.goto(swept.page.as_uri())
    samples = browser.locator("#samples + .beside pre").all_inner_texts()
    assert [text.strip() for text in samples] == [
        "written at 0.03 by 64 units, seed 1",
        "written at 0.003 by 32 units, seed 1",
    ]
    unfinished = browser.locator(".jobs tbody tr").all_inner_texts()
    assert [text.split("\t")[:3] for text in unfinished] == [
        ["5", "failed", "<b>out of memory</b>"],
        ["17", "pruned", "pruned at step 200"],
    ]


@in_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_but_tables_and_wide_charts_scrolls_sideways(
    browser: "Page", swept: Swept, scheme: Any
) -> None:
    browser.set_viewport_size({"width": 390, "height": 844})
    browser.emulate_media(color_scheme=scheme)
    browser.goto(swept.page.as_uri())
    assert browser.evaluate("() => document.documentElement.scrollWidth") == 390
    sizes = browser.evaluate(
        "() => [...document.querySelectorAll('.chart text')].map((text) => getComputedStyle(text).fontSize)"
    )
    assert set(sizes) == {"12px"}  # as large as on a desk: what is drawn is stretched, the texts are not
    paper = browser.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(253, 253, 252)", "dark": "rgb(22, 24, 28)"}[scheme]


@in_chromium
def test_on_paper_the_whole_table_is_there_and_the_tools_are_not(browser: "Page", swept: Swept) -> None:
    browser.goto(swept.page.as_uri())
    browser.emulate_media(media="print")
    assert browser.evaluate("() => getComputedStyle(document.querySelector('#results')).maxHeight") == "none"
    assert not browser.locator("#filter").is_visible()


@in_chromium
def test_the_page_works_in_a_frame_without_an_origin_as_in_mlflow(
    browser: "Page", swept: Swept, tmp_path: Path
) -> None:
    content = html.escape(swept.page.read_text(encoding="utf-8"), quote=True)
    outer = tmp_path / "outer.html"
    outer.write_text(
        f'<!doctype html><meta charset="utf-8"><iframe sandbox="allow-scripts" srcdoc="{content}"></iframe>',
        encoding="utf-8",
    )
    browser.goto(outer.as_uri())
    frame = browser.frame_locator("iframe")
    frame.get_by_label("Filter").fill("learning_rate=0.003 64")
    assert frame.locator("#count").inner_text() == "1 of 6"


@in_chromium
def test_hostile_values_messages_and_texts_are_shown_and_run_nothing(browser: "Page", tmp_path: Path) -> None:
    folder = tmp_path / HOSTILE.replace("/", "")
    add_job(folder, 0, {"data.path": HOSTILE, RATE: 0.1}, 2.0, sample=HOSTILE)
    add_job(folder, 1, {"data.path": "data/corpus.txt", RATE: 0.2}, 1.5, sample=HOSTILE)
    add_job(folder, 2, {"data.path": HOSTILE, RATE: 0.3}, None, status="failed", message=HOSTILE)
    write_summary(folder)
    content = (folder / PAGE).read_text(encoding="utf-8")
    assert content.count("<script") == content.count("</script>") == 1
    browser.goto((folder / PAGE).as_uri())
    assert not browser.evaluate("() => 'owned' in window")
    assert browser.locator("img").count() == 0
    shown = HOSTILE.replace("\x1b", "␛")
    assert shown in cells(browser)[1]
    assert shown in browser.locator("#samples + .beside").inner_text()
    assert shown in browser.locator(".jobs").inner_text()
    browser.locator("#results tbody tr").nth(1).click()
    assert shown in browser.locator("#picked").inner_text()


def made_up(jobs: int, values: Callable[[int], dict[str, Any]]) -> Summary:
    """The summary of jobs that never ran."""
    figures = [{"validation_nats_per_char": 2.0 + number / 100} for number in range(jobs)]
    return summarize(
        [Job(number, (), "finished", values(number), figures[number]) for number in range(jobs)],
        Objective("validation_nats_per_char"),
    )


@pytest.mark.parametrize(("jobs", "most"), [(100, 500_000), (400, 2_000_000)])
def test_the_page_of_many_jobs_with_long_curves_is_small(jobs: int, most: int) -> None:
    summary = made_up(
        jobs, lambda n: {RATE: 10 ** (-1 - n % 10 / 5), SIZE: 16 * (1 + n // 10), CELL: ("rnn", "gru")[n % 2]}
    )
    rng = np.random.default_rng(1)
    histories = {
        job.number: [
            Point(100 * row, 2.0 + noise, 2.1 + noise) for row, noise in enumerate(rng.random(1000).tolist(), start=1)
        ]
        for job in summary.jobs
    }
    assert len(page(summary, "many", histories, []).encode()) < most


def test_losses_that_span_decades_are_drawn_on_a_logarithmic_axis(tmp_path: Path) -> None:
    for number, loss in enumerate((2.0, 400.0)):
        add_job(tmp_path, number, {RATE: 0.1 + number}, loss)
    summary = write_summary(tmp_path)
    assert charts.objective_axis(summary).is_log
    assert "Logarithmic axes." in re.sub(r"\s+", " ", (tmp_path / PAGE).read_text(encoding="utf-8"))


def test_a_sweep_of_one_job_and_one_without_any_result_have_a_page(tmp_path: Path) -> None:
    add_job(tmp_path / "one", 0, {RATE: 0.1}, 2.0)
    add_job(tmp_path / "none", 0, {RATE: 0.1}, None, status="interrupted", message="the sweep was interrupted")
    assert not write_summary(tmp_path / "one").keys
    assert not write_summary(tmp_path / "none").best
    assert "the one configuration" in (tmp_path / "one" / PAGE).read_text(encoding="utf-8").lower()
    assert "No job has finished." in (tmp_path / "none" / PAGE).read_text(encoding="utf-8")


def test_a_long_curve_keeps_its_ends_and_its_highest_and_lowest_points() -> None:
    curve = [(step, 2.0 + math.sin(step) / 10 + (50.0 if step == 777 else 0.0)) for step in range(1, 5001)]
    thinned = [*charts.thinned(curve)]
    assert len(thinned) <= 122
    assert (thinned[0], thinned[-1]) == (curve[0], curve[-1])
    assert max(curve, key=lambda point: point[1]) in thinned
    assert min(curve, key=lambda point: point[1]) in thinned
    assert thinned == sorted(thinned)


def test_many_values_of_a_key_are_put_together_in_a_heat_map_and_every_configuration_counts() -> None:
    summary = made_up(40, lambda number: {RATE: 0.001 * 1.1**number, SIZE: 16 + number % 3})
    (found,) = charts.heat_maps(summary, charts.keys(summary))
    assert max(len(found.columns), len(found.rows)) <= 12
    assert sum(cell.n for _, row in found.rows for cell in row if cell) == 40


def test_a_key_that_was_typed_stands_for_those_that_change_with_it(tmp_path: Path) -> None:
    for number in range(4):
        values = {"optimizer.epsilon": 1e-8 * (1 + number), RATE: 0.1 + number, SIZE: 16 + number % 2}
        add_job(tmp_path, number, values, 2.0, overrides=(f"{RATE}={0.1 + number}", f"{SIZE}={16 + number % 2}"))
    assert charts.keys(write_summary(tmp_path)) == [charts.Key(SIZE, []), charts.Key(RATE, ["optimizer.epsilon"])]
