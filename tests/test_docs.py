"""docs/backpropagation.md beside the code that it explains, and the figures of this page and of docs/inside.md."""

import ast
import inspect
import json
import re
import runpy
import textwrap
from collections.abc import Iterator
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from charloom.core.cells import CELLS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "backpropagation.md"


def problems(page: str) -> list[str]:
    """What is wrong with a page's blocks of Python: each must name a file and stand in it, at whatever indentation."""
    found = []
    for file, block in re.findall(r"^```python *(.*)\n((?:.*\n)*?)```$", page, re.MULTILINE):
        first = block.splitlines()[0]
        if not file:
            found.append(f"no file is named: {first}")
        elif not stands_in(block, (ROOT / file).read_text(encoding="utf-8")):
            found.append(f"not in {file}: {first}")
    return found


def stands_in(block: str, source: str) -> bool:
    """Whether the block's lines follow one another in the source, their common indentation aside."""
    wanted, lines = textwrap.dedent(block).splitlines(), source.splitlines()
    windows = (lines[start : start + len(wanted)] for start in range(len(lines) - len(wanted) + 1))
    return any(textwrap.dedent("\n".join(window)).splitlines() == wanted for window in windows)


def test_every_block_of_python_stands_in_the_file_that_it_names() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("```python src/charloom/textbook.py\n") >= 8
    assert problems(page) == []


def test_a_block_that_differs_by_one_character_is_found() -> None:
    page = PAGE.read_text(encoding="utf-8").replace("\ndq = da_n * r\n", "\ndq = da_n * z\n")
    assert problems(page) == ["not in src/charloom/textbook.py: dz = dh * (h_prev - n)"]


def test_a_block_with_another_inner_indentation_is_found() -> None:
    page = PAGE.read_text(encoding="utf-8").replace("\n    o = V @ h[t] + c\n", "\no = V @ h[t] + c\n")
    assert problems(page) == ["not in src/charloom/textbook.py: h, p, values = {}, {}, {}"]


def test_a_block_that_names_no_file_is_found() -> None:
    assert problems("```python\nx = 1\n```\n") == ["no file is named: x = 1"]


@pytest.mark.parametrize("method", ["step", "backward"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_page_shows_the_whole_of_every_cells_forward_and_backward_code(cell: str, method: str) -> None:
    _, body = inspect.getsource(getattr(CELLS[cell], method)).split("\n", 1)  # without the signature
    block = f"```python src/charloom/core/cells/{cell}.py\n{textwrap.dedent(body)}```\n"
    assert block in PAGE.read_text(encoding="utf-8")


def test_every_line_of_code_in_a_table_stands_in_the_textbook() -> None:
    source = (ROOT / "src" / "charloom" / "textbook.py").read_text(encoding="utf-8")
    rows = re.findall(r"^\|.*\| (`.*`) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    lines = [line for row in rows for line in re.findall("`(.*?)`", row)]
    assert len(lines) >= 25
    assert [line for line in lines if line not in source] == []


EQUATION = re.compile(r"(add|multiply|subtract|tanh|sigmoid|slope|dot|sum|matmul|reduce|W_times)\(|\] = [01]$")


def statements(body: list[ast.stmt]) -> Iterator[tuple[str, int]]:
    """The code of every statement and the number of its lines, of a `for` its head's; no signatures, no docstrings."""
    for node in body:
        if isinstance(node, ast.FunctionDef):
            yield from statements(node.body)
        elif isinstance(node, ast.For):
            yield ast.unparse(node).splitlines()[0], (node.iter.end_lineno or 0) - node.lineno + 1
            yield from statements(node.body)
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            yield ast.unparse(node), (node.end_lineno or 0) - node.lineno + 1


def plumbing(source: str) -> tuple[int, int]:
    """The lines of a cell's classes that are no equation: in the methods for forward and backward pass, and in all."""
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    members = [member for node in classes for member in node.body]
    counts = {
        member: sum(lines for code, lines in statements([member]) if not EQUATION.search(code)) for member in members
    }
    beside = [n for member, n in counts.items() if getattr(member, "name", "") in ("step", "steps", "backward")]
    return sum(beside), sum(counts.values())


def test_the_lines_of_plumbing_on_the_page_are_those_of_the_cells() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for cell in CELLS:
        source = (ROOT / "src" / "charloom" / "core" / "cells" / f"{cell}.py").read_text(encoding="utf-8")
        beside, all_lines = plumbing(source)
        assert re.search(rf"^\| {cell} \| \d+ \| {beside} \| \d+ \| {all_lines} \|$", page, re.MULTILINE), cell


def test_plumbing_is_what_is_neither_equation_nor_signature_nor_docstring() -> None:
    source = """
class Step:
    h: Array  # a view

class Cell:
    def step(self, params, t):
        'An equation.'
        add = np.add
        for (
            x
        ) in y:
            # a comment
            add(x, y, z)
        z[...] = 0
"""
    assert plumbing(source) == (4, 5)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    runpy.run_path(str(ROOT / "docs" / "figures.py"))["draw_all"](folder)
    return folder


@pytest.mark.parametrize("name", ["unrolled.png", "rnn.png", "gru.png", "lstm.png"])
def test_a_committed_figure_is_what_its_script_draws(drawn: Path, name: str) -> None:
    committed = PAGE.with_suffix("") / name
    assert committed.stat().st_size < 150_000
    assert look_alike(committed, drawn / name)


def look_alike(one: Path, other: Path) -> bool:
    """Whether two pictures differ by a rounding here and there, but no line or letter moved."""
    a, b = (matplotlib.image.imread(path) for path in (one, other))
    return a.shape == b.shape and bool(np.abs(a - b).max() < 0.05)


def test_the_figure_of_the_gradients_is_what_its_script_draws_from_the_measured_norms(tmp_path: Path) -> None:
    committed, draw = ROOT / "docs" / "inside.png", runpy.run_path(str(ROOT / "docs" / "inside.py"))["draw"]
    norms = json.loads(committed.with_suffix(".json").read_text(encoding="utf-8"))
    assert committed.stat().st_size < 200_000
    (tmp_path / "drawn.png").write_bytes(draw(norms))
    assert look_alike(committed, tmp_path / "drawn.png")
    norms["5000"]["gru"] = norms["5000"]["lstm"]
    (tmp_path / "drawn.png").write_bytes(draw(norms))
    assert not look_alike(committed, tmp_path / "drawn.png")


def test_the_share_of_the_gradient_that_the_page_states_is_the_measured_one() -> None:
    norms = json.loads((ROOT / "docs" / "inside.json").read_text(encoding="utf-8"))["5000"]["gru"]
    page = " ".join((ROOT / "docs" / "inside.md").read_text(encoding="utf-8").split())
    assert f"has {100 * norms[50] / norms[0]:.0f} % of the gradient 50 time steps back" in page
