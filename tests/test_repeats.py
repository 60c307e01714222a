"""What the jobs of a sweep come to: configurations, their means and deviations over the seeds, and their order."""

import pytest

from charloom.adapters.sweeps.jobs import Job, configurations, table


def job(number: int, overrides: str, validation: float | None = None, training: float = 2.0, error: str = "") -> Job:
    figures = {} if error else {"nats_per_char": training}
    if validation is not None:
        figures["validation_nats_per_char"] = validation
    return Job(number, overrides.split(), figures, error)


def test_jobs_that_differ_in_the_seed_alone_are_one_configuration_with_mean_and_sample_deviation() -> None:
    (found,) = configurations([job(i, f"model=gru seed={i}", 1.0 + i) for i in (1, 2, 3)])
    assert found.overrides == ["model=gru"]
    assert found.row() == {
        "jobs": "1 2 3",
        "model": "gru",
        "seeds": 3,
        "validation_nats_per_char": 3.0,
        "validation_nats_per_char_sd": 1.0,
        "nats_per_char": 2.0,
        "nats_per_char_sd": 0.0,
        "failed": 0,
    }


def test_each_combination_of_the_other_keys_is_a_configuration_of_its_own() -> None:
    pairs = [("g", 1), ("g", 2), ("r", 1), ("r", 2)]
    jobs = [job(i, f"model={cell} seed={seed}", i) for i, (cell, seed) in enumerate(pairs)]
    found = configurations(jobs)
    assert [(each.overrides, each.seeds, each.figures["validation_nats_per_char"].mean) for each in found] == [
        (["model=g"], 2, 0.5),
        (["model=r"], 2, 2.5),
    ]


def test_a_single_seed_stays_among_the_overrides_and_has_no_deviation() -> None:
    (found,) = configurations([job(0, "seed=4", 1.25)])
    assert found.overrides == ["seed=4"]
    assert found.figures["validation_nats_per_char"].sd is None
    assert "1.2500  " in list(table([found]))[-1]
    assert "±" not in list(table([found]))[-1]


def test_a_job_that_is_repeated_with_its_seed_counts_once() -> None:
    (found,) = configurations([job(0, "seed=1", 1.0), job(1, "seed=1", 1.0), job(2, "seed=2", 2.0)])
    assert (found.seeds, found.figures["validation_nats_per_char"].mean) == (2, 1.5)


def test_a_failed_job_counts_in_no_mean_and_its_error_is_in_the_table() -> None:
    (found,) = configurations([job(0, "seed=1", 1.0), job(1, "seed=2", error="no\nfile"), job(2, "seed=3", 2.0)])
    assert (found.seeds, found.row()["failed"]) == (2, 1)
    assert "no\\nfile" in list(table([found]))[-1]


def test_the_best_is_the_one_with_the_lowest_validation_loss_not_the_lowest_loss_of_a_window() -> None:
    short = job(0, "train.seq_length=5", validation=3.3, training=2.9)
    long = job(1, "train.seq_length=50", validation=2.9, training=3.1)
    assert [found.jobs for found in configurations([short, long])] == [[long], [short]]


def test_without_a_validation_text_the_training_loss_decides_and_failed_jobs_are_last() -> None:
    jobs = [job(0, "a=1", error="failed"), job(1, "a=2", training=3.0), job(2, "a=3", training=1.0)]
    assert [found.jobs[0].number for found in configurations(jobs)] == [2, 1, 0]


@pytest.mark.parametrize("lost", [float("nan"), float("inf")])
def test_a_figure_that_is_not_finite_is_never_the_best(lost: float) -> None:
    found = configurations([job(0, "a=1", lost, lost), job(1, "a=2", 5.0, 5.0)])
    assert found[0].jobs[0].number == 1
    assert found[1].figures == {}
