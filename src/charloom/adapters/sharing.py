"""Stages that jobs of a sweep have in common run once.

Jobs on the same text prepare it and its baselines once, those with the same network check its gradient once, and those
with the same training train once: the first one that comes to it runs the stage, and the others take its files.
"""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from charloom.adapters.configuration import Config
from charloom.adapters.files.formats import CHECKSUMS, hash_file, to_json
from charloom.adapters.files.shared import make_once
from charloom.adapters.tracking import SWEEP

_SHARED = "shared"  # the folder in the sweep's
_READ = ("prepare",)  # the one stage whose files the later of the shared ones read


def run_once(stage: str, config: Config, run: Callable[[], object]) -> None:
    """Run a stage that writes its folder in `config.out`, or take what another job of the sweep has made there."""
    sweep, out = os.environ.get(SWEEP), Path(config.out)
    key = _key(stage, config, out) if sweep else None
    if sweep is None or key is None:
        run()
    elif not make_once(stage, out / stage, Path(sweep) / _SHARED / f"{stage}-{key}", run):
        print(f"{stage}: as another job of this sweep found it")


def _key(stage: str, config: Config, out: Path) -> str | None:
    """A hash of all that shapes what the stage writes; None where a file is missing, which the stage will say."""
    inputs = [Path(config.data.path)] if stage == "prepare" else [out / name / CHECKSUMS for name in _READ]
    if stage == "train" and config.train.init_from:
        inputs.append(Path(config.train.init_from))
    with suppress(OSError, ValueError):
        shaping = {"parameters": config.stage_parameters(stage), "inputs": [hash_file(path) for path in inputs]}
        return hashlib.sha256(to_json(shaping, sort_keys=True).encode()).hexdigest()[:16]
    return None
