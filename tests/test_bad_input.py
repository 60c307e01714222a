"""What a person may get wrong, and what may happen around it, through the command line: one clear line, the right exit
code, and nothing lost.
"""

import json
import os
import re
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from charloom.adapters.files import archive as checkpoint
from tests.project import CHARACTERS, Project, end

CONFIG, DATA, STATE, ENVIRONMENT = 2, 3, 4, 5
SMOKE = ("preset=smoke", "train.checkpoint_every=50")
KILLED_AT = 200
NEWEST, BEFORE = "checkpoint-000000000200.npz", "checkpoint-000000000150.npz"


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"a", "has one character"),
        (b"zzzzz", "a single distinct character, 'z', 5 times"),
        (b"an apple\xff and a pear", "is not utf-8: byte 0xff at offset 8 "),
        (b"x" * 70_000 + b"\xe2\x82", "is not utf-8: byte 0xe2 at offset 70000 "),
        ("\ufeffa tale".encode("utf-16-le"), "looks like UTF-16, not utf-8; set data.encoding=utf-16"),
        ("a tale".encode("utf-16-be"), "looks like UTF-16-BE, not utf-8; set data.encoding=utf-16-be"),
    ],
)
def test_a_text_that_cannot_be_learnt_from_ends_prepare_with_nothing_written(
    project: Project, content: bytes, fragment: str
) -> None:
    project.corpus.write_bytes(content)
    project.stage_here("prepare", "out=artifacts/prepare").assert_one_error(DATA, "data/corpus.txt", fragment)
    assert not (project.root / "artifacts").exists()


def test_a_missing_text_is_named_with_the_key_that_says_where_it_is(project: Project) -> None:
    project.stage_here("prepare", "data.path=data/none.txt").assert_one_error(DATA, "data/none.txt", "data.path")


def test_a_directory_in_the_place_of_the_text_is_named(project: Project) -> None:
    project.stage_here("prepare", "data.path=data").assert_one_error(DATA, "data cannot be read", "got a directory")


def test_a_fifo_in_the_place_of_the_text_is_named_at_once(project: Project) -> None:
    os.mkfifo(project.root / "data/fifo")
    project.stage_here("prepare", "data.path=data/fifo").assert_one_error(
        DATA, "data/fifo cannot be read", "got a FIFO"
    )


def test_an_unknown_encoding_is_refused(project: Project) -> None:
    project.stage_here("prepare", "data.encoding=utf-9").assert_one_error(CONFIG, "data.encoding", "'utf-9'")


def test_utf_16_is_read_once_it_is_named(project: Project) -> None:
    project.corpus.write_bytes("\ufeffa tale\n".encode("utf-16-le"))
    project.stage("prepare", "data.encoding=utf-16")
    assert json.loads((project.root / "artifacts/prepare/vocabulary.json").read_bytes()) == sorted(set("a tale\n"))


def test_a_byte_order_mark_and_the_line_ends_of_another_system_change_nothing(project: Project) -> None:
    text = project.corpus.read_bytes()
    names = ("ids.npy", "vocabulary.json")
    project.stage("prepare")
    plain = project.hashes("artifacts/prepare", names)
    project.corpus.write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))
    project.stage("prepare")
    assert project.hashes("artifacts/prepare", names) == plain


def test_carriage_returns_are_characters_where_newlines_are_kept(project: Project) -> None:
    project.corpus.write_bytes(b"one\r\ntwo\r\n")
    project.stage("prepare", "data.newline=keep")
    assert json.loads((project.root / "artifacts/prepare/summary.json").read_bytes())["characters"] == 10
    assert "\r" in json.loads((project.root / "artifacts/prepare/vocabulary.json").read_bytes())


@pytest.mark.parametrize(("stage", "needed"), [("gradcheck", 49), ("train", 13)])
def test_a_text_shorter_than_its_windows_is_refused_with_both_numbers(
    project: Project, stage: str, needed: int
) -> None:
    project.corpus.write_text("a short tale", encoding="utf-8")
    project.stage("prepare", "data.validation_fraction=0")
    ended = project.stage_here(stage, f"{stage}.seq_length=12")
    ended.assert_one_error(DATA, f"must have {needed} characters or more", "got 12", f"{stage}.seq_length")


def test_more_streams_than_the_text_has_windows_are_refused_with_both_numbers(prepared: Project) -> None:
    trained_on = CHARACTERS - CHARACTERS // 10
    ended = prepared.stage_here("train", "train.batch_size=1000")
    ended.assert_one_error(DATA, "must have 25001 characters or more", f"got {trained_on}", "train.batch_size")


@pytest.mark.parametrize(
    ("override", "fragments"),
    [
        ("model.hiden_size=3", ("there is no key 'model.hiden_size'", "did you mean 'model.hidden_size'?")),
        ("learning_rate=0.1", ("there is no key 'learning_rate'", "did you mean 'optimizer.learning_rate'?")),
        ("+train.pace=1", ("there is no key 'train.pace'",)),
        ("model.hidden_size=1.5", ("model.hidden_size must be a whole number, got 1.5",)),
        ("optimizer.learning_rate=fast", ("optimizer.learning_rate must be a number, got 'fast'",)),
        ("model.cell=null", ("model.cell must be one of rnn, gru, lstm, got null",)),
        ("model.hidden_size", ("cannot read 'model.hidden_size'", "key=value")),
        ("train=3", ("train must hold keys with their values, got 3",)),
        ("optimizer.learning_rate=0", ("optimizer.learning_rate must be >= 1e-12, got 0",)),
        ("optimizer.learning_rate=-1", ("optimizer.learning_rate must be >= 1e-12, got -1",)),
        ("optimizer.learning_rate=nan", ("optimizer.learning_rate must be finite, got nan",)),
        ("optimizer.learning_rate=inf", ("optimizer.learning_rate must be finite, got inf",)),
        ("model.hidden_size=0", ("model.hidden_size must be >= 1, got 0",)),
        ("train.batch_size=-1", ("train.batch_size must be >= 1, got -1",)),
        ("synthesize.temperature=-0.5", ("synthesize.temperature must be >= 0, got -0.5",)),
        ("synthesize.top_p=0", ("synthesize.top_p must be > 0, got 0",)),
        ("synthesize.top_p=1.5", ("synthesize.top_p must be <= 1, got 1.5",)),
        ("preset=smok", ("preset must be one of reference, smoke", "'smok'")),
        ("preset=null", ("preset", "got null", "leave such a key out")),
        ("optimizer=adamm", ("optimizer must be one of adagrad, adam, adamw, rmsprop, sgd, soap, got 'adamm'",)),
        ("model.cell=transformer", ("model.cell must be one of rnn, gru, lstm, got 'transformer'",)),
        ("optimizer.name=adamm", ("optimizer.name must be one of adagrad, rmsprop, adam, soap, sgd, got 'adamm'",)),
        ("optimizer.schedule=wavy", ("optimizer.schedule must be one of constant, linear, cosine, steps, got 'wavy'",)),
        ("train.steps=1e3", ("train.steps must be a whole number, got 1000.0", "without a point")),
        ("model.layers=true", ("model.layers must be a whole number, got true",)),
        ("model.layers=null", ("model.layers must be a whole number, got null",)),
        ("data.path=[1.5]", ("data.path must be text, got [1.5]; put text in quotes",)),
        ("model.layers=100000000", ("model.layers must be <= 1,000, got 100000000",)),
        ("train.workers=500", ("train.workers must be <= 64, got 500",)),
        ("gradcheck.step=1e-320", ("gradcheck.step must be >= 1e-12, got 1e-320",)),
        (f"train.seq_length={2**70}", ("train.seq_length must be <= 1,000,000, got 1180591620717411303424",)),
        ("model.layers=${nothing}", ("model.layers", "'nothing' not found")),
        ("model.dtype=float16", ("model.dtype must be one of float64, float32, got 'float16'",)),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_before_anything_is_done(
    project: Project, override: str, fragments: tuple[str, ...]
) -> None:
    before = project.files()
    project.stage_here("prepare", override).assert_one_error(CONFIG, *fragments)
    assert project.files() == before


def test_all_that_is_wrong_is_said_at_once_in_one_line(project: Project) -> None:
    wrong = ("model.layrs=2", "model.hidden_size=0", "train.steps=many", "train.workers=2", "tracking.mode=of")
    assert project.try_stage("prepare", *wrong).assert_one_error(CONFIG) == (
        "charloom: error: 5 problems: "
        "(1) there is no key 'model.layrs'; did you mean 'model.layers'?; "
        "(2) model.hidden_size must be >= 1, got 0; "
        "(3) train.steps must be a whole number, got 'many'; write it without quotes and without a point, such as 100; "
        "(4) train.workers must divide train.batch_size (1), got 2; each worker takes equally many streams; "
        "(5) tracking.mode must be one of sqlite, server, off, got 'of'"
    )


@pytest.mark.parametrize("argument", ["model.hiden_size=3", "model.hidden_size=0"])
def test_an_experiment_with_a_wrong_value_leaves_nothing_behind(project: Project, argument: str) -> None:
    before = project.files()
    ended = project.python("-m", "charloom.experiment", argument)
    ended.assert_one_error(CONFIG, "'model.hidden_size'" if "hiden" in argument else "must be >= 1, got 0")
    assert project.files() == before


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ("seed: 1\nmodel: [\n", "params.yaml, line"),
        ("seed: 1\n", "has no value; params.yaml must give it one"),
        ("- seed\n", "something other than keys with their values"),
    ],
)
def test_a_params_yaml_that_is_not_one_is_refused(project: Project, content: str, fragment: str) -> None:
    (project.root / "params.yaml").write_text(content, encoding="utf-8")
    project.stage_here("prepare").assert_one_error(CONFIG, fragment)


def _doubling(reference: str) -> str:
    lines = (f"k{n}: {reference.format(n - 1) if n else 'x'}\n" for n in range(40))
    return "".join(lines)


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ("a: &a [x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(40)), "line 2: must have no alias, got *a"),
        (_doubling('"${{k{0}}}${{k{0}}}"'), "line 2: a value must be written out, got an interpolation"),
        ("[" * 10_000 + "]" * 10_000, "line 1: must have at most 20 levels"),
        ("# a long comment\n" * 10_000, "must have at most 65,536 bytes, got more"),
        ("seed: " + "9" * 5000, "a whole number must have at most 4,300 digits"),
        ("seed: !!python/object/apply:os.getcwd []", "could not determine a constructor for the tag"),
        ("1: 2\nnull: 3\n? [a]\n: 4", "params.yaml"),
    ],
    ids=["aliases", "interpolations", "depth", "length", "digits", "code", "keys"],
)
def test_a_params_yaml_that_takes_all_time_or_memory_is_refused(project: Project, content: str, fragment: str) -> None:
    (project.root / "params.yaml").write_text(content, encoding="utf-8")
    ended = project.try_stage("prepare", preexec_fn=_little_memory, variables={"OPENBLAS_NUM_THREADS": "1"})
    ended.assert_one_error(CONFIG, fragment)


@pytest.mark.parametrize(
    ("module", "arguments", "fragment"),
    [
        ("experiment", ("--foo",), "unrecognized arguments: --foo; see --help"),
        ("experiment", ("seed=1", "-x", "--bar"), "unrecognized arguments: -x --bar; see --help"),
        ("experiment", ("seed=1,2",), "seed must have one value, got several with commas: 'seed=1,2'"),
        ("tracking", ("--port", "many"), "argument --port: invalid int value: 'many'; see --help"),
        ("tracking", ("--prot=1",), "unrecognized arguments: --prot=1; see --help"),
        ("fetch", ("alice", "--two"), "unrecognized arguments: --two; see --help"),
        ("stages.train", ("--foo",), "cannot read '--foo'; write key=value"),
    ],
)
def test_an_option_that_there_is_not_is_one_line(
    project: Project, module: str, arguments: tuple[str, ...], fragment: str
) -> None:
    before = project.files()
    project.python("-m", f"charloom.{module}", *arguments).assert_one_error(CONFIG, fragment)
    assert project.files() == before


def test_help_of_an_experiment_says_how_it_is_called(project: Project) -> None:
    ended = project.python("-m", "charloom.experiment", "--help")
    assert (ended.code, ended.errors) == (0, "")
    assert "--multirun" in ended.output
    assert "key=value" in ended.output


def test_a_params_yaml_that_is_not_utf_8_is_refused(project: Project) -> None:
    (project.root / "params.yaml").write_bytes("seed: 1 # naïve\n".encode("latin-1"))
    project.stage_here("prepare").assert_one_error(CONFIG, "params.yaml", "is not UTF-8")


def test_outside_a_project_the_files_that_are_missed_are_named(project: Project) -> None:
    outside = project.root.parent
    project.try_stage("prepare", cwd=outside).assert_one_error(CONFIG, "params.yaml", "conf/", str(outside))


def test_a_stage_finds_the_project_from_a_folder_within_it(project: Project) -> None:
    ended = project.try_stage("prepare", "data.path=corpus.txt", "out=prepared", cwd=project.root / "data")
    assert ended.code == 0, ended.errors
    assert (project.root / "data/prepared/ids.npy").is_file()


@pytest.mark.parametrize(
    ("stage", "code", "fragment"),
    [
        ("baseline", DATA, "prepare/vocabulary.json is missing; run the prepare stage first"),
        ("gradcheck", DATA, "prepare/vocabulary.json is missing; run the prepare stage first"),
        ("train", DATA, "prepare/vocabulary.json is missing; run the prepare stage first"),
        ("synthesize", STATE, "train/best.npz; run the train stage first"),
        ("evaluate", STATE, "train/best.npz; run the train stage first"),
        ("plot", STATE, "prepare/parameters.json is missing; run the"),
        ("track", STATE, "prepare/summary.json is missing; run the"),
    ],
)
def test_a_stage_without_its_inputs_says_which_stage_makes_them(
    project: Project, stage: str, code: int, fragment: str
) -> None:
    before = project.files()
    project.stage_here(stage, "inp=nowhere", "out=anew").assert_one_error(code, f"nowhere/{fragment}")
    assert project.files() == before


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _reshape(path: Path) -> None:
    arrays, values = checkpoint.load(path, "model")
    checkpoint.save(path, "model", {**arrays, "W": arrays["W"][:-1]}, values)


def _drop(path: Path) -> None:
    arrays, values = checkpoint.load(path, "model")
    checkpoint.save(path, "model", {name: array for name, array in arrays.items() if name != "V"}, values)


def _call_it_a_gru(path: Path) -> None:
    arrays, values = checkpoint.load(path, "model")
    checkpoint.save(path, "model", arrays, {**values, "cell": "gru"})


def _call_it_a_transformer(path: Path) -> None:
    arrays, values = checkpoint.load(path, "model")
    checkpoint.save(path, "model", arrays, {**values, "cell": "transformer"})


@pytest.mark.parametrize(
    ("spoil", "fragment"),
    [
        (_cut, "is not a whole model file"),
        (_reshape, "W is [15, 16] where a network of its sizes has [16, 16]"),
        (_drop, "V is missing where a network of its sizes has"),
        (_call_it_a_gru, "W is [16, 16] where a network of its sizes has"),
        (_call_it_a_transformer, "has the cell 'transformer'; this version has rnn, gru, lstm"),
    ],
)
def test_a_model_that_is_not_whole_is_refused_and_an_earlier_text_kept(
    trained: Project, spoil: Callable[[Path], None], fragment: str
) -> None:
    sample = trained.root / "artifacts/synthesize/sample.txt"
    sample.parent.mkdir()
    sample.write_text("an earlier text", encoding="utf-8")
    spoil(trained.root / "artifacts/train/best.npz")
    ended = trained.stage_here("synthesize", "out=artifacts/synthesize")
    ended.assert_one_error(STATE, "artifacts/train/best.npz", fragment)
    assert sample.read_text(encoding="utf-8") == "an earlier text"


def test_a_model_of_a_newer_format_is_refused_with_both_numbers(
    trained: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = trained.root / "artifacts/train/best.npz"
    arrays, values = checkpoint.load(path, "model")
    own = checkpoint.FORMATS["model"]
    monkeypatch.setitem(checkpoint.FORMATS, "model", own + 1)
    checkpoint.save(path, "model", arrays, values)
    message = f"has format {own + 1}, and this version reads format {own}; upgrade charloom"
    trained.try_stage("synthesize").assert_one_error(STATE, message)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, _prepared: Project) -> dict[str, str]:
    """The hashes of what an undisturbed training leaves."""
    return _prepared.hash_training(tmp_path_factory.mktemp("uninterrupted"), *SMOKE)


@pytest.fixture(scope="module")
def _killed(tmp_path_factory: pytest.TempPathFactory, _prepared: Project) -> Project:
    project = _prepared.copy_to(tmp_path_factory.mktemp("killed") / "a project")
    project.train_until_killed(KILLED_AT, *SMOKE)
    assert [path.name for path in project.checkpoints()] == [BEFORE, NEWEST]
    return project


@pytest.fixture
def killed(tmp_path: Path, _killed: Project) -> Project:
    """A project whose training was killed at step 200, with checkpoints of the steps 150 and 200."""
    return _killed.copy_to(tmp_path / "a project")


def _flip_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _keep_the_model_only(path: Path) -> None:
    arrays, values = checkpoint.load(path, "checkpoint")
    checkpoint.save(path, "checkpoint", {name: arrays[name] for name in ("W", "U")}, values)


@pytest.mark.parametrize("spoil", [_cut, _flip_the_middle, _empty])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning_and_the_end_is_the_same(
    killed: Project, uninterrupted: dict[str, str], spoil: Callable[[Path], None]
) -> None:
    spoil(killed.folder() / NEWEST)
    ended = killed.stage("train", *SMOKE)
    (warning,) = (line for line in ended.errors.splitlines() if line.startswith("charloom: warning:"))
    assert NEWEST in warning
    assert "going on from step 150 " in ended.errors
    assert killed.hashes() == uninterrupted


def test_a_history_with_fewer_rows_than_the_newest_checkpoint_counts_goes_on_from_the_one_before(
    killed: Project, uninterrupted: dict[str, str]
) -> None:
    journal = killed.folder() / "history.jsonl"
    journal.write_bytes(journal.read_bytes()[:-10])  # in the middle of the last row
    ended = killed.stage("train", *SMOKE)
    assert "charloom: warning:" in ended.errors
    assert "history.jsonl" in ended.errors
    assert "going on from step 150 " in ended.errors
    assert killed.hashes() == uninterrupted


def test_a_history_with_another_number_than_was_written_goes_on_from_the_checkpoint_before(
    killed: Project, uninterrupted: dict[str, str]
) -> None:
    journal = killed.folder() / "history.jsonl"
    rows = journal.read_bytes()
    at = rows.rindex(b'"smooth_loss": ') + 15
    journal.write_bytes(rows[:at] + bytes([rows[at] ^ 1]) + rows[at + 1 :])
    ended = killed.stage("train", *SMOKE)
    assert "history.jsonl are not those that its checkpoint counts" in ended.errors
    assert "going on from step 150 " in ended.errors
    assert killed.hashes() == uninterrupted


def _damage_both(folder: Path) -> None:
    _cut(folder / NEWEST)
    _flip_the_middle(folder / BEFORE)


def _empty_the_history(folder: Path) -> None:
    _empty(folder / "history.jsonl")


def _remove_the_history(folder: Path) -> None:
    (folder / "history.jsonl").unlink()


@pytest.mark.parametrize("spoil", [_damage_both, _empty_the_history, _remove_the_history])
def test_where_no_checkpoint_can_be_used_nothing_is_deleted(killed: Project, spoil: Callable[[Path], None]) -> None:
    spoil(killed.folder())
    before = killed.files()
    ended = killed.stage_here("train", "out=artifacts/train", *SMOKE)
    ended.assert_one_error(STATE, f".charloom/{killed.folder().name} can be used", "remove that folder")
    assert ended.errors.count("charloom: warning:") == 2
    assert killed.files() == before


def test_a_whole_checkpoint_of_another_network_is_refused_and_nothing_is_deleted(killed: Project) -> None:
    _keep_the_model_only(killed.folder() / NEWEST)
    before = killed.files()
    killed.stage_here("train", "out=artifacts/train", *SMOKE).assert_one_error(STATE, "in the checkpoint, got ")
    assert killed.files() == before


def test_a_work_folder_in_use_is_refused_and_left_alone(killed: Project, uninterrupted: dict[str, str]) -> None:
    before = killed.files()
    with FileLock(killed.folder().with_suffix(".lock")):
        ended = killed.try_stage("train", "out=artifacts/train", *SMOKE)
        ended.assert_one_error(ENVIRONMENT, "another process trains this configuration", ".lock")
        assert killed.files() == before
    killed.stage("train", *SMOKE)
    assert killed.hashes() == uninterrupted


@pytest.mark.parametrize("stage", ["prepare", "baseline", "gradcheck", "train", "synthesize", "evaluate"])
def test_a_file_in_the_place_of_the_output_folder_is_kept_and_named(trained: Project, stage: str) -> None:
    (trained.root / "blocked").write_text("mine", encoding="utf-8")
    before = trained.files()
    ended = trained.stage_here(stage, "preset=smoke", "gradcheck.hidden_size=2", "gradcheck.workers=1", "out=blocked")
    ended.assert_one_error(CONFIG, "out must be a folder, got 'blocked'")
    assert trained.files() == before


def test_a_file_in_the_place_of_the_work_folder_is_kept_and_named(prepared: Project) -> None:
    (prepared.root / ".charloom").write_text("mine", encoding="utf-8")
    ended = prepared.stage_here("train", "preset=smoke", "out=artifacts/train")
    ended.assert_one_error(ENVIRONMENT, "cannot work in", ".charloom")
    assert (prepared.root / ".charloom").read_text(encoding="utf-8") == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into a read-only folder")
@pytest.mark.parametrize("stage", ["prepare", "train", "synthesize", "evaluate"])
def test_a_read_only_folder_is_named(trained: Project, stage: str) -> None:
    folder = trained.root / "read-only"
    folder.mkdir(mode=0o555)
    ended = trained.try_stage(stage, "preset=smoke", "out=read-only/anew")
    ended.assert_one_error(ENVIRONMENT, "read-only", "Permission denied")


# The train stage with a learning rate that no configuration may have, the first argument.
_BOLD = """
    import sys
    from charloom.adapters import trainings
    from charloom.adapters.command import stage_main
    from charloom.stages import train

    rate = float(sys.argv.pop(1))
    trainings._learning_rate = lambda options, step, progress: rate
    stage_main(train.run)
"""


def test_a_loss_that_is_not_finite_ends_the_training_with_the_checkpoint_from_before_kept(prepared: Project) -> None:
    bold = (prepared.script("bold.py", _BOLD), "1e306", "optimizer=sgd", "optimizer.clip_norm=null", "preset=smoke")
    ended = prepared.python(*bold, "out=artifacts/train", "train.checkpoint_every=1")
    line = ended.assert_one_error(STATE, "the loss must be finite, got inf at step 3", "lower optimizer.learning_rate")
    assert line.endswith(f"the checkpoint {prepared.checkpoints()[-1]} is from before")
    arrays, values = checkpoint.load(prepared.checkpoints()[-1], "checkpoint")
    assert values["step"] == 1  # the loss of step 2 is finite, and far too high
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert not list((prepared.root / "artifacts/train").iterdir())

    ended = prepared.python(*bold, "out=artifacts/train", "train.checkpoint_every=2")
    line = ended.assert_one_error(STATE, "the loss must be finite, got inf at step 3")
    assert "checkpoint" not in line  # there is none


def test_parameters_that_are_not_finite_are_never_kept_as_a_checkpoint(prepared: Project) -> None:
    bold = ("1e308", "optimizer=sgd", "optimizer.clip_norm=null", "train.checkpoint_every=1")
    ended = prepared.python(prepared.script("bold.py", _BOLD), *bold, "preset=smoke")
    line = ended.assert_one_error(STATE, "all parameters must be finite, got one that is not at step 1")
    assert "checkpoint" not in line
    assert prepared.checkpoints() == []


def _little_memory() -> None:
    mebibytes_512 = 1 << 29
    resource.setrlimit(resource.RLIMIT_DATA, (mebibytes_512, mebibytes_512))


def test_a_window_that_memory_cannot_hold_names_its_length(project: Project) -> None:
    project.corpus.write_text("a tale " * 150_000, encoding="utf-8")
    project.stage("prepare", "data.validation_fraction=0")
    size = ("gradcheck.seq_length=1000000", "model.hidden_size=30000")
    ended = project.try_stage("gradcheck", *size, preexec_fn=_little_memory, variables={"OPENBLAS_NUM_THREADS": "1"})
    ended.assert_one_error(ENVIRONMENT, "lower gradcheck.hidden_size (30000), gradcheck.seq_length (1000000)")


def test_texts_that_memory_cannot_hold_are_refused_before_the_first_character(trained: Project) -> None:
    size = ("synthesize.streams=1000000", "synthesize.length=1000000")
    ended = trained.try_stage("synthesize", *size, preexec_fn=_little_memory, variables={"OPENBLAS_NUM_THREADS": "1"})
    ended.assert_one_error(ENVIRONMENT, "lower synthesize.streams (1000000) or synthesize.length (1000000)")


@pytest.mark.parametrize("stage", ["train", "gradcheck"])
def test_what_memory_cannot_hold_is_refused_before_any_is_taken(prepared: Project, stage: str) -> None:
    ended = prepared.try_stage(
        stage, "model.hidden_size=500000", preexec_fn=_little_memory, variables={"OPENBLAS_NUM_THREADS": "1"}
    )
    line = ended.assert_one_error(ENVIRONMENT, "hidden_size (500000)")
    figures = re.search(r"needs about ([\d.]+) GiB of memory and ([\d.]+) GiB are free", line)
    assert figures is not None
    needed, free = map(float, figures.groups())
    assert needed > 500_000**2 * 8 / 2**30 > free


def test_without_git_an_experiment_is_run_and_recorded(project: Project) -> None:
    nothing = project.root / "nothing"
    nothing.mkdir()
    small = ("model.hidden_size=4", "train.steps=50", "gradcheck.seq_length=2", "gradcheck.workers=1")
    ended = project.python(
        "-m",
        "charloom.experiment",
        "preset=smoke",
        "tracking=sqlite",
        *small,
        variables={"PATH": str(nothing), "GIT_PYTHON_REFRESH": "q"},
    )
    assert ended.code == 0, ended.errors
    assert "Traceback" not in ended.errors
    (folder,) = project.root.glob(f"outputs/*/*-{ended.pid}")
    sent = project.python("-m", "charloom.tracking", "sync", str(folder))  # what ten seconds were too short for
    assert sent.code == 0, sent.errors
    assert [run.info.status for run in project.runs()] == ["FINISHED"]


def _small_files_only() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def test_a_training_on_a_full_disk_ends_in_one_line_with_the_old_result_whole(trained: Project) -> None:
    before = trained.hashes()
    other = (*SMOKE, "train.steps=100", "out=artifacts/train")
    ended = trained.try_stage("train", *other, preexec_fn=_small_files_only)
    ended.assert_one_error(ENVIRONMENT, "File too large")
    assert trained.hashes() == before
    assert not list(trained.root.rglob("*.tmp"))
    assert trained.checkpoints() == []
    assert trained.try_stage("train", *other).code == 0  # once there is room


def test_what_prepare_leaves_on_a_full_disk_is_not_taken_for_a_corpus(project: Project) -> None:
    ended = project.try_stage("prepare", "out=artifacts/prepare", preexec_fn=_small_files_only)
    ended.assert_one_error(ENVIRONMENT, "File too large")
    project.try_stage("train", "preset=smoke").assert_one_error(DATA, "run the prepare stage")


def test_a_checkpoint_that_finds_no_room_leaves_the_ones_before_it(
    killed: Project, uninterrupted: dict[str, str]
) -> None:
    before = {path.name: path.read_bytes() for path in killed.checkpoints()}
    ended = killed.try_stage("train", "out=artifacts/train", *SMOKE, preexec_fn=_small_files_only)
    ended.assert_one_error(ENVIRONMENT, "File too large")
    assert {path.name: path.read_bytes() for path in killed.checkpoints()} == before
    killed.stage("train", *SMOKE)
    assert killed.hashes() == uninterrupted


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_behind_the_output_is_told_in_one_line(project: Project) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        process = project.start("-m", "charloom.stages.prepare", "out=artifacts/prepare", stdout=full)
        end(process).assert_one_error(ENVIRONMENT, "No space left on device")
