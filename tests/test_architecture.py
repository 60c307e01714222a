"""The shape of the code: which module may import which, how long a file and a function may be, and the words used."""

import ast
import importlib
import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from types import FunctionType, ModuleType

import grimp
import pytest

import charloom

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
LONGEST_FILE = 350  # lines; the functions' bound is below
LONGEST_FUNCTION = 60

TEXTS = (
    *("src", "tests", "docs", "conf", "benchmarks", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *("Makefile", "params.yaml", "dvc.yaml", "pyproject.toml"),
)
TEXT_SUFFIXES = {".py", ".md", ".yaml", ".toml", ".html", ".j2", ".jinja", ".css", ".js", ".mplstyle", ".txt"}
RETIRED = {  # what to write instead, and what not; a space stands for a line break too
    "predict": r"foret(?:ell|old)\w*",
    "worker pool": r"crews?",
    "forward pass, backward pass": r"ways? (?:back|there|up)",
    "input projection": r"drives?(?! chromium)",
    "BLAS": r"matrix librar(?:y|ies)",
    "verify, check, test, demonstrate": r"prov(?:e|es|ed|en|ing)|proofs?",
    "baseline, compared with": r"rival(?:s|led|ry)?",
    "lowest loss": r"(?<!at\s)least (?:\w+ )?loss(?:es)?",
    "prompt": r"prime texts?",
    "charloom, this version": r"this charloom",
    "adapter, library": r"doors?|arrows?(?! keys?)|edges?(?! cases?)|worlds?",
    "layer_params, bytes_per_worker": r"\bof_\w+",
    "unavailable": r"(?:cannot|could not) be had",
    "no output": r"says nothing",
    "hint": r"comforts?",
    "percent": r"per cents?",
    "worker": r"helpers?",
    "shard": r"(?:workers?'?s?|its|own|each|a) shares?",
}


def graph(*, external: bool = False) -> grimp.ImportGraph:
    return grimp.build_graph(
        "charloom", include_external_packages=external, exclude_type_checking_imports=True, cache_dir=None
    )


def libraries(imports: grimp.ImportGraph, importers: Iterable[str]) -> set[str]:
    """The packages outside of the standard library that these modules import."""
    imported = {name for module in importers for name in imports.find_modules_directly_imported_by(module)}
    return {name for name in imported if name.partition(".")[0] not in {"charloom", *sys.stdlib_module_names}}


def test_the_core_imports_numpy_and_the_standard_library_alone() -> None:
    imports = graph(external=True)
    assert libraries(imports, imports.find_descendants("charloom.core")) == {"numpy"}


def test_the_textbook_imports_numpy_and_the_standard_library_alone() -> None:
    imports = graph(external=True)
    imported = imports.find_modules_directly_imported_by("charloom.textbook")
    assert imported - sys.stdlib_module_names == {"numpy"}


def test_every_library_but_numpy_is_in_the_contract_of_adapters() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (listed,) = (set(contract["forbidden_modules"]) for contract in contracts if contract["type"] == "forbidden")
    imports = graph(external=True)
    assert libraries(imports, imports.find_descendants("charloom")) == listed | {"numpy"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the package, with its contracts beside it, in which a test can plant an import."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return Path(shutil.copytree(ROOT / "src/charloom", tmp_path / "src/charloom"))


def lint(source: Path) -> str:
    """What import-linter reports, without its line breaks; empty where every contract is kept."""
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", command, "--no-cache"],
        cwd=source.parents[1],
        env={"PYTHONPATH": "src"},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert not done.stderr, done.stderr
    return " ".join(done.stdout.split()) if done.returncode else ""


def test_every_contract_is_kept(source: Path) -> None:
    assert lint(source) == ""


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("core/cells/rnn.py", "import charloom.adapters.files", "Dependencies point one way"),
        ("core/common/types.py", "import charloom.stages.train", "Dependencies point one way"),
        ("adapters/files/formats.py", "import charloom.stages.train", "Dependencies point one way"),
        ("adapters/plots/__init__.py", "import charloom.experiment", "Dependencies point one way"),
        ("core/training/training.py", "import charloom.textbook", "Dependencies point one way"),
        ("newcomer.py", "", "Dependencies point one way"),
        ("stages/plot.py", "import charloom.stages.train", "Stages meet in their files alone"),
        ("stages/newcomer.py", "", "Stages meet in their files alone"),
        ("adapters/files/formats.py", "import charloom.adapters.command", "Adapters build on"),
        ("adapters/files/formats.py", "import charloom.adapters.configuration", "Adapters build on"),
        ("adapters/command.py", "import charloom.adapters.tracking", "Adapters build on"),
        ("adapters/plots/__init__.py", "import charloom.adapters.report", "Adapters build on"),
        ("adapters/newcomer.py", "", "Adapters build on"),
        ("core/cells/rnn.py", "import charloom.core.text", "In the core"),
        ("core/cells/rnn.py", "import charloom.core.network", "In the core"),
        ("core/training/training.py", "import charloom.core.gradcheck", "In the core"),
        ("core/gradcheck/check.py", "import charloom.core.training", "In the core"),
        ("core/newcomer.py", "", "In the core"),
        ("core/cells/cell.py", "import charloom.core.cells.gru", "No cycles"),
        ("adapters/files/formats.py", "import charloom.adapters.files.archive", "No cycles"),
        ("stages/train.py", "import psutil", "A library is imported by its own adapter alone"),
        ("stages/train.py", "from threadpoolctl import threadpool_limits", "A library is imported by its own"),
        ("stages/track.py", "def run():\n    from mlflow import MlflowClient", "A library is imported by its own"),
        ("adapters/report/__init__.py", "import yaml", "A library is imported by its own adapter alone"),
        ("core/network/network.py", "import filelock", "A library is imported by its own adapter alone"),
    ],
)
def test_an_import_in_the_wrong_direction_breaks_its_contract(
    source: Path, module: str, line: str, contract: str
) -> None:
    with (source / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    assert re.search(rf"\b{contract}[^│]*? BROKEN", lint(source))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_source_file_is_longer_than_350_lines() -> None:
    too_long = {relative(path): lines(path) for path in SOURCES if lines(path) > LONGEST_FILE}
    assert not too_long, too_long


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            yield f"{relative(path)}:{node.name}", node.end_lineno - first + 1


def test_no_function_is_longer_than_60_lines() -> None:
    found = dict(function for path in SOURCES for function in functions(path))
    assert len(found) > 100
    too_long = {name: length for name, length in found.items() if length > LONGEST_FUNCTION}
    assert not too_long, too_long


def undocumented(module: ModuleType) -> list[str]:
    """The public functions, classes and methods that a module defines without a docstring.

    A method that overrides one has its docstring.
    """
    found = []
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value) and not inspect.getdoc(value):
            found.append(name)
        if inspect.isclass(value):
            if not value.__doc__ or value.__doc__.startswith(f"{name}("):  # a dataclass without one describes itself so
                found.append(name)
            methods = (property, cached_property, classmethod, staticmethod, FunctionType)
            for member, kind in vars(value).items():
                if isinstance(kind, methods) and member[0] != "_" and not inspect.getdoc(getattr(value, member)):
                    found.append(f"{name}.{member}")
    return found


@pytest.mark.filterwarnings("ignore:.*Any type hint:UserWarning")  # MLflow's own, when mlflow.pyfunc is imported
def test_every_public_name_has_a_docstring() -> None:
    modules = [info.name for info in pkgutil.walk_packages(charloom.__path__, "charloom.")]
    assert len(modules) > 30
    found = [f"{module}.{name}" for module in modules for name in undocumented(importlib.import_module(module))]
    assert not found, found


def test_a_missing_docstring_is_found_in_a_module_and_in_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("planted")
    monkeypatch.setitem(sys.modules, "planted", module)  # where the docstrings of overridden methods are looked for
    code = """
        from dataclasses import dataclass
        def bare(): ...
        def _private(): ...
        class Documented:
            "Here."
            def documented(self): "Here."
            def bare(self): ...
            def _private(self): ...
            @property
            def value(self): ...
        class Overriding(Documented):
            "Here."
            def documented(self): ...
        @dataclass
        class Bare:
            field: int
    """
    exec(textwrap.dedent(code), vars(module))
    assert undocumented(module) == ["bare", "Documented.bare", "Documented.value", "Bare"]


def retired(text: str) -> list[str]:
    """The retired words in a text, each as its line number, what to write instead and what stands there."""
    found = []
    for instead, pattern in RETIRED.items():
        spaced = pattern.replace(" ", r"[\s#]+")  # in a comment, too, a phrase may be broken into two lines
        for match in re.finditer(rf"(?<![a-z])(?:{spaced})(?![a-z])", text, re.IGNORECASE):
            number = 1 + text.count("\n", 0, match.start())
            found.append(f"{number}: {instead}, not {' '.join(match[0].split())}")
    return found


@pytest.mark.parametrize("name", TEXTS)
def test_the_retired_words_occur_nowhere(name: str) -> None:
    top = ROOT / name
    paths = [path for path in sorted(top.rglob("*")) if path.suffix in TEXT_SUFFIXES] if top.is_dir() else [top]
    assert paths
    found = [
        f"{relative(path)}:{word}"
        for path in paths
        if path != Path(__file__)
        for word in retired(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


RETIRED_EXAMPLES = """
a crew of two | the Crew's work | on the way back | on its way up | drive + b | input_drive | a matrix library
proved gradients | a proof | its rivals | the least loss | the least smooth loss | a prime text | this charloom
no door | the edges | of_worker = 1 | cannot be had | it says nothing | 97 per cents | with helpers
a worker's share | it foretold
"""
HONEST_EXAMPLES = """
a property | np.copysign | doorstep | we approve | worldwide | improved | provide | wedge | edgecolor
synthesize.prime | an edge case | rows_of_text | the_number_of_samples | shared memory | share of the words
at least one loss | arrival | arrowprops | arrow keys | drive Chromium
"""


def examples(text: str) -> list[str]:
    return [example.strip() for line in text.strip().splitlines() for example in line.split("|")]


@pytest.mark.parametrize("text", examples(RETIRED_EXAMPLES))
def test_a_retired_word_is_found(text: str) -> None:
    assert len(retired(f"one\n{text}")) == 1


def test_a_retired_phrase_that_is_broken_into_two_lines_is_found() -> None:
    assert retired("one\n    # the matrix\n    # library") == ["2: BLAS, not matrix # library"]


@pytest.mark.parametrize("text", examples(HONEST_EXAMPLES))
def test_an_honest_word_is_not_taken_for_a_retired_one(text: str) -> None:
    assert retired(text) == []
