"""A training may be ended at any moment: run again, it ends bit for bit like one that was left alone."""

import json
import os
import random
import signal
import subprocess
import sys

import pytest

from tests.project import Ended, Project, end

STEPS = 6_000
LONG = ("preset=smoke", f"train.steps={STEPS}", "train.checkpoint_every=20", "train.sample_every=500")
KILLS = 5
SHORT = ("preset=smoke", "train.steps=60", "train.checkpoint_every=20", "train.sample_every=20")
PAIR = ("gradcheck.hidden_size=4", "gradcheck.workers=2")  # of processes

# The train stage, in which signals, their number the first argument, come in the middle of the 50th update: the
# parameters are new, the step is not.
_SIGNALLED_WITHIN_AN_UPDATE = """
    import os, signal, sys
    from charloom.adapters.command import stage_main
    from charloom.core.training.optimizers import AdaGrad
    from charloom.stages import train

    update, updates, signals = AdaGrad.update, 0, int(sys.argv.pop(1))

    def update_and_signal(self, *arguments, **options):
        global updates
        update(self, *arguments, **options)
        updates += 1
        if updates == 52:  # inspections at steps 1 and 10 try two more on copies
            for _ in range(signals):
                os.kill(os.getpid(), signal.SIGINT)

    AdaGrad.update = update_and_signal
    stage_main(train.run)
"""

# A stage, its name the first argument, that gets the signal in the second when it calls the function in the third.
_SIGNALLED_AT_A_CALL = """
    import importlib, os, sys
    from charloom.adapters.command import stage_main

    if __name__ == "__main__":
        name, signum, call = sys.argv.pop(1), int(sys.argv.pop(1)), sys.argv.pop(1)
        stage = importlib.import_module(f"charloom.stages.{name}")
        module = importlib.import_module(call.rpartition(".")[0])
        function = getattr(module, call.rpartition(".")[2])

        def signalled(*arguments, **options):
            os.kill(os.getpid(), signum)
            return function(*arguments, **options)

        setattr(module, call.rpartition(".")[2], signalled)
        stage_main(stage.run)
"""

# A process that starts a stage as DVC would, says its id, and waits, or ends at once if its first argument says so.
_LIKE_DVC = """
    import subprocess, sys, os
    at_once = sys.argv.pop(1) == "ends at once"
    parent = {"CHARLOOM_PARENT": str(os.getpid())}
    stage = subprocess.Popen([sys.executable, *sys.argv[1:]], env=os.environ | parent)
    print(stage.pid, flush=True)
    if at_once:
        os._exit(0)
    stage.wait()
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, _prepared: Project) -> dict[str, str]:
    """The hashes of what the long training leaves when nothing happens to it."""
    return _prepared.hash_training(tmp_path_factory.mktemp("undisturbed"), *LONG)


@pytest.fixture(scope="module")
def undisturbed_short(tmp_path_factory: pytest.TempPathFactory, _prepared: Project) -> dict[str, str]:
    """The hashes of what the short training leaves when nothing happens to it."""
    return _prepared.hash_training(tmp_path_factory.mktemp("undisturbed"), *SHORT)


def signal_at_step(project: Project, step: int, signum: signal.Signals, *overrides: str) -> Ended:
    """What becomes of a training that gets a signal soon after the checkpoint of a step."""
    process = project.start_training(*overrides)
    project.wait_for_step(step, process)
    process.send_signal(signum)
    return end(process)


def test_a_training_killed_at_five_random_moments_ends_like_one_that_was_not(
    prepared: Project, undisturbed: dict[str, str]
) -> None:
    steps = sorted(random.Random(2).sample(range(1, STEPS * 3 // 4), KILLS))
    codes = [signal_at_step(prepared, step, signal.SIGKILL, *LONG).code for step in steps]
    assert codes == [-signal.SIGKILL] * KILLS
    ended = prepared.stage("train", *LONG)
    assert "going on from step" in ended.errors
    assert prepared.hashes() == undisturbed


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_training_ended_by_a_signal_says_so_and_ends_like_one_that_was_not_when_run_again(
    prepared: Project, undisturbed: dict[str, str], signum: signal.Signals
) -> None:
    ended = signal_at_step(prepared, 100, signum, *LONG)
    ended.assert_one_error(128 + signum, f"ended by {signum.name}")
    assert not list((prepared.root / "artifacts/train").iterdir())
    prepared.stage("train", *LONG)
    assert prepared.hashes() == undisturbed


def resumed_after_signals_within_an_update(project: Project, signals: int) -> Ended:
    """The short training, ended by so many signals in its 50th update, and run again."""
    script = project.script("signalled.py", _SIGNALLED_WITHIN_AN_UPDATE)
    ended = project.python(script, str(signals), "out=artifacts/train", *SHORT)
    ended.assert_one_error(128 + signal.SIGINT, "ended by SIGINT")
    return project.stage("train", *SHORT)


def test_a_signal_is_heard_at_the_end_of_the_update_and_that_step_is_kept(
    prepared: Project, undisturbed_short: dict[str, str]
) -> None:
    assert "going on from step 50 " in resumed_after_signals_within_an_update(prepared, 1).errors
    assert prepared.hashes() == undisturbed_short


def test_a_second_signal_within_an_update_changes_nothing(prepared: Project, undisturbed_short: dict[str, str]) -> None:
    assert "going on from step 50 " in resumed_after_signals_within_an_update(prepared, 2).errors
    assert prepared.hashes() == undisturbed_short


def test_a_training_that_is_done_leaves_no_work_folder(trained: Project) -> None:
    assert [path for path in (trained.root / ".charloom").iterdir() if path.is_dir()] == []


def test_another_configuration_has_a_work_folder_of_its_own(
    prepared: Project, undisturbed_short: dict[str, str]
) -> None:
    prepared.train_until_killed(40, *SHORT)
    first = prepared.folder()
    prepared.train_until_killed(40, *SHORT, "seed=2")
    folders = [path for path in (prepared.root / ".charloom").iterdir() if path.is_dir()]
    assert len(folders) == 2
    assert first in folders
    prepared.stage("train", *SHORT)
    assert prepared.hashes() == undisturbed_short


def test_another_text_has_a_work_folder_of_its_own(prepared: Project) -> None:
    prepared.train_until_killed(40, *SHORT)
    prepared.corpus.write_text(prepared.corpus.read_text(encoding="utf-8")[::-1], encoding="utf-8")
    prepared.stage("prepare")
    assert "going on" not in prepared.stage("train", *SHORT).errors


def test_a_folder_to_write_to_is_no_reason_to_train_from_the_start(
    prepared: Project, undisturbed_short: dict[str, str]
) -> None:
    prepared.train_until_killed(40, *SHORT)
    assert "going on from step 40 " in prepared.stage("train", *SHORT, "out=elsewhere").errors
    assert prepared.hashes("elsewhere") == undisturbed_short


def test_a_half_written_temporary_file_is_swept_up(prepared: Project) -> None:
    prepared.train_until_killed(20, *SHORT)
    orphan = prepared.folder() / "checkpoint-000000000040.npzx7f.tmp"
    orphan.write_bytes(b"half a checkpoi")
    prepared.train_until_killed(40, *SHORT)
    assert sorted(path.name for path in prepared.folder().iterdir()) == [
        "checkpoint-000000000020.npz",
        "checkpoint-000000000040.npz",
        "history.jsonl",
        "snapshot-000000000001.npz",
        "snapshot-000000000010.npz",
    ]


def test_the_history_of_a_killed_training_holds_every_step_once(prepared: Project) -> None:
    prepared.train_until_killed(20, *SHORT)
    journal = prepared.folder() / "history.jsonl"
    with journal.open("a", encoding="utf-8") as file:  # rows after the checkpoint, the last one cut
        file.write('{"step": 30, "epoch": 0, "loss": 1.0, "smooth_loss": 1.0}\n{"step": 40, "epo')
    prepared.train_until_killed(60, *SHORT)
    rows = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows] == [1, 10, 20, 30, 40, 50, 60]
    assert rows[3]["loss"] != 1.0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("stage", "call"),
    [("prepare", "charloom.adapters.files.corpus.prepare"), ("gradcheck", "charloom.core.gradcheck.step_sweep")],
)
def test_a_signal_ends_prepare_and_gradcheck_in_one_line_with_nothing_written(
    prepared: Project, stage: str, call: str, signum: signal.Signals
) -> None:
    script = prepared.script("signalled.py", _SIGNALLED_AT_A_CALL)
    ended = prepared.python(script, stage, str(int(signum)), call, "preset=smoke", *PAIR, "out=anew")
    ended.assert_one_error(128 + signum, f"ended by {signum.name}")
    assert not (prepared.root / "anew").exists()


def test_the_processes_of_a_killed_gradient_check_end_with_it(prepared: Project) -> None:
    script = prepared.script("killed.py", _SIGNALLED_AT_A_CALL)
    call, kill = "charloom.core.gradcheck.step_sweep", str(int(signal.SIGKILL))
    process = prepared.start(script, "gradcheck", kill, call, "preset=smoke", *PAIR, "out=anew")
    # They hold its output open: there would be no end of it.
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (-signal.SIGKILL, "")


@pytest.mark.skipif(sys.platform != "linux", reason="a process can ask to end with its parent on Linux alone")
def test_a_stage_of_dvc_ends_with_a_dvc_that_is_killed_and_is_resumed(
    prepared: Project, undisturbed: dict[str, str]
) -> None:
    script = prepared.script("like_dvc.py", _LIKE_DVC)
    dvc = prepared.start(script, "waits", "-m", "charloom.stages.train", "out=artifacts/train", *LONG)
    prepared.wait_for_step(100, dvc)
    dvc.kill()
    ended = end(dvc)  # with the end of the output, which the stage holds open
    assert "charloom: error: ended by SIGTERM" in ended.errors
    with pytest.raises(ProcessLookupError):
        _signal_or_reap(int(ended.output))
    prepared.stage("train", *LONG)
    assert prepared.hashes() == undisturbed


@pytest.mark.skipif(sys.platform != "linux", reason="a process can ask to end with its parent on Linux alone")
def test_a_stage_of_a_dvc_that_has_ended_before_python_has_started_does_nothing(prepared: Project) -> None:
    script = prepared.script("like_dvc.py", _LIKE_DVC)
    ended = prepared.python(script, "ends at once", "-m", "charloom.stages.train", "out=artifacts/train", *SHORT)
    assert ended.errors == "charloom: error: ended by SIGTERM\n"
    assert not (prepared.root / ".charloom").exists()


def _signal_or_reap(pid: int) -> None:
    """Raise ProcessLookupError if the process has ended, be it that its new parent has not noticed yet."""
    os.kill(pid, 0)
    status = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    if not status.strip() or status.startswith("Z"):
        raise ProcessLookupError
