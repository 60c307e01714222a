"""The fingerprint of a result, without MLflow."""

from pathlib import Path

import pytest

from charloom.adapters import tracking
from charloom.adapters.configuration import TrackingConfig
from charloom.adapters.files import artifacts
from charloom.core.common.errors import StateError
from tests.project import Project
from tests.results import make_config, named_artifacts, seal, set_parameters


def test_another_file_or_another_parameter_is_another_result(result: Path) -> None:
    first = tracking.hash_result(result)
    assert tracking.hash_result(result) == first
    set_parameters(make_config(learning_rate=0.2), result)
    other = tracking.hash_result(result)
    assert other.result != first.result
    differing = {name for name in first.files if first.files[name] != other.files[name]}
    assert differing == {f"{stage}/parameters.json" for stage in ("train", "synthesize", "evaluate")}
    (result / "synthesize/sample.txt").write_text("other")
    seal(result)
    assert tracking.hash_result(result).result != other.result


def test_a_result_is_every_file_that_the_stages_leave(result: Path) -> None:
    every = {artifact.name for artifact in named_artifacts()} - {artifacts.RESULT.name, artifacts.BEST_MODEL.name}
    assert tracking.hash_result(result).files.keys() == every


def test_a_file_that_is_not_as_its_stage_wrote_it_is_no_result(result: Path) -> None:
    (result / "synthesize/sample.txt").write_text("other")
    with pytest.raises(StateError, match=r"artifacts: synthesize/sample\.txt is not as the stage wrote it; run that"):
        tracking.hash_result(result)


def test_where_the_result_goes_does_not_shape_it(result: Path) -> None:
    here = tracking.hash_result(result)
    server = TrackingConfig(mode="server", uri="http://127.0.0.1:1", experiment="other")
    set_parameters(make_config(server), result)
    assert tracking.hash_result(result) == here


def test_a_missing_file_names_its_stage(result: Path) -> None:
    (result / "synthesize/sample.txt").unlink()
    with pytest.raises(StateError, match=r"sample\.txt is missing; run the synthesize stage first"):
        tracking.hash_result(result)


def test_a_link_to_a_file_outside_of_the_result_is_refused(result: Path, tmp_path: Path) -> None:
    secret = tmp_path / "id_ed25519"
    secret.write_text("a key that no server may see")
    (result / "plot/report.html").unlink()
    (result / "plot/report.html").symlink_to(secret)
    with pytest.raises(
        StateError, match=r"report\.html must be a file in .*, got a link to .*id_ed25519; remove the link"
    ):
        tracking.hash_result(result)


def test_a_link_into_the_cache_of_dvc_is_the_file_that_it_stands_for(workspace: Path, result: Path) -> None:
    report, cached = result / "plot/report.html", workspace / ".dvc/cache/files/md5/ab/cdef"
    before = tracking.hash_result(result)
    cached.parent.mkdir(parents=True)
    report.rename(cached)
    report.symlink_to(cached)
    assert tracking.hash_result(result) == before


@pytest.mark.usefixtures("result")
def test_a_stage_that_records_nothing_loads_neither_mlflow_nor_what_shows_runs(workspace: Path) -> None:
    script = """if True:
        import sys
        from pathlib import Path
        from charloom.adapters.configuration import load
        from charloom.stages import track

        track.run(load(["tracking=off"]), Path("artifacts"), Path("track"))
        adapters = {"charloom.adapters.tracking", "charloom.adapters.sweeps", "charloom.adapters.ui"}
        print(*{"mlflow", *adapters} & sys.modules.keys())
    """
    ended = Project(workspace).python("-c", script)
    assert ended.code == 0, ended.errors
    assert ended.output.splitlines()[-1] == "charloom.adapters.tracking"
