"""Files of configuration that try to run code, in every dress that YAML has for a key."""

import os
import random
import shutil
from pathlib import Path

from charloom.adapters.configuration import load
from charloom.core.common.errors import ConfigError
from tests.project import copy_configuration
from tests.torture.promise import Promise

_TARGET = "{_target_: builtins.open, file: ran, mode: w}"
_CALLBACKS = "{callbacks: {x: TARGET}}"


def _dress(word: str, rng: random.Random) -> str:
    """A key as YAML may spell it: plain, quoted, with escapes, or with a tag."""
    escaped = "".join(f"\\x{ord(letter):02x}" if rng.random() < 0.5 else letter for letter in word)
    return rng.choice([word, f"'{word}'", f'"{escaped}"', f"!!str {word}", f"&k {word}"])


def _attack(rng: random.Random) -> str:
    target = _TARGET.replace("_target_", _dress("_target_", rng))
    callbacks = _CALLBACKS.replace("TARGET", target)
    hydra, stash = _dress("hydra", rng), rng.choice(["data", "stash", "x"])
    return rng.choice(
        [
            f"{hydra}: {callbacks}",
            f"? {hydra}\n: {callbacks}",
            f"{stash}: &a {{{hydra}: {callbacks}}}\n<<: *a",
            f"{stash}: [{{{hydra}: {callbacks}}}]",
            f"{_dress('defaults', rng)}: [/preset@hydra.callbacks: smoke]",
            f"{stash}: {target}",
            f"{stash}: ${{oc.env:HOME}}",
            f"{stash}: &b '${{{rng.choice(['now:%Y', 'seed', 'hydra:runtime.cwd', 'oc.decode:x'])}}}'",
        ]
    )


def no_code_from_configuration(seed: int, folder: Path) -> None:
    """A random attack in params.yaml or in a group's file is refused before Hydra reads it."""
    rng = random.Random(seed)
    copy_configuration(folder / "project")
    name = rng.choice(["params.yaml", "conf/preset/smoke.yaml", "conf/model/gru.yaml", "conf/tracking/sqlite.yaml"])
    path = folder / "project" / name
    text, attack = path.read_text(encoding="utf-8"), f"{_attack(rng)}\n"
    if rng.random() < 0.2 and name != "params.yaml":
        attack = f"# @package {rng.choice(['hydra', 'hydra.callbacks', '_global_.hydra'])}\nx: {_TARGET}\n"
        text = ""
    path.write_text(rng.choice([text + attack, attack + text]), encoding="utf-8")
    before, refused = Path.cwd(), ""
    os.chdir(folder / "project")
    try:
        load(["preset=smoke"])
    except ConfigError as error:
        refused = str(error)
    finally:
        os.chdir(before)
    assert name in refused, f"{name} with {attack!r}: {refused or 'taken'}"
    assert "\n" not in refused
    assert not (folder / "project/ran").exists()
    shutil.rmtree(folder / "project")


PROMISES = (Promise("no file of configuration runs code", no_code_from_configuration, tries=5_000, short=20),)
