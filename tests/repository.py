"""A copy of the project in a git repository of its own, with small values and with the real DVC.

Knows nothing about pytest.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from tests.project import ROOT, Project, clean_environment

SMALL = {"path": "data/small.txt", "hidden_size": "8", "steps": "200"}


@dataclass(frozen=True)
class Repository(Project):
    """A copy of the project in a git repository of its own."""

    home: Path

    @classmethod
    def small(cls, folder: Path) -> Self:
        """What a clone would hold if everything were committed, with small values, in a folder; nothing is committed.

        HOME is the folder beside it.
        """
        project = cls(folder / "a project", folder / "home")
        project.home.mkdir()
        config = "[user]\nname = A Tester\nemail = tester@example.org\n"
        (project.home / ".gitconfig").write_text(config, encoding="utf-8")
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
            if name and (ROOT / name).is_file():
                (project.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, project.root / name)
        (project.root / "data/small.txt").write_text(project.text("data/corpus.txt")[:20_000], encoding="utf-8")
        project.set(**SMALL)
        project.change("params.yaml", "workers: 2 # processes", "workers: 1 # processes")  # of the gradient check
        project.run("git", "init", "--quiet")
        return project

    @property
    def environment(self) -> dict[str, str]:
        return clean_environment(
            PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            HOME=str(self.home),
            DVC_SITE_CACHE_DIR=str(self.home / "site-cache"),
            GIT_CONFIG_GLOBAL=str(self.home / ".gitconfig"),
            GIT_CONFIG_NOSYSTEM="1",
        )

    def run(self, *command: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == code, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done

    def dvc(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "dvc", *arguments, code=code)

    def repro(self, *arguments: str, code: int = 0) -> list[str]:
        """The names of the stages that `dvc repro` ran."""
        ended = self.dvc("repro", *arguments, code=code)
        assert "MLflow lacks" not in ended.stderr
        return stages_run(ended.stdout)

    def commit(self) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", "as it stands")

    def text(self, name: str) -> str:
        return (self.root / name).read_text(encoding="utf-8")

    def json(self, name: str) -> Any:
        return json.loads(self.text(name))

    def change(self, name: str, old: str, new: str) -> None:
        text = self.text(name)
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {name}"
        (self.root / name).write_text(text.replace(old, new), encoding="utf-8")

    def set(self, **values: str) -> None:
        """Give keys of params.yaml, each named by its last part and there the first of that name, other values."""
        text = self.text("params.yaml")
        for key, value in values.items():
            text, found = re.subn(rf"(?m)^( *{key}: )\S+", rf"\g<1>{value}", text, count=1)
            assert found, key
        (self.root / "params.yaml").write_text(text, encoding="utf-8")

    def locked(self, stage: str) -> Any:
        """The stage's entry in dvc.lock."""
        return yaml.safe_load(self.text("dvc.lock"))["stages"][stage]


def stages_run(output: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", output)
