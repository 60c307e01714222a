"""The gradient check: every entry of the analytic gradient against two numerical ones.

    central        g_n = (L(θ + ξ) - L(θ - ξ)) / 2ξ       error from rounding ~ u|L|/ξ and from truncation ~ ξ²|L'''|/6
    complex_step   g_n = Im L(θ + iξ) / ξ, ξ = 1e-20      nothing is subtracted: exact to rounding

The numerical side calls the network's forward pass and nothing else; gradients are raw, never clipped. Source of the
complex step: Squire and Trapp, Using complex variables to estimate derivatives of real functions, SIAM Review 40
(1998). Knows nothing about training.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charloom.core.common.records import StepSizeError, TensorErrors, WorstEntry
from charloom.core.common.reference import REFERENCE
from charloom.core.common.types import IntArray, Vector
from charloom.core.network.network import Network

METHODS = ("central", "complex_step")
COMPLEX_STEP = 1e-20
TRUNCATION = 1e-6  # of a tensor's largest gradient entry: what ξ²|L'''|/6 may come to
_PIECES = 16  # of the vector, to be shared out


@dataclass(frozen=True)
class Window:
    """The window a gradient is checked on: ids (T, B) and the state before it, which should not be zero."""

    inputs: IntArray
    targets: IntArray
    state: NDArray[Any]


def analytic_gradient(network: Network, window: Window) -> tuple[float, Vector]:
    """The loss in nats and its raw gradient by the backward pass, a copy of the flat vector."""
    loss, _ = network.forward(window.inputs, window.targets, window.state)
    return float(loss), network.backward(window.inputs).vector.copy()


def numerical_gradient(
    network: Network,
    window: Window,
    method: str,
    step: float,
    *,
    indices: Iterable[int] | None = None,
    map: Callable[..., Iterable[Vector]] = map,
) -> Vector:
    """The gradient by differences of forward passes, one or two for each entry; for all entries or those at `indices`.

    `map` may be that of a pool of processes; the pieces of work can be pickled.
    """
    all_indices = np.arange(network.parameters.vector.size) if indices is None else np.fromiter(indices, int)
    pieces = [piece for piece in np.array_split(all_indices, _PIECES) if len(piece)]
    jobs = [(network, window, method, step, piece) for piece in pieces]
    return np.concatenate(list(map(_numerical_piece, jobs)))


def _numerical_piece(job: tuple[Network, Window, str, float, NDArray[np.intp]]) -> Vector:
    network, window, method, step, indices = job
    inputs, targets, state = window.inputs, window.targets, window.state
    gradient = np.empty(len(indices))
    if method == "complex_step":
        network = network.astype(np.complex128)
        theta, state = network.parameters.vector, state.astype(np.complex128)
        for n, i in enumerate(indices):
            value = theta[i]
            theta[i] = value + 1j * step
            gradient[n] = network.forward(inputs, targets, state)[0].imag / step
            theta[i] = value
    else:
        network = network.astype(np.float64)
        theta = network.parameters.vector
        for n, i in enumerate(indices):
            value = theta[i]
            theta[i] = value + step
            above = network.forward(inputs, targets, state)[0]
            theta[i] = value - step
            below = network.forward(inputs, targets, state)[0]
            theta[i] = value
            gradient[n] = (above - below) / (2 * step)
    return gradient


def compare(network: Network, analytic: Vector, numerical: Vector) -> dict[str, TensorErrors]:
    """The errors of each of the network's tensors."""
    return {name: _compare(network, name, analytic, numerical) for name in network.parameters}


def _compare(network: Network, name: str, analytic: Vector, numerical: Vector) -> TensorErrors:
    part = network.parameters.slices[name]
    g_a, g_n = analytic[part], numerical[part]
    absolute = np.abs(g_a - g_n)
    magnitude = np.maximum(np.abs(g_a), np.abs(g_n))
    relative = _relative(g_a, g_n)
    largest = np.abs(g_a).max()
    worst = int(absolute.argmax())
    shape = network.parameters[name].shape
    index = np.unravel_index(worst, shape, order="F" if name == "U" else "C")  # the first U lies by columns
    return TensorErrors(
        max_absolute_error=float(absolute.max()),
        max_relative_error=float(relative.max()),
        max_scaled_error=float(absolute.max() / largest) if largest else float(absolute.max()),
        entries=g_a.size,
        exact_zeros=int((magnitude == 0).sum()),
        worst=WorstEntry(tuple(int(i) for i in index), float(g_a[worst]), float(g_n[worst])),
    )


def rounding_floor(loss: float, step: float, terms: int) -> float:
    """The absolute error that rounding alone may give a central difference: the two losses are sums of `terms` rounded
    numbers, each good to half a unit in the last place of the total, and their difference is divided by 2ξ.
    """
    return float(np.finfo(np.float64).eps * max(abs(loss), 1.0) * np.sqrt(terms) / step)


@dataclass(frozen=True)
class Check:
    """The errors by method and tensor, and what is outside its bound, in words."""

    errors: dict[str, dict[str, TensorErrors]]
    problems: list[str]


def check(
    network: Network,
    window: Window,
    step: float,
    threshold: float,
    *,
    map: Callable[..., Iterable[Vector]] = map,
) -> Check:
    """Hold every entry of the analytic gradient against both numerical ones.

    The complex step must agree to `threshold` of the tensor's largest gradient entry; the central difference with ξ =
    `step` to its rounding floor and `TRUNCATION` of that entry. A gradient that is not finite is outside every bound.
    """
    loss, analytic = analytic_gradient(network, window)
    floor = rounding_floor(loss, step, window.inputs.shape[0])
    errors, problems = {}, []
    for method, xi in zip(METHODS, (step, COMPLEX_STEP), strict=True):
        errors[method] = compare(network, analytic, numerical_gradient(network, window, method, xi, map=map))
        for name, found in errors[method].items():
            largest = np.abs(analytic[network.parameters.slices[name]]).max()
            bound = threshold * largest if method == "complex_step" else floor + TRUNCATION * largest
            if not found.max_absolute_error <= bound < np.inf:
                worst = found.worst
                problems.append(
                    f"{method} finds {name}{list(worst.index)} = {worst.numerical:.9g} where the backward pass has "
                    f"{worst.analytic:.9g} (bound {bound:.1e})"
                )
    return Check(errors, problems)


SWEEP_STEPS = {
    "central": tuple(10.0 ** (-n / 2) for n in range(2, 25)),
    "complex_step": tuple(10.0**-n for n in (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 30, 50, 70, 100)),
}


def step_sweep(
    network: Network,
    window: Window,
    *,
    rng: np.random.Generator,
    entries: int = 20,
    map: Callable[..., Iterable[Vector]] = map,
) -> list[StepSizeError]:
    """How the relative error depends on the step ξ, for `entries` of each tensor.

    They are drawn among the tenth with the largest gradients, so that the curve shows the method and not how close to
    zero the smallest entry happens to be.
    """
    _, analytic = analytic_gradient(network, window)
    indices = {}
    for name, part in network.parameters.slices.items():
        order = np.argsort(-np.abs(analytic[part]), kind="stable")
        large = order[: max(entries, len(order) // 10)]
        indices[name] = part.start + rng.choice(large, min(entries, len(large)), replace=False)
    together = np.concatenate(list(indices.values()))
    points = []
    for method, steps in SWEEP_STEPS.items():
        for step in steps:
            numerical = numerical_gradient(network, window, method, step, indices=together, map=map)
            of_entry = dict(zip(together.tolist(), _relative(analytic[together], numerical), strict=True))
            of_tensor = {name: float(max(of_entry[i] for i in own.tolist())) for name, own in indices.items()}
            of_tensor["all"] = max(of_tensor.values())
            points += [StepSizeError(method, step, name, error) for name, error in of_tensor.items()]
    return points


def _relative(g_a: Vector, g_n: Vector) -> Vector:
    """|g_a - g_n| / max(|g_a|, |g_n|), 0 where both are 0."""
    magnitude = np.maximum(np.abs(g_a), np.abs(g_n))
    return np.abs(g_a - g_n) / np.where(magnitude > 0, magnitude, 1.0)


def table(checks: dict[str, Check]) -> str:
    """The errors set as a table for people, the reference's figures beside them."""
    lines = []
    for weights, found in checks.items():
        lines += [
            f"Gradient check at {weights} weights (largest error of each tensor)",
            f"{'':10}{'central difference':^28}{'complex step':^28}{'reference (central)':^22}{'':>9}{'exactly':>9}",
            f"{'tensor':10}" + f"{'absolute':>10}{'relative':>10}{'':8}" * 2 + f"{'absolute':>10}{'relative':>10}"
            f"{'entries':>11}{'zero':>9}",
        ]
        for name in found.errors["central"]:
            central, exact = found.errors["central"][name], found.errors["complex_step"][name]
            known = REFERENCE.get(name)
            reference = f"{known[0]:>10.1e}{known[1]:>10.1e}" if known else f"{'':20}"
            lines.append(
                f"{name:10}"
                + "".join(f"{e.max_absolute_error:>10.1e}{e.max_relative_error:>10.1e}{'':8}" for e in (central, exact))
                + f"{reference}{exact.entries:>11,}{exact.exact_zeros:>9,}"
            )
        lines.append("")
    return "\n".join(lines)
