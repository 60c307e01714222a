"""The parameters of a job as a preset of the project, to be used by its name."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from charloom.adapters.configuration import flatten, load, project_root
from charloom.adapters.configuration.saved import preset_text
from charloom.adapters.files.formats import replacing
from charloom.adapters.sweeps.jobs import SEED
from charloom.adapters.sweeps.summary import Summary, counted
from charloom.core.common.errors import CharloomError, ConfigError

_NAME = re.compile(r"[A-Za-z0-9][\w-]{0,63}", re.ASCII)


def write_best_preset(name: str, summary: Summary, sweep: Path, *, force: bool) -> Path:
    """Write the best configuration as a preset, and return its path; the seed is in it where it had a single one.

    Raises ConfigError where there is none, and as `write_preset` does.
    """
    if summary.best is None:
        raise ConfigError(f"a preset takes a job that has finished, got none in {sweep}")
    job = next(job for job in summary.best.jobs if job.figures)
    seed = {} if summary.best.seeds > 1 else {SEED: job.parameters[SEED]}
    comment = f"The best of {counted(summary)}, in {sweep}: {summary.mean(summary.best)} {summary.objective.name}."
    return write_preset(name, {**summary.best.parameters, **seed}, comment, force=force)


def write_preset(name: str, parameters: Mapping[str, Any], comment: str, *, force: bool) -> Path:
    """Write conf/preset/<name>.yaml, with those of the parameters that differ from params.yaml, and return its path.

    Then it is composed, and taken back where it does not give these parameters. Raises ConfigError for what is no name,
    for a preset that is there, unless `force`, and for values that a preset cannot give.
    """
    if not _NAME.fullmatch(name):
        must = "a preset's name must have letters, digits, - and _, at most 64 of them, the first a letter or a digit"
        raise ConfigError(f"{must}, got {name!r}")
    path = project_root() / "conf/preset" / f"{name}.yaml"
    before = path.read_bytes() if path.exists() else None
    if before is not None and not force:
        raise ConfigError(f"{path} is there; give the preset another name, or --force to replace it")
    _replace(path, preset_text(_differing(parameters), comment).encode())
    try:
        if left := _differing(parameters, f"preset={name}"):
            raise ConfigError(f"a preset cannot give {', '.join(left)} the values that the sweep had")
    except CharloomError:
        path.unlink() if before is None else _replace(path, before)
        raise
    return path


def _differing(parameters: Mapping[str, Any], *overrides: str) -> dict[str, Any]:
    """Those of the parameters that these overrides do not give."""
    composed, missing = flatten(load(overrides).parameters()), object()
    return {key: value for key, value in parameters.items() if composed.get(key, missing) != value}


def _replace(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)
