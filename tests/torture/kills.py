"""kill -9 at any moment of a training and before any call that writes a file, and damage to the checkpoints it leaves.

Each training is run once without a fault, and its files are compared with those of the one that met the fault.
"""

import random
import shutil
import signal
from collections import defaultdict
from functools import cache
from pathlib import Path
from subprocess import Popen
from tempfile import TemporaryDirectory
from time import sleep

from charloom.adapters.files import archive, artifacts, corpus, models, snapshots
from tests.project import Project, end
from tests.results import named_artifacts, seal
from tests.results import prepare as prepare_text
from tests.torture.promise import Promise

STATE = 4  # exit code
SMALL = (
    *("preset=smoke", "model.hidden_size=8", "train.steps=200", "train.checkpoint_every=20", "train.log_every=5"),
    *("train.validate_every=40", "train.sample_every=40", "train.inspect_every=40"),
)

# train and synthesize in one process, which says on stdout when each phase begins and ends. Where its first argument n
# is positive, it kills itself before the n-th call that could change a file; where it is 0, it names these calls. What
# was in the work folder at the end, the optimizer's state above all, stays in `kept`.
_STAGES = """
    import os, shutil, signal, sys, time
    from charloom.adapters.command import stage_main
    from charloom.adapters.files import models
    from charloom.adapters.files.work_folder import WorkFolder
    from charloom.stages import recorder, synthesize, train

    WRITE = "open write writelines truncate flush fsync chmod replace unlink rmdir close".split()
    calls = 0

    def stages(config, inp, out):
        train.run(config, inp, out / "train")
        synthesize.run(config, inp, out / "synthesize")

    def announce(owner, name, phase, writes=False):
        function = getattr(owner, name)

        def count(frame, event, called):
            global calls
            if event == "c_call" and called.__name__ in WRITE:
                calls += 1
                if calls == last:
                    os.kill(os.getpid(), signal.SIGKILL)
                if not last:
                    print(f"call in {phase}: {called.__name__}")

        def announced(*arguments, **options):
            print(phase, "begins", time.monotonic(), flush=True)
            sys.setprofile(count if writes and last >= 0 else None)
            returned = function(*arguments, **options)
            sys.setprofile(None)
            print(phase, "ends", time.monotonic(), flush=True)
            return returned

        setattr(owner, name, announced)

    def keep_and_discard(self):
        shutil.copytree(self.path, "kept", dirs_exist_ok=True)
        discard(self)

    if __name__ == "__main__":
        last = int(sys.argv.pop(1))
        announce(sys.modules[__name__], "stages", "the whole")
        announce(recorder, "evaluate", "a validation")
        announce(recorder.Recorder, "_sample", "a sample")
        announce(WorkFolder, "save", "a save", writes=True)
        announce(WorkFolder, "save_snapshot", "a snapshot", writes=True)
        announce(models, "save", "a model", writes=True)
        announce(recorder.Recorder, "write", "the results", writes=True)
        announce(WorkFolder, "discard", "the end", writes=True)
        discard, WorkFolder.discard = WorkFolder.discard, keep_and_discard
        stage_main(stages)
"""
_UNCOUNTED = -1

Files = dict[str, bytes]


def prepare(folder: Path) -> Project:
    """A project with a prepared corpus in this folder."""
    project = Project.create(folder / "a project")
    prepare_text(project.corpus, project.root / "artifacts")
    return project


def start(project: Project, last: int, overrides: tuple[str, ...]) -> Popen[str]:
    """Start train and synthesize; `last` is the script's first argument."""
    script = project.script("stages.py", _STAGES)
    return project.start(script, str(last), "out=artifacts", *overrides)


def run(project: Project, overrides: tuple[str, ...], last: int = _UNCOUNTED) -> tuple[Files, str]:
    """Run train and synthesize to the end: every file that they leave, the last checkpoint among them, and their
    output.
    """
    ended = end(start(project, last, overrides))
    assert ended.code == 0, ended
    *_, checkpoint = sorted((project.root / "kept").glob("checkpoint-*.npz"))
    journal = (project.root / "kept/history.jsonl").read_bytes()
    return results(project) | {"the last checkpoint": state(checkpoint), "history.jsonl": journal}, ended.output


def results(project: Project) -> Files:
    """The files of train and synthesize at their final paths; what a kill left beside them ends in .tmp."""
    return {
        name: content
        for name, content in project.files("artifacts").items()
        if name.startswith(("train/", "synthesize/")) and not name.endswith(".tmp")
    }


def state(checkpoint: Path) -> bytes:
    """Everything in a checkpoint but the time that the training took."""
    arrays, values = archive.load(checkpoint, "checkpoint")
    del values["seconds"]
    named = {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in sorted(arrays.items())}
    return repr((named, values)).encode()


def assert_whole(project: Project) -> None:
    """Every file that stands at its final path, in the work folder and in the results folder, can be read."""
    for kind in ("checkpoint", "snapshot"):
        for path in (project.root / ".charloom").glob(f"*/{kind}-*.npz"):
            archive.load(path, kind)
    inp = seal(project.root / "artifacts")  # a stage that was killed has not come to that
    corpus.load(inp)
    for artifact in named_artifacts():
        if not (inp / artifact.name).exists():
            continue
        if artifact in (artifacts.MODEL, artifacts.BEST_MODEL):
            models.load(inp / artifact.name)
        elif artifact == artifacts.SNAPSHOTS:
            snapshots.load(inp / artifact.name)
        elif artifact != artifacts.IDS:
            artifact.read(inp)  # type: ignore[attr-defined]  # all but models and figures have it


def assert_goes_on_to(expected: Files, project: Project, overrides: tuple[str, ...]) -> None:
    """What is there after a kill is whole, and the same command ends with the same files."""
    assert_whole(project)
    found, _ = run(project, overrides)
    assert sorted(found) == sorted(expected)
    different = [name for name in expected if found[name] != expected[name]]
    assert not different, f"not the same bytes: {', '.join(different)}"


def draw_overrides(rng: random.Random) -> tuple[str, ...]:
    """A small training with any cell, optimizer and type of numbers, and any division of its streams."""
    streams, workers = rng.choice([(1, 1), (3, 1), (4, 2)])
    layers = rng.choice([1, 2])
    return (
        *SMALL,
        f"model={rng.choice(['rnn', 'gru', 'lstm'])}",
        f"optimizer={rng.choice(['adagrad', 'rmsprop', 'adam', 'adamw', 'soap', 'sgd'])}",
        f"optimizer.schedule={rng.choice(['constant', 'linear', 'cosine', 'steps'])}",
        f"model.dtype={rng.choice(['float64', 'float32'])}",
        f"model.layers={layers}",
        f"model.dropout={0.2 * (layers - 1)}",
        f"model.output_dropout={rng.choice([0, 0.1])}",
        f"train.batch_size={streams}",
        f"train.reset_probability={rng.choice([0, 0.2])}",
        f"train.workers={workers}",
    )


def killed_at_any_moment(seed: int, folder: Path) -> None:
    """Kill a training from outside, within a phase that the seed chooses, and run it again."""
    rng = random.Random(seed)
    overrides = draw_overrides(rng)
    project = prepare(folder)
    undisturbed = project.copy_to(folder / "undisturbed/a project")
    expected, output = run(undisturbed, overrides)
    phase = ("the whole", "a save", "a validation", "a sample")[seed % 4]
    durations = durations_of(phase, output)
    while True:
        occurrence = rng.randrange(len(durations))
        if kill_within(project, overrides, phase, occurrence, rng.random() * durations[occurrence]):
            break
        shutil.rmtree(project.root)  # it was faster than the first, and had ended
        project = prepare(folder)
    assert_goes_on_to(expected, project, overrides)


def durations_of(phase: str, output: str) -> list[float]:
    """The seconds that each occurrence of a phase took."""
    said = [line.removeprefix(phase).split() for line in output.splitlines() if line.startswith(f"{phase} ")]
    times: dict[str, list[float]] = defaultdict(list)
    for event, time in said:
        times[event].append(float(time))
    return [end - begin for begin, end in zip(times["begins"], times["ends"], strict=True)]


def kill_within(project: Project, overrides: tuple[str, ...], phase: str, occurrence: int, seconds: float) -> bool:
    """Kill a training so many seconds after this occurrence of a phase, from 0, began; whether it was still running."""
    with start(project, _UNCOUNTED, overrides) as process:
        assert process.stdout is not None
        for line in process.stdout:
            occurrence -= line.startswith(f"{phase} begins")
            if occurrence < 0:
                sleep(seconds)
                process.kill()
                break
        process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), process.returncode
    return process.returncode != 0


def killed_before_a_call(seed: int, folder: Path) -> None:
    """Let a training kill itself before a call that writes, flushes, moves or removes, and run it again.

    Every other seed chooses a call within the writing of a checkpoint.
    """
    rng = random.Random(seed)
    expected, calls = _calls_that_write()
    kinds = sorted(kind for kind in calls if ("a save" in kind) == (seed % 2 == 0))
    last = rng.choice(calls[kinds[seed // 2 % len(kinds)]])
    project = prepare(folder)
    ended = end(start(project, last, SMALL))
    assert ended.code == -signal.SIGKILL, ended
    assert_goes_on_to(expected, project, SMALL)


@cache
def _calls_that_write() -> tuple[Files, dict[str, list[int]]]:
    """What a training leaves, and the numbers, from 1, of its calls that could change a file, by where and what."""
    with TemporaryDirectory() as folder:
        expected, output = run(prepare(Path(folder)), SMALL, last=0)
    calls: dict[str, list[int]] = defaultdict(list)
    named = [line.removeprefix("call in ") for line in output.splitlines() if line.startswith("call in ")]
    for number, kind in enumerate(named, start=1):
        calls[kind].append(number)
    return expected, dict(calls)


def damaged_checkpoints(seed: int, folder: Path) -> None:
    """Damage the newest checkpoint of a killed training, or both, and run it again."""
    rng = random.Random(seed)
    expected, calls = _calls_that_write()
    project = prepare(folder)
    half = rng.choice(calls["a save: replace"][2:])  # by then, two checkpoints have been moved into place
    end(start(project, half, SMALL))
    older, newest = project.checkpoints()
    damage(newest, rng)
    if seed % 2:
        damage(older, rng)
        found = end(start(project, _UNCOUNTED, SMALL))
        found.assert_one_error(STATE, f"no checkpoint in {newest.parent} can be used", "remove that folder")
        assert project.checkpoints() == [older, newest], "they are evidence, and stay"
        return
    found = end(start(project, _UNCOUNTED, SMALL))
    assert found.code == 0, found
    assert f"charloom: warning: {newest} " in found.errors
    step = int(older.stem.removeprefix("checkpoint-"))
    assert f"going on from step {step} " in found.errors
    assert results(project).items() <= expected.items()


def damage(path: Path, rng: random.Random) -> None:
    """Cut a file off, or invert a stretch of it that is longer than any field without a meaning."""
    content = bytearray(path.read_bytes())
    at = rng.randrange(len(content))
    if rng.random() < 0.5:
        del content[at:]
    else:
        content[at : at + 64] = bytes(byte ^ 0xFF for byte in content[at : at + 64])
    path.write_bytes(content)


PROMISES = (
    Promise(
        "kill -9 at any moment of a training, most of them within saves, validations and samples: no broken file, the "
        "same bytes in the end",
        killed_at_any_moment,
        tries=200,
        short=2,
    ),
    Promise(
        "kill -9 before a call that writes, moves or removes a file, half of them a checkpoint's: no broken file, the "
        "same bytes in the end",
        killed_before_a_call,
        tries=100,
        short=1,
    ),
    Promise(
        "a damaged checkpoint is named, and the one before it leads to the same end; where both are, exit code 4",
        damaged_checkpoints,
        tries=100,
        short=2,
    ),
)
