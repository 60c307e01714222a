"""What the jobs of a sweep come to: configurations, their means and deviations over the seeds, and their order."""

import math
import statistics
from typing import Any

import pytest

from charloom.adapters.sweeps.jobs import Job, Lead, configurations
from charloom.adapters.sweeps.objectives import Objective
from charloom.adapters.sweeps.records import Status
from charloom.adapters.sweeps.summary import Summary, lines, summarize

VALIDATION = Objective("validation_nats_per_char")


def job(
    number: int,
    overrides: str,
    validation: float | None = None,
    training: float = 2.0,
    error: str = "",
    status: Status = "finished",
) -> Job:
    figures = {} if error or status != "finished" else {"nats_per_char": training}
    if validation is not None:
        figures["validation_nats_per_char"] = validation
    parameters: dict[str, Any] = dict(each.split("=") for each in overrides.split())
    return Job(number, tuple(overrides.split()), "failed" if error else status, parameters, figures, error)


def summed(*jobs: Job, objective: Objective = VALIDATION) -> Summary:
    return summarize(jobs, objective)


def numbers(summary: Summary) -> list[list[int]]:
    """The numbers of the jobs of each configuration, the best first."""
    return [[each.number for each in found.jobs] for found in summary.configurations]


def test_jobs_that_differ_in_the_seed_alone_are_one_configuration_with_mean_and_sample_deviation() -> None:
    summary = summed(*(job(i, f"model.cell=gru seed={i}", 1.0 + i) for i in (1, 2, 3)))
    assert summary.best_overrides() == ["model.cell=gru"]
    assert summary.rows() == [
        {
            "jobs": "1 2 3",
            "seeds": 3,
            "validation_nats_per_char": 3.0,
            "validation_nats_per_char_sd": 1.0,
            "nats_per_char": 2.0,
            "nats_per_char_sd": 0.0,
            "failed": 0,
        }
    ]


def test_each_combination_of_the_other_keys_is_a_configuration_of_its_own() -> None:
    pairs = [("g", 1), ("g", 2), ("r", 1), ("r", 2)]
    summary = summed(*(job(i, f"model.cell={cell} seed={seed}", i) for i, (cell, seed) in enumerate(pairs)))
    assert [(row["model.cell"], row["seeds"], row["validation_nats_per_char"]) for row in summary.rows()] == [
        ("g", 2, 0.5),
        ("r", 2, 2.5),
    ]


def test_only_the_keys_that_differ_are_columns_and_the_seed_is_one_of_the_jobs_alone() -> None:
    summary = summed(job(0, "a=1 b=2 seed=1", 1.0), job(1, "a=1 b=3 seed=1", 1.0), job(2, "a=1 b=3 seed=2", 1.0))
    assert summary.keys == ["b"]
    assert [key for key in summary.job_rows()[0] if len(key) == 1 or key == "seed"] == ["b", "seed"]
    assert summary.swept() == {"b": "2, 3", "seed": "1, 2"}


def test_a_single_seed_stays_among_the_overrides_and_has_no_deviation() -> None:
    summary = summed(job(0, "seed=4 tracking=off", 1.25))
    assert summary.best_overrides() == ["seed=4"]
    assert list(summary.rows()[0]) == ["jobs", "seeds", "validation_nats_per_char", "nats_per_char", "failed"]
    assert summary.metrics() == {"seeds": 1, "validation_nats_per_char": 1.25, "nats_per_char": 2.0}
    assert "±" not in "".join(lines(summary))


def test_a_job_that_is_repeated_with_its_seed_counts_once() -> None:
    (found,) = configurations([job(0, "seed=1", 1.0), job(1, "seed=1", 1.0), job(2, "seed=2", 2.0)])
    assert (found.seeds, found.values("validation_nats_per_char")) == (2, [1.0, 2.0])


@pytest.mark.parametrize("status", ["pruned", "interrupted", "failed", "running"])
def test_a_job_that_has_not_finished_counts_in_no_mean_and_is_told_in_the_table(status: Status) -> None:
    summary = summed(job(0, "seed=1", 1.0), job(1, "seed=2", status=status), job(2, "seed=3", 2.0))
    (row,) = summary.rows()
    assert (row["seeds"], row["validation_nats_per_char"], row[status]) == (2, 1.5, 1)
    assert f"1 {status}" in next(lines(summary))


def test_a_value_with_control_characters_stands_in_the_table_in_one_line() -> None:
    summary = summed(job(0, "a=1", 1.0), Job(1, (), "failed", {"a": "no\nfile\x1b[2J"}, reason="no"))
    assert [line for line in lines(summary) if line.endswith("a=no\\nfile\\x1b[2J  1 failed")]


def test_the_best_is_the_one_with_the_lowest_validation_loss_not_the_lowest_loss_of_a_window() -> None:
    short = job(0, "train.seq_length=5", validation=3.3, training=2.9)
    long = job(1, "train.seq_length=50", validation=2.9, training=3.1)
    assert numbers(summed(short, long)) == [[1], [0]]
    assert numbers(summed(short, long, objective=Objective("nats_per_char"))) == [[0], [1]]


def test_without_a_validation_text_the_training_loss_decides_which_is_said_and_failed_jobs_are_last() -> None:
    jobs = [job(0, "a=1", error="failed"), job(1, "a=2", training=3.0), job(2, "a=3", training=1.0)]
    summary = summed(*jobs)
    assert numbers(summary) == [[2], [1], [0]]
    assert "no job has validation_nats_per_char: there is no validation text, and nats_per_char decides" in [
        *lines(summary)
    ]


@pytest.mark.parametrize("lost", [math.nan, math.inf])
def test_a_figure_that_is_not_finite_is_never_the_best(lost: float) -> None:
    summary = summed(job(0, "a=1", lost, lost), job(1, "a=2", 5.0, 5.0))
    assert numbers(summary) == [[1], [0]]
    assert summary.rows()[1]["nats_per_char"] == ""


def test_a_configuration_with_a_pruned_seed_is_behind_all_others_however_well_its_other_seeds_did() -> None:
    jobs = [job(0, "a=1 seed=1", 1.0), job(1, "a=1 seed=2", status="pruned"), job(2, "a=2 seed=1", 4.0)]
    assert numbers(summed(*jobs)) == [[2], [0, 1]]


def test_in_bits_every_figure_of_the_tables_is_in_bits() -> None:
    objective = Objective.named("validation_bits_per_char")
    summary = summed(job(0, "a=1", math.log(2), 2 * math.log(2)), objective=objective)
    assert summary.job_rows()[0]["validation_bits_per_char"] == pytest.approx(1.0)
    assert summary.rows()[0]["bits_per_char"] == pytest.approx(2.0)
    assert not [key for row in (*summary.rows(), *summary.job_rows()) for key in row if "nats" in key]


def test_the_lead_of_the_best_has_an_interval_that_holds_it_and_is_the_same_every_time() -> None:
    best, second = [1.0, 1.1, 1.2, 1.0], [1.3, 1.2, 1.4, 1.5]
    lead = Lead.between(best, second)
    assert lead.value == pytest.approx(statistics.mean(second) - statistics.mean(best))
    assert lead.low is not None
    assert lead.high is not None
    assert 0 < lead.low < lead.value < lead.high
    assert Lead.between(best, second) == lead


def test_a_lead_that_may_be_none_is_said_to_be_so_and_one_seed_gives_no_interval() -> None:
    assert str(Lead.between([1.0, 2.0], [1.1, 2.1])).endswith(": it may be none")
    assert str(Lead.between([1.0], [1.5, 1.6])) == "0.5500, without an interval: that takes several seeds of both"
