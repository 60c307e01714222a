"""HTML pages that hold all they show: their templates, their policy, and the characters that HTML cannot hold."""

import base64
import hashlib

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

# A visible sign for each character that HTML cannot hold: control characters and lone surrogates.
_SIGNS = {code_point: chr(0x2400 + code_point) for code_point in range(0x20) if chr(code_point) not in "\t\n"}
_SIGNS |= dict.fromkeys([*range(0x7F, 0xA0), *range(0xD800, 0xE000)], "\N{REPLACEMENT CHARACTER}")


def environment(*packages: str) -> Environment:
    """The templates and files in packages, each looked for in the first one before the next; all values are escaped."""
    found = Environment(
        loader=ChoiceLoader([PackageLoader(package, "") for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["number"] = _number
    return found


def as_html(rendered: str) -> str:
    """The page with signs for what HTML cannot hold, so that it can be encoded in UTF-8."""
    return rendered.translate(_SIGNS)


def policy_source(content: str) -> str:
    """What allows a script or a style of this content, and no other, in a page's Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode('ascii')}'"


def _number(value: int | float) -> str:
    """A count in full, any other number with four significant digits.

    >>> [_number(value) for value in (100000, 1.63251)]
    ['100,000', '1.633']
    """
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
