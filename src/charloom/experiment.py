"""All stages in one process, for a single run or a sweep.

    python -m charloom.experiment model.hidden_size=200
    python -m charloom.experiment -m optimizer.learning_rate=0.05,0.1 model.hidden_size=64,100

A run writes to a folder of Hydra's, under outputs/ or multirun/, and touches nothing of DVC's. A job of a sweep that
fails is noted, and the sweep goes on; it then ends with the list of what failed.
"""

import json
import math
import multiprocessing
import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from charloom.adapters import sweeps as sweep
from charloom.adapters.command import end_with_parent, environment_fault, exit_code
from charloom.adapters.configuration.config import (
    Composed,
    Config,
    check,
    from_composed,
    one_line_errors,
    project_root,
    register,
)
from charloom.core.common.errors import CharloomError
from charloom.stages import gradcheck, plot, prepare, synthesize, track, train

_failures: list[CharloomError] = []  # of the single run: raised through Hydra it would be more than one line


def main() -> None:
    """Run what the command line says, and exit."""
    sys.exit(exit_code(_main))


def _main() -> None:
    arguments = sys.argv[1:]
    register()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of exiting
    run = hydra.main(config_path=str(project_root() / "conf"), config_name="config", version_base="1.3")(_job)
    with one_line_errors():
        if {"-m", "--multirun"} & set(arguments):
            with sweep.sweep([argument for argument in arguments if not argument.startswith("-")]) as folder:
                sys.argv.append(f"hydra.sweep.dir='{folder}'")
                run()
        else:
            run()
    if _failures:
        raise _failures[0]


def _job(composed: Composed) -> float:
    """One run; its validation loss, or smooth loss where nothing is validated, for sweepers that look for the least."""
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    if multiprocessing.current_process().name != "MainProcess":  # a launcher's worker
        end_with_parent()
        # joblib's start method is unknown to the processes that the gradient check starts, and would end them.
        multiprocessing.set_start_method("spawn", force=True)
    config = None
    try:
        config = from_composed(composed, default_out=str(folder))
        check(config)
        return run_stages(config)
    except (CharloomError, OSError, MemoryError) as error:
        failure = error if isinstance(error, CharloomError) else environment_fault(error)
        if hydra_config.mode == RunMode.MULTIRUN:
            sweep.note_failure(folder, config, failure)
        else:
            _failures.append(failure)
        return math.inf


def run_stages(config: Config) -> float:
    """Every stage in the folder `config.out`; the validation loss, or the smooth loss, in nats per character."""
    assert config.out is not None
    folder = Path(config.out)
    for stage in (prepare, gradcheck, train, synthesize, plot):
        stage.run(config, folder, folder / stage.__name__.rpartition(".")[2])
    track.run(config, folder, folder / "track", sweep.parent_run())
    metrics = json.loads((folder / "train" / "metrics.json").read_text(encoding="utf-8"))
    return float(metrics["validation_nats_per_char"] or metrics["nats_per_char"])


if __name__ == "__main__":
    main()
