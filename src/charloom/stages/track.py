"""track: the whole result becomes one MLflow run, or is found to be one already."""

from pathlib import Path

from charloom.adapters.command import stage_main
from charloom.adapters.configuration import Config
from charloom.adapters.files import artifacts
from charloom.adapters.tracking import hash_result, record, register


def run(config: Config, inp: Path, out: Path, parent: str | None = None) -> None:
    """Write the fingerprint of the result in `inp` to `out`, and make or find its run in MLflow, under `parent`.

    Of the configuration, only `tracking` and `model.register` are read. The fingerprint is written first; where MLflow
    cannot be written to, EnvironmentFault is raised, and the stage can be run again by itself.
    """
    result = hash_result(inp)
    artifacts.RESULT.write(out, result)
    artifacts.seal("track", out)

    recorded = record(config.tracking, inp, result, parent=parent)
    if recorded is None:
        print("tracking is off: the result is not recorded")
    else:
        verb = "recorded" if recorded.new else "already recorded"
        print(f"{verb} as {recorded.name!r}, run {recorded.run_id} at {recorded.uri}")
        if name := config.model.register_as:
            print(register(config.tracking, recorded.run_id, inp, result, name))


if __name__ == "__main__":
    stage_main(run)
