"""A signal ends a command wherever it comes: in an import, a callback, a validation, a sample, the start of a pool."""

import gc
import os
import signal
import subprocess
import sys
import time
from multiprocessing import active_children, resource_tracker

import pytest

from charloom.adapters.command import exit_code, process_pool
from charloom.adapters.process import signals
from charloom.core.common.errors import DataError, EnvironmentFault
from tests.project import ROOT, Project, end

SIGNALS = pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
SHORT = (
    "preset=smoke",
    "train.steps=60",
    "train.checkpoint_every=40",
    "train.validate_every=50",
    "train.sample_every=100",
    "train.final_sample_length=1000",
    "train.inspect_every=0",  # it would call what is counted, too
    "out=artifacts/train",
)

# The train stage, which gets a SIGTERM in the function that its first argument names, when it is called for the n-th
# time, n being the second.
_SIGNALLED_IN = """
    import importlib, os, signal, sys
    from charloom.adapters.command import stage_main
    from charloom.stages import train

    (name, attribute), nth, calls = sys.argv.pop(1).split(":"), int(sys.argv.pop(1)), 0
    owner = importlib.import_module(name)
    *path, attribute = attribute.split(".")
    for part in path:
        owner = getattr(owner, part)
    function = getattr(owner, attribute)

    def signalled(*arguments, **SHORT):
        global calls
        calls += 1
        if calls == nth:
            os.kill(os.getpid(), signal.SIGTERM)
        return function(*arguments, **SHORT)

    setattr(owner, attribute, signalled)
    stage_main(train.run)
"""

# A command whose work loses the exception of its first signal, in one of the ways of libraries.
_LOSES = """
    import ctypes, os, signal, sys, time
    from charloom.adapters.command import exit_code

    def signal_me(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    def in_a_callback():
        array = (ctypes.c_int * 2)(2, 1)
        compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(signal_me)
        ctypes.CDLL(None).qsort(array, 2, ctypes.sizeof(ctypes.c_int), compare)

    def in_a_bare_except():
        try:
            signal_me()
            time.sleep(1)
        except:
            pass

    def as_another_exception():
        try:
            signal_me()
            time.sleep(1)
        except BaseException as error:
            raise RuntimeError("it could not be imported") from error

    def work():
        globals()[sys.argv[1]]()
        if sys.argv[2:]:
            time.sleep(600)

    sys.exit(exit_code(work))
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, _prepared: Project) -> dict[str, str]:
    """The hashes of what the short training leaves when nothing happens to it."""
    return _prepared.hash_training(tmp_path_factory.mktemp("undisturbed"), *SHORT)


def raise_signal(*_: object) -> None:
    signal.raise_signal(signal.SIGTERM)


def number(value: int) -> int:
    return value


def kill_own_process(value: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("way", ["in_a_callback", "in_a_bare_except", "as_another_exception"])
@pytest.mark.parametrize("goes_on", [False, True], ids=["and ends", "and goes on"])
def test_a_signal_that_a_library_loses_ends_the_command_nevertheless(project: Project, way: str, goes_on: bool) -> None:
    script = project.script("loses.py", _LOSES)
    ended = project.python(script, way, *["and goes on"] * goes_on)
    assert (ended.code, ended.errors) == (143, "charloom: error: ended by SIGTERM\n")


@SIGNALS
def test_a_signal_while_a_command_is_imported_ends_it_in_one_line(project: Project, signum: signal.Signals) -> None:
    (project.root / "numpy").mkdir()
    (project.root / "numpy/__init__.py").write_text(
        f"import os, time\nos.kill(os.getpid(), {int(signum)})\ntime.sleep(60)\n", encoding="utf-8"
    )
    ended = project.try_stage("train")
    assert (ended.code, ended.errors) == (128 + signum, f"charloom: error: ended by {signum.name}\n")


@pytest.mark.parametrize(
    ("function", "nth", "step", "validations"),
    [
        ("charloom.core.network.network:Network.forward", 52, 50, 0),
        ("charloom.core.network.sampling:Stepper.step", 300, 60, 1),
        ("charloom.adapters.files.archive:save", 1, 40, 0),
    ],
    ids=["validation", "sample", "save"],
)
def test_a_training_stops_within_a_validation_or_a_sample_and_goes_on_from_there(
    prepared: Project, undisturbed: dict[str, str], function: str, nth: int, step: int, validations: int
) -> None:
    ended = prepared.python(prepared.script("signalled.py", _SIGNALLED_IN), function, str(nth), *SHORT)
    ended.assert_one_error(143, "ended by SIGTERM")
    assert prepared.checkpoints()[-1].stem == f"checkpoint-{step:012d}"
    journal = (prepared.folder() / "history.jsonl").read_text(encoding="utf-8")
    assert journal.count("validation") == validations
    assert f"going on from step {step} " in prepared.stage("train", *SHORT).errors
    assert prepared.hashes() == undisturbed


def test_a_sample_that_nobody_reads_does_not_keep_the_command_from_its_end(trained: Project) -> None:
    process = trained.start("-m", "charloom.stages.synthesize", "synthesize.length=100000000", "out=anew")
    assert process.stdout is not None
    assert process.stdout.read(10)
    time.sleep(1)  # the pipe is full by then
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert end(process).errors.splitlines()[-1] == "charloom: error: ended by SIGTERM"
    assert list((trained.root / "anew").iterdir()) == []


def test_a_second_signal_long_after_the_first_ends_the_command_where_it_is(project: Project) -> None:
    script = project.script(
        "tidies.py",
        """
        import os, signal, sys, time
        from charloom.adapters.command import exit_code

        def work():
            try:
                os.kill(os.getpid(), signal.SIGINT)
            finally:
                print("tidying", flush=True)
                time.sleep(3)
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(60)

        sys.exit(exit_code(work))
        """,
    )
    ended = project.python(script)
    assert (ended.code, ended.output, ended.errors) == (130, "tidying\n", "charloom: error: ended by SIGINT\n")


def test_what_tidies_up_after_a_signal_is_not_interrupted() -> None:
    tidied = []

    def work() -> None:
        try:
            raise_signal()
        finally:
            give_up = time.monotonic() + 2 * signals._SECONDS_UNTIL_RAISED_AGAIN
            while time.monotonic() < give_up:
                with pytest.raises(DataError):
                    raise DataError("an error of its own")
            tidied.append(True)

    assert exit_code(work) == 143
    assert tidied == [True]


def test_an_error_that_a_signal_led_to_is_told_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        try:
            raise_signal()
        finally:
            raise EnvironmentFault("the disk is full")

    assert exit_code(work) == 143
    assert capsys.readouterr().err == "charloom: error: ended by SIGTERM: the disk is full\n"


def test_an_error_without_a_reason_that_a_library_made_of_a_signal_is_not_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def work() -> None:
        try:
            raise_signal()
        finally:
            raise TimeoutError

    assert exit_code(work) == 143
    assert capsys.readouterr().err == "charloom: error: ended by SIGTERM\n"


def test_an_error_without_a_reason_is_told_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise TimeoutError

    assert exit_code(work) == EnvironmentFault.exit_code
    assert capsys.readouterr().err == "charloom: error: TimeoutError\n"


def test_a_signal_that_is_held_back_is_raised_at_the_end_of_the_block() -> None:
    done = []

    def work() -> None:
        with signals.held_back():
            raise_signal()
            with signals.held_back():
                done.append("inner")
            done.append("outer")
        done.append("after")

    assert exit_code(work) == 143
    assert done == ["inner", "outer"]


def test_a_signal_that_is_held_back_is_raised_where_it_is_let_through() -> None:
    done = []

    def work() -> None:
        with signals.held_back():
            with signals.let_through():
                done.append("before")
            raise_signal()
            with signals.let_through():
                done.append("after")

    assert exit_code(work) == 143
    assert done == ["before"]


def test_a_pool_maps_like_the_plain_map_and_leaves_no_process() -> None:
    values = range(20)
    with process_pool(1) as plain:
        assert list(plain(number, values)) == list(values)
        assert active_children() == []
    with process_pool(2) as map_over_pool:
        assert list(map_over_pool(number, values)) == list(values)
        assert len(active_children()) == 2
    assert active_children() == []


def test_a_killed_process_of_a_pool_is_an_error_of_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with process_pool(2) as map_over_pool:
            list(map_over_pool(kill_own_process, range(20)))

    assert exit_code(work) == EnvironmentFault.exit_code
    assert capsys.readouterr().err.startswith("charloom: error: a worker process has ended")
    assert active_children() == []


@pytest.mark.parametrize("moment", [0.0, 0.1, 0.4, 0.8])
def test_a_signal_while_a_pool_starts_or_works_ends_its_processes(moment: float) -> None:
    def work() -> None:
        with process_pool(2) as map_over_pool:
            results = map_over_pool(time.sleep, [60, 60])
            time.sleep(moment)
            raise_signal()
            list(results)

    assert exit_code(work) == 143
    assert active_children() == []


def test_a_signal_while_a_pool_is_made_leaves_no_semaphore_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    register, unregister, names = resource_tracker.register, resource_tracker.unregister, set[str]()

    def register_and_signal(name: str, kind: str) -> None:
        register(name, kind)
        names.add(name)
        raise_signal()

    def forget(name: str, kind: str) -> None:
        unregister(name, kind)
        names.discard(name)

    monkeypatch.setattr(resource_tracker, "register", register_and_signal)
    monkeypatch.setattr(resource_tracker, "unregister", forget)

    def work() -> None:
        with process_pool(2):
            pass

    assert exit_code(work) == 143
    gc.collect()
    assert names == set()


@SIGNALS
def test_a_signal_to_the_group_while_the_gradient_check_starts_its_processes_ends_all(
    prepared: Project, signum: signal.Signals
) -> None:
    process = prepared.start(
        "-m", "charloom.stages.gradcheck", "preset=smoke", "gradcheck.workers=2", "out=anew", start_new_session=True
    )
    while not children(process):
        assert process.poll() is None
    os.killpg(process.pid, signum)
    ended = end(process)  # with the end of the output, which the processes hold open
    assert (ended.code, ended.errors) == (128 + signum, f"charloom: error: ended by {signum.name}\n")


def children(process: subprocess.Popen[str]) -> list[str]:
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
        return file.read().split()


@pytest.mark.parametrize("closed", [["stderr"], ["stdin", "stdout", "stderr"]])
def test_a_training_works_with_closed_streams(
    prepared: Project, undisturbed: dict[str, str], closed: list[str]
) -> None:
    redirections = {"stdin": "<&-", "stdout": ">&-", "stderr": "2>&-"}
    command = f'exec "$@" {" ".join(redirections[name] for name in closed)}'
    shell = ["sh", "-c", command, "sh", sys.executable, "-m", "charloom.stages.train", *SHORT]
    done = subprocess.run(shell, cwd=prepared.root, env=prepared.environment, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert prepared.hashes() == undisturbed


# A pool of which one process does all the work while the other is still starting, as on a busy machine; then SIGTERM.
_LATE_WORKER = """
    import os, signal, sys, threading
    from charloom.adapters.command import exit_code, process_pool

    def work():
        with process_pool(2) as map_over_pool:
            list(map_over_pool(abs, [-1, -2]))
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()

    if __name__ == "__main__":
        sys.exit(exit_code(work))
"""
_ONLY_THE_FIRST_IS_FAST = """
import os, sys, time
if any("spawn_main" in argument for argument in sys.orig_argv):
    try:
        os.mkdir("first")
    except FileExistsError:
        time.sleep(3)
"""


def test_a_signal_while_a_pool_ends_before_all_of_its_processes_have_started_is_one_line(project: Project) -> None:
    (project.root / "sitecustomize.py").write_text(_ONLY_THE_FIRST_IS_FAST, encoding="utf-8")
    path = os.pathsep.join((str(project.root), str(ROOT / "src")))
    ended = project.python(project.script("late.py", _LATE_WORKER), variables={"PYTHONPATH": path})
    assert (ended.code, ended.errors) == (143, "charloom: error: ended by SIGTERM\n")


_WHEN_PYTHON_ENDS = """
    import os, signal
    from charloom.adapters.process import signals

    class Late:
        def __del__(self, kill=os.kill, pid=os.getpid(), signum=signal.SIGTERM):
            kill(pid, signum)

    signals.install()
    late = Late()
"""


def test_a_signal_while_python_ends_does_not_end_a_finished_process(project: Project) -> None:
    ended = project.python(project.script("late.py", _WHEN_PYTHON_ENDS))
    assert (ended.code, ended.errors) == (0, "")
