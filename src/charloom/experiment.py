"""All stages in one process, for a single run or a sweep.

    python -m charloom.experiment model.hidden_size=200
    python -m charloom.experiment -m optimizer.learning_rate=0.05,0.1 model.hidden_size=64,100

A run writes to a folder of Hydra's, under outputs/ or multirun/, and touches nothing of DVC's. Each job of a sweep is a
run in a process of its own. A sweep goes on after a job that fails, and ends with the list of those that did.
"""

import ast
import os
import sys
from functools import partial
from importlib.resources import files
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig

from charloom.adapters import tracking
from charloom.adapters.arguments import Parser
from charloom.adapters.command import environment_fault, exit_code
from charloom.adapters.configuration import Config, load, override, project_root, usage
from charloom.adapters.configuration.composition import (
    Composed,
    as_typed,
    as_yaml,
    from_composed,
    load_job,
    one_line_errors,
)
from charloom.adapters.configuration.multirun import asks_for_multirun
from charloom.adapters.files.artifacts import STAGES
from charloom.adapters.process import kernels
from charloom.adapters.sharing import run_once
from charloom.adapters.summary import summary
from charloom.core.common.errors import CharloomError


def main() -> None:
    """Run the experiment, or the sweep, that the command line describes."""
    parser = Parser("python -m charloom.experiment", "Run every stage in one process, or a sweep of such runs.", _more)
    parser.add_argument("-m", "--multirun", action="store_true", help="run every combination of values with commas")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="such as preset=smoke model.hidden_size=64")
    parser.add_argument("--cfg", choices=["job", "hydra", "all"], help="print the configuration, and run nothing")
    given = parser.parse_intermixed_args()  # -m may stand anywhere
    multirun = given.multirun or asks_for_multirun(given.overrides)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of exiting
    failures: list[CharloomError] = []  # raised through Hydra, one would be more than a line

    @hydra.main(config_path=str(project_root() / "conf"), config_name="config", version_base="1.3")
    def run(composed: Composed) -> None:
        _single(composed, failures)

    with one_line_errors():
        if given.cfg:
            print(as_yaml(given.overrides, given.cfg, multirun=multirun))
            return
        if tracking.SWEEP in os.environ and not multirun:
            config = load_job(given.overrides)
            kernels.require(config.kernels)
            run_stages(config)
            return
        config = load(given.overrides, multirun=multirun)  # before Hydra reads or writes anything
        kernels.require(config.kernels)
        overrides = as_typed(given.overrides, multirun=multirun)
        if multirun:
            from charloom.adapters import sweeps  # here, for its jobs to do without

            sweeps.register()
            with sweeps.sweep(config, given.overrides) as folder:
                # All that Hydra gets to see; the jobs need not know how their sweep was taken up.
                sys.argv[1:] = ["-m", override("hydra.sweep.dir", str(folder)), *sweeps.own(overrides)]
                run()
        else:
            sys.argv[1:] = overrides
            run()
    if failures:
        raise failures[0]


def _single(composed: Composed, failures: list[CharloomError]) -> None:
    """One run, in Hydra's folder for it; a failure is added to `failures`."""
    folder = HydraConfig.get().runtime.output_dir
    try:
        run_stages(from_composed(composed, default_out=folder))
    except (CharloomError, OSError, MemoryError) as error:
        failures.append(error if isinstance(error, CharloomError) else environment_fault(error))


def _more() -> str:
    """The end of the help: the stages, by what their modules say of them, and what arguments there are."""
    modules = (files("charloom.stages") / f"{name}.py" for name in STAGES)
    docs = (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "" for module in modules)
    return usage.experiment(dict(doc.split(": ", 1) for doc in docs))


def run_stages(config: Config) -> None:
    """Run every stage in the folder `config.out`."""
    # Here, for help, completion and a sweep to do without: to import matplotlib takes a second.
    from charloom.stages import baseline, evaluate, gradcheck, prepare, synthesize, track, train

    folder, in_sweep = Path(config.out), bool(os.environ.get(tracking.SWEEP))
    with tracking.live_run(config) as journal:
        for stage in (prepare, baseline, gradcheck):
            name = stage.__name__.rpartition(".")[2]
            run_once(name, config, partial(stage.run, config, folder, folder / name))
        training = partial(train.run, config, folder, folder / "train", journal, waits=in_sweep)
        run_once("train", config, training)
        synthesize.run(config, folder, folder / "synthesize")
        evaluate.run(config, folder, folder / "evaluate")
        if not in_sweep or config.sweep.plot == "all":
            from charloom.stages import plot

            plot.run(config, folder, folder / "plot")
        track.run(config, folder, folder / "track", journal)
    print(summary(folder))


if __name__ == "__main__":
    sys.exit(exit_code(main))
