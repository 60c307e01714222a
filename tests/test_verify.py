"""`python -m charloom.verify`: a result that is as it was written, and every way in which one is not."""

import json
import shutil
from pathlib import Path

import pytest

from charloom.adapters import tracking
from charloom.adapters.files import artifacts
from charloom.adapters.tracking import verify
from charloom.core.common.errors import StateError
from tests.project import Project
from tests.results import seal

STATE, USAGE = 4, 2


@pytest.fixture
def whole(result: Path) -> Path:
    """A result with its fingerprint, under artifacts/ of the working directory."""
    artifacts.RESULT.write(result / "track", tracking.hash_result(result))
    return seal(result)


def difference(inp: Path) -> str:
    with pytest.raises(StateError) as raised:
        verify(inp)
    message = str(raised.value)
    assert "\n" not in message
    return message.removeprefix(f"{inp}: ")


def test_a_whole_result_is_verified_with_its_fingerprint(whole: Path) -> None:
    result = json.loads((whole / "track/result.json").read_bytes())
    stages = "prepare, baseline, gradcheck, train, synthesize, evaluate, plot, track"
    line = verify(whole)
    assert f"{len(result['files']) + 1} files of {stages} are as they were written" in line
    assert line.endswith(f"; the result's fingerprint is {result['result']}")


def test_without_the_track_stage_the_stages_are_verified_each_by_itself(whole: Path) -> None:
    shutil.rmtree(whole / "track")
    shutil.rmtree(whole / "plot")
    assert verify(whole).endswith(
        "files of prepare, baseline, gradcheck, train, synthesize, evaluate are as they were written; there is no "
        "track/result.json, so they may be of different results"
    )


def test_every_file_is_verified(whole: Path) -> None:
    for path in sorted(whole.glob("*/*")):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert path.relative_to(whole).as_posix() in difference(whole)
        path.write_bytes(content)
    verify(whole)


def test_what_differs_is_named(whole: Path) -> None:
    (whole / "train/model.npz").unlink()
    (whole / "plot/old.png").write_bytes(b"")
    (whole / "plot/.gitignore").write_bytes(b"")
    (whole / "synthesize/sample.txt").write_bytes(b"")
    (whole / "gradcheck/SHA256SUMS").unlink()
    assert difference(whole) == (
        "gradcheck/SHA256SUMS is missing; train/model.npz is missing; "
        "synthesize/sample.txt is not as the stage wrote it; "
        "gradcheck/errors.csv is not of the result; gradcheck/errors.json is not of the result; and 3 more"
    )


def test_files_of_another_result_are_found_where_each_stage_is_whole(whole: Path) -> None:
    (whole / "synthesize/sample.txt").write_text("of another run")
    seal(whole)
    assert difference(whole) == "synthesize/sample.txt is not that of the result"


def test_a_stage_that_is_missing_is_found(whole: Path) -> None:
    shutil.rmtree(whole / "prepare")
    assert difference(whole) == (
        "prepare/ids.npy is missing; prepare/parameters.json is missing; prepare/summary.json is missing; "
        "prepare/vocabulary.json is missing"
    )


def test_a_fingerprint_of_something_else_is_found(whole: Path) -> None:
    values = json.loads((whole / "track/result.json").read_bytes())
    (whole / "track/result.json").write_text(json.dumps({**values, "result": "0" * 64}))
    seal(whole)
    assert difference(whole) == "track/result.json has a fingerprint of other files"


def test_a_folder_without_a_result_is_refused(workspace: Path) -> None:
    message = difference(workspace)
    assert message.startswith(
        f"{workspace} has none of the folders prepare, baseline, gradcheck, train, synthesize, evaluate, plot, track;"
    )


def test_the_command_ends_with_0_4_or_2(whole: Path) -> None:
    project = Project(whole.parent)
    ended = project.python("-m", "charloom.verify", "artifacts")
    assert (ended.code, ended.errors) == (0, "")
    assert ended.output == verify(Path("artifacts")) + "\n"
    (whole / "plot/report.html").write_bytes(b"")
    project.python("-m", "charloom.verify", "artifacts").assert_one_error(STATE, "plot/report.html is not as the stage")
    for arguments in ([], ["a", "b"], ["--all"]):
        project.python("-m", "charloom.verify", *arguments).assert_one_error(
            USAGE, "verify takes one folder of a result"
        )
