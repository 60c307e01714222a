"""The documentation: short enough, without dead links, and with commands that exist."""

import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from charloom.adapters.configuration.launchers import LAUNCHERS
from charloom.adapters.configuration.search import Optuna

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md"]
PAGES += [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


def prose(page: Path) -> str:
    """The text of a page without its fenced blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def dead_links(page: Path) -> list[str]:
    """The targets of a page's links that are no files, or no headings of the page that they name."""
    dead = []
    for path, heading in LINK.findall(prose(page)):
        target = page.parent / path if path else page
        if not target.exists() or (heading and heading not in headings(target)):
            dead.append(f"{path}#{heading}" if heading else path)
    return dead


def headings(page: Path) -> list[str]:
    """The anchors that a page's headings have."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]


def commands(page: Path) -> list[list[str]]:
    """The words of each `python` or `dvc` command in a page, whether in a block of its own or in a sentence."""
    text = prose(page)
    found = [
        *re.findall(r"^    ((?:python|dvc) .*)$", text, re.MULTILINE),
        *re.findall(r"`((?:python|dvc) [^`]*)`", text),
    ]
    return [shlex.split(command, comments=True) for command in found]


def known_keys() -> set[str]:
    """Every key that a command may set: of params.yaml, conf/config.yaml, tracking, the groups, and the folders."""
    conf = ROOT / "conf"
    groups = {folder.name for folder in conf.iterdir() if folder.is_dir()}
    params: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    tracking: dict[str, Any] = yaml.safe_load((conf / "tracking" / "server.yaml").read_text(encoding="utf-8"))
    sweep: dict[str, Any] = yaml.safe_load((conf / "config.yaml").read_text(encoding="utf-8"))["sweep"]
    keys = leaves(params) | leaves({"sweep": sweep}) | leaves({"tracking": tracking}) | {"model.register"}
    sweepers = {f"hydra.sweeper.{option.name}" for option in fields(Optuna)}
    launchers = {f"hydra.launcher.{option.name}" for launcher in LAUNCHERS.values() for option in fields(launcher)}
    hydras = {"hydra/launcher", "hydra/sweeper", "hydra.sweep.dir"}
    return keys | groups | sweepers | launchers | hydras | {"inp", "out"}


def leaves(values: dict[str, Any], prefix: str = "") -> set[str]:
    """The dotted keys of nested values."""
    keys = set()
    for key, value in values.items():
        keys |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key}
    return keys


def test_the_readme_has_at_most_130_lines() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(page: str) -> None:
    assert dead_links(ROOT / page) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One heading\n[a](page.md#one-heading) [b](gone.md) [c](#other) [d](https://example.org/x)\n")
    assert dead_links(page) == ["gone.md", "#other"]


@pytest.mark.parametrize("page", PAGES)
def test_every_python_command_starts_a_program_that_exists(page: str) -> None:
    missing = []
    for _, *words in commands(ROOT / page):
        name = words[words[0] == "-m"]
        if name.startswith("benchmarks/") and not (ROOT / name).is_file():
            missing.append(name)
        if re.fullmatch(r"charloom\.[a-z_.]+", name) and not (ROOT / "src" / f"{name.replace('.', '/')}.py").is_file():
            missing.append(name)
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_override_in_a_command_sets_a_key_that_exists(page: str) -> None:
    overrides = [
        word for command in commands(ROOT / page) for word in command if "=" in word and not word.startswith("-")
    ]
    assert {override.partition("=")[0] for override in overrides} - known_keys() - {"key"} == set()


def test_the_pages_have_commands_and_overrides_to_check() -> None:
    words = [word for page in PAGES for command in commands(ROOT / page) for word in command]
    assert sum(word.startswith("charloom.") for word in words) >= 10
    assert sum("=" in word for word in words) >= 10
