"""track: the whole result becomes one MLflow run, or is found to be one already."""

from pathlib import Path

from charloom.adapters.command import stage_main
from charloom.adapters.configuration import Config
from charloom.adapters.files import artifacts
from charloom.adapters.tracking import Journal, hash_result, live_result, record, register


def run(config: Config, inp: Path, out: Path, journal: Journal | None = None) -> None:
    """Write the fingerprint of the result in `inp` to `out`, and complete, make or find its run in MLflow.

    Of the configuration, only `tracking` and `model.register` are read. The fingerprint is written first; where MLflow
    cannot be written to, EnvironmentFault is raised, and the stage can be run again by itself. Where all stages are one
    run, `journal` is the run's, and sent by another process.
    """
    result = hash_result(inp)
    artifacts.RESULT.write(out, result)
    artifacts.seal("track", out)

    if config.tracking.mode == "off":
        print("tracking is off: the result is not recorded")
    elif journal := journal or live_result(inp):
        journal.result(inp, result.result, artifacts.HISTORY.read(inp), register=config.model.register_as)
    else:
        recorded = record(config.tracking, inp, result)
        print(recorded)
        if name := config.model.register_as:
            print(register(config.tracking, recorded.run_id, inp, result, name))


if __name__ == "__main__":
    stage_main(run)
