"""Worker processes that divide the streams: the gradient of one process, the same bits again, and no process left."""

import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import psutil
import pytest

from charloom.adapters.process.workers import start_worker
from charloom.core.cells import CELLS
from charloom.core.common.errors import EnvironmentFault
from charloom.core.network import Dropout, Network
from charloom.core.training import WorkerPool
from tests.project import Project, checkpoint_step, end

K, T, B = 7, 5, 6


def a_network(cell: str = "gru", dtype: str = "float64") -> Network:
    network = Network(vocabulary_size=K, hidden_size=8, cell=cell, layers=2, dtype=dtype)
    network.initialize(0.3, rng=np.random.default_rng(1))
    return network


def a_pool(network: Network, workers: int, dropout: Dropout | None = None) -> WorkerPool:
    return WorkerPool(network, dropout, workers=workers, initializer=partial(start_worker, 1))


def a_window(network: Network) -> tuple[Any, Any]:
    """Ids (T + 1, B), and a state that is not zero."""
    rng = np.random.default_rng(2)
    return rng.integers(0, K, (T + 1, B)), rng.uniform(-0.5, 0.5, network.zero_state(B).shape).astype(network.dtype)


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("cell", sorted(CELLS))
def test_a_pool_finds_the_loss_the_gradient_and_the_state_that_one_process_finds(cell: str, workers: int) -> None:
    network = a_network(cell)
    window, state = a_window(network)
    loss, state_last = WorkerPool(network).gradient(window, state, 1)
    gradient = network.gradients.vector.copy()
    with a_pool(network, workers) as pool:
        for step in (1, 2):  # the second shows that nothing of the first is left
            found = pool.gradient(window, state, step)
            assert found[0] == pytest.approx(loss, rel=1e-14)
            np.testing.assert_allclose(found[1], state_last, rtol=0, atol=1e-15)
            np.testing.assert_allclose(network.gradients.vector, gradient, rtol=0, atol=1e-14)


def test_a_pool_computes_with_the_parameters_of_now() -> None:
    network = a_network()
    window, state = a_window(network)
    with a_pool(network, 2) as pool:
        pool.gradient(window, state, 1)
        network.parameters.vector[:] *= 1.5
        found, _ = pool.gradient(window, state, 2)
    assert found == pytest.approx(WorkerPool(network).gradient(window, state, 2)[0], rel=1e-14)


def test_two_pools_of_one_size_find_the_same_bits_with_dropout() -> None:
    network, found = a_network(dtype="float32"), []
    window, state = a_window(network)
    for _ in range(2):
        with a_pool(network, 2, Dropout([0.5, 0.25], (3,))) as pool:
            losses = [pool.gradient(window, state, step)[0] for step in (1, 2)]
            found.append((*losses, network.gradients.vector.tobytes()))
    assert found[0] == found[1]
    assert found[0][0] != found[0][1]  # each step leaves out other elements


def test_each_shard_of_the_streams_has_a_dropout_of_its_own() -> None:
    network = a_network()
    window, state = a_window(network)
    window[:], state[:] = window[:, :1], state[:, :, :1]  # six times the same stream
    with a_pool(network, 2, Dropout([0.0, 0.5], (3,))) as pool:
        pool.gradient(window, state, 1)
        both = network.gradients.vector.copy()
    alone = WorkerPool(network, Dropout([0.0, 0.5], (3,)))
    alone.gradient(window[:, : B // 2], state[:, :, : B // 2], 1)
    assert np.abs(network.gradients.vector - both).max() > 1e-3  # the mean of two that differ


def test_dropout_keeps_the_mean_of_h_and_drops_its_part() -> None:
    between, above = Dropout([0.25, 0.0], (3,)).masks((100, 200), np.float32, 1)
    assert above is None
    assert between is not None
    assert between.dtype == np.float32
    assert (between == 0).mean() == pytest.approx(0.25, abs=0.01)
    assert between.mean() == pytest.approx(1.0, abs=0.01)


def workers_of(pid: int) -> list[psutil.Process]:
    """The worker processes of the pool in the process with this id."""
    children = psutil.Process(pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def test_no_process_of_a_pool_outlives_its_context() -> None:
    with a_pool(a_network(), 3):
        found = workers_of(os.getpid())
        assert len(found) == 2
    assert not any(worker.is_running() for worker in found)


def test_a_worker_that_was_killed_is_an_error_and_no_wrong_gradient() -> None:
    network = a_network()
    window, state = a_window(network)
    with a_pool(network, 2) as pool:
        pool.gradient(window, state, 1)
        workers_of(os.getpid())[0].kill()
        with pytest.raises(EnvironmentFault, match="a worker process has ended"):
            pool.gradient(window, state, 2)


LONG = ("preset=smoke", "train.batch_size=4", "train.workers=2", "train.steps=1000000", "train.checkpoint_every=100")


@pytest.fixture
def training(prepared: Project) -> Iterator[subprocess.Popen[str]]:
    """A training with a worker process that has come to its first checkpoint."""
    process = prepared.start_training(*LONG)
    prepared.wait_for_step(100, process)
    yield process
    process.kill()
    process.communicate()


def test_a_killed_training_leaves_no_worker_behind(training: subprocess.Popen[str]) -> None:
    (worker,) = workers_of(training.pid)
    training.kill()
    worker.wait(timeout=10)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_of_a_training_ends_it_with_a_checkpoint(
    prepared: Project, training: subprocess.Popen[str], signum: signal.Signals
) -> None:
    (worker,) = workers_of(training.pid)
    worker.send_signal(signum)
    training.send_signal(signum)
    end(training).assert_one_error(128 + signum, f"ended by {signum.name}")
    worker.wait(timeout=10)
    assert prepared.checkpoints()


def test_a_training_whose_worker_was_killed_says_so_and_goes_on_when_run_again(
    prepared: Project, training: subprocess.Popen[str]
) -> None:
    workers_of(training.pid)[0].kill()
    end(training).assert_one_error(5, "a worker process has ended", "train again")
    again = prepared.start_training(*LONG)
    prepared.wait_for_step(checkpoint_step(prepared.checkpoints()[-1]) + 100, again)
    again.send_signal(signal.SIGTERM)
    assert "going on from step" in end(again).errors
