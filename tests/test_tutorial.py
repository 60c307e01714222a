"""docs/tutorial.md: every block of Python runs and prints what stands beneath it.

The blocks of a numbered part share their names and run in order; each part starts with none. What is printed must be
the text beneath, where `...` stands for anything; beneath ```` ```text about ````, numbers may differ by a tenth, and
beneath ```` ```text measured ```` they may be any. Time limits are cut short.
"""

import doctest
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text(| about| measured)\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?")
TOLERANCE = 0.1


def parts(page: str) -> dict[str, str]:
    """The numbered parts of a page by their headings."""
    _, *found = re.split(r"^## ", page, flags=re.MULTILINE)
    return {part.partition("\n")[0]: part for part in found}


def problems(part: str) -> Iterator[str]:
    """What the blocks of a part print, where it is not what stands beneath them."""
    names: dict[str, Any] = {"__name__": "tutorial"}
    for code, kind, expected in BLOCK.findall(part):
        printed = StringIO()
        with redirect_stdout(printed):
            exec(compile(re.sub(r"^seconds = .*", "seconds = 0.3", code, flags=re.MULTILINE), PAGE.name, "exec"), names)
        if not CHECKS[kind](expected, printed.getvalue()):
            yield f"expected:\n{expected}printed:\n{printed.getvalue()}"


def same(expected: str, printed: str) -> bool:
    """Whether a text was printed, with anything in the place of `...`."""
    return doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS)


def alike(expected: str, printed: str) -> bool:
    """Whether a text was printed, with numbers that differ by a tenth at most."""
    one, other = ([float(number.replace(",", "")) for number in NUMBER.findall(text)] for text in (expected, printed))
    return same_words(expected, printed) and one == pytest.approx(other, rel=TOLERANCE)


def same_words(expected: str, printed: str) -> bool:
    """Whether a text was printed, with any numbers and any spaces around them."""
    return " ".join(NUMBER.sub("#", expected).split()) == " ".join(NUMBER.sub("#", printed).split())


CHECKS = {"": same, " about": alike, " measured": same_words}


@pytest.mark.parametrize("title", parts(PAGE.read_text(encoding="utf-8")))
def test_every_block_of_the_tutorial_prints_what_stands_beneath_it(title: str) -> None:
    with np.printoptions():
        assert list(problems(parts(PAGE.read_text(encoding="utf-8"))[title])) == []


def test_every_block_of_python_in_the_tutorial_is_found() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert len(BLOCK.findall(page)) == page.count("```python") >= 8


def test_a_block_that_prints_something_else_is_found() -> None:
    (problem,) = problems("```python\nx = 1\n```\n\n```python\nprint(x + 1)\n```\n\n```text\n3\n```\n")
    assert problem == "expected:\n3\nprinted:\n2\n"


def test_numbers_that_are_about_right_may_differ_by_a_tenth() -> None:
    assert alike("loss 10.0\n", "loss 10.9\n")
    assert not alike("loss 10.0\n", "loss 12.0\n")
    assert not alike("loss 10.0\n", "cost 10.0\n")
