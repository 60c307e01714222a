"""The errors of a gradient check as a table in plain text."""

from collections.abc import Mapping

from charloom.core.common.records import MethodErrors
from charloom.core.common.reference import REFERENCE


def table(checks: Mapping[str, MethodErrors]) -> str:
    """The largest errors of each tensor, for each set of weights in `checks`, beside the reference run's figures."""
    lines = []
    for weights, errors in checks.items():
        lines += [
            f"Gradient check at {weights} weights (largest error of each tensor)",
            f"{'':10}{'central difference':^28}{'complex step':^28}{'reference (central)':^22}{'':>9}{'exactly':>9}",
            f"{'tensor':10}" + f"{'absolute':>10}{'relative':>10}{'':8}" * 2 + f"{'absolute':>10}{'relative':>10}"
            f"{'entries':>11}{'zero':>9}",
        ]
        for name, central in errors.central.items():
            exact, known = errors.complex_step[name], REFERENCE.get(name)
            reference = f"{known[0]:>10.1e}{known[1]:>10.1e}" if known else f"{'':20}"
            lines.append(
                f"{name:10}"
                + "".join(f"{e.max_absolute_error:>10.1e}{e.max_relative_error:>10.1e}{'':8}" for e in (central, exact))
                + f"{reference}{exact.entries:>11,}{exact.exact_zeros:>9,}"
            )
        lines.append("")
    return "\n".join(lines)
