"""The errors of a gradient check as a table in plain text."""

from collections.abc import Mapping

from charloom.core.common.records import MethodErrors
from charloom.core.common.reference import ReferenceErrors


def table(checks: Mapping[str, MethodErrors], reference: ReferenceErrors) -> str:
    """The largest errors of each tensor, for each set of weights in `checks`.

    `reference` has the published figures of the central difference at initial weights, which stand beside them; it is
    empty where there is nothing to compare with.
    """
    lines = []
    for weights, errors in checks.items():
        known = reference if weights == "initial" else {}
        lines += [
            f"Gradient check at {weights} weights (largest error of each tensor)",
            f"{'':10}{'central difference':^28}{'complex step':^28}"
            + (f"{'reference (central)':^28}" if known else "")
            + f"{'':>9}{'exactly':>9}",
            f"{'tensor':10}"
            + f"{'absolute':>10}{'relative':>10}{'':8}" * (3 if known else 2)
            + f"{'entries':>9}{'zero':>9}",
        ]
        for name, central in errors.central.items():
            exact = errors.complex_step[name]
            pairs = [(e.max_absolute_error, e.max_relative_error) for e in (central, exact)]
            pairs += [known[name]] if name in known else []
            lines.append(
                f"{name:10}"
                + "".join(f"{absolute:>10.1e}{relative:>10.1e}{'':8}" for absolute, relative in pairs)
                + f"{exact.entries:>9,}{exact.exact_zeros:>9,}"
            )
        lines.append("")
    return "\n".join(lines)
