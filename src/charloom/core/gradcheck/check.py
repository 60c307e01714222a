"""The errors of the analytic gradient against the numerical ones, and the bounds that they must keep."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charloom.core.common.records import MethodErrors, StepSizeError, TensorErrors, WorstEntry
from charloom.core.common.types import Vector
from charloom.core.gradcheck.copies import Window
from charloom.core.gradcheck.numerical import (
    COMPLEX_STEP,
    Map,
    analytic_gradient,
    directional_derivative,
    numerical_gradient,
)
from charloom.core.gradcheck.windows import SAFETY, amplified_rounding
from charloom.core.network import Network

TRUNCATION = 1e-6  # of a tensor's largest gradient entry: what ξ²|L'''|/6 may come to
_DIRECTIONS = 3  # random directions of each tensor
_SMALLER_STEPS = (1.0, 0.1, 0.01, 0.001)  # times ξ, where the loss bends too much within ξ
_MOST_TRUNCATION = 100  # times the first bound: an error that is larger is not put down to truncation

SWEEP_STEPS = {
    "central": tuple(10.0 ** (-n / 2) for n in range(2, 25)),
    "complex_step": tuple(10.0**-n for n in (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 30, 50, 70, 100)),
}

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Check:
    """The errors by method and tensor, and what is outside its bound, in words."""

    errors: MethodErrors
    problems: list[str]


def check(
    network: Network,
    window: Window,
    step: float,
    threshold: float,
    *,
    rng: np.random.Generator,
    central: int | None = None,
    complex_step: int | None = None,
    map: Map = map,
) -> Check:
    """Compare the analytic gradient with both numerical ones, entry by entry and along random directions.

    The complex step must agree to `threshold` of the tensor's largest gradient entry. The central difference with the
    step size ξ = `step` must agree to its rounding floor and `TRUNCATION` of that entry. Where it does not, the loss
    may bend too much within ξ: a second central difference, with 2ξ, shows the truncation, and the entry must agree to
    twice the floor and that truncation, for ξ or for a tenth, a hundredth or a thousandth of it. A gradient that is not
    finite is outside every bound. `window` must be one over which rounding stays small: see `well_conditioned`.

    `central` and `complex_step` are the numbers of entries of each tensor that the methods compare; None: all. A
    smaller number divides the tensor into as many parts of equal length, and draws one entry from each. Where the
    complex step compares a sample, it also compares the derivative along random directions d of each tensor, with each
    d_i either 1 or -1: Σ g_i d_i has the errors of all entries in it. A sample can miss an error in entries that were
    not drawn where it is below the bound of that sum or cancels in all directions. `map` may be that of a pool of
    processes.
    """
    loss, analytic = analytic_gradient(network, window)
    floor = rounding_floor(loss, step, len(window.inputs))
    methods = {
        "central": (step, floor, TRUNCATION, central),
        "complex_step": (COMPLEX_STEP, 0.0, threshold, complex_step),
    }
    errors, problems = {}, []
    for method, (xi, constant, fraction, entries) in methods.items():
        indices = _indices(network, entries, rng)
        numerical = numerical_gradient(network, window, method, xi, indices=indices, map=map)
        errors[method] = compare(network, analytic, numerical, indices)
        absolute, bounds = np.abs(analytic[indices] - numerical), np.empty(len(indices))
        for part in network.parameters.slices.values():
            bound = constant + fraction * np.abs(analytic[part]).max()
            bounds[_within(indices, part)] = bound if bound < np.inf else np.nan
        outside = np.flatnonzero(~(absolute <= bounds))
        if method == "central":
            bent = _bent(network, window, step, floor, analytic, indices[outside], bounds[outside], map=map)
            outside = outside[~bent]
        for name, part in network.parameters.slices.items():
            own = outside[_within(indices[outside], part)]
            if len(own):
                i = own[absolute[own].argmax()]
                entry = f"{name}{list(network.parameters.index(name, int(indices[i])))}"
                problems.append(_problem(method, entry, numerical[i], analytic[indices[i]], bounds[i]))
    if complex_step is not None:
        problems += _wrong_directions(network, window, threshold, analytic, rng=rng)
    return Check(MethodErrors(**errors), problems)


def compare(
    network: Network, analytic: Vector, numerical: Vector, indices: Indices | None = None
) -> dict[str, TensorErrors]:
    """The errors of each tensor, from the analytic gradient and a numerical one at `indices`, in order, or at all."""
    errors = {}
    indices = np.arange(analytic.size) if indices is None else indices
    for name, part in network.parameters.slices.items():
        own = _within(indices, part)
        g_a, g_n = analytic[indices[own]], numerical[own]
        absolute, largest = np.abs(g_a - g_n), np.abs(analytic[part]).max()
        worst = int(absolute.argmax())
        index = network.parameters.index(name, int(indices[own][worst]))
        errors[name] = TensorErrors(
            max_absolute_error=float(absolute.max()),
            max_relative_error=float(_relative(g_a, g_n).max()),
            max_scaled_error=float(absolute.max() / largest) if largest else float(absolute.max()),
            entries=g_a.size,
            exact_zeros=int(((g_a == 0) & (g_n == 0)).sum()),
            worst=WorstEntry(index, float(g_a[worst]), float(g_n[worst])),
        )
    return errors


def rounding_floor(loss: float, step: float, terms: int) -> float:
    """The absolute error that rounding alone may give a central difference with the step size ξ = `step`.

    The two losses are sums of `terms` rounded numbers, each good to half a unit in the last place of the total, and
    their difference is divided by 2ξ.
    """
    return float(np.finfo(np.float64).eps * max(abs(loss), 1.0) * np.sqrt(terms) / step)


def step_sweep(
    network: Network, window: Window, *, rng: np.random.Generator, entries: int = 20, map: Map = map
) -> list[StepSizeError]:
    """How the relative error depends on the step size ξ, for `entries` of each tensor.

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
    sweep = [(method, step) for method, steps in SWEEP_STEPS.items() for step in steps]
    points = []
    found = map(_gradient_at, [(network, window, method, step, together) for method, step in sweep])
    for (method, step), numerical in zip(sweep, found, strict=True):
        relative = dict(zip(together.tolist(), _relative(analytic[together], numerical), strict=True))
        largest = {name: float(max(relative[i] for i in own.tolist())) for name, own in indices.items()}
        largest["all"] = max(largest.values())
        points += [StepSizeError(method, step, name, error) for name, error in largest.items()]
    return points


def _gradient_at(job: tuple[Network, Window, str, float, Indices]) -> Vector:
    network, window, method, step, indices = job
    return numerical_gradient(network, window, method, step, indices=indices)


def _bent(
    network: Network,
    window: Window,
    step: float,
    floor: float,
    analytic: Vector,
    indices: Indices,
    bounds: Vector,
    *,
    map: Map,
) -> NDArray[np.bool_]:
    """Which of the entries agree with a central difference to twice its error, for ξ or a smaller step size.

    An error beyond `_MOST_TRUNCATION` times the first bound is not put down to truncation, so that a wrong entry is not
    lost in it.
    """
    bent = np.zeros(len(indices), bool)
    for factor in _SMALLER_STEPS:
        left = np.flatnonzero(~bent)
        if not len(left) or not np.isfinite(analytic).all():
            break
        fine, coarse = (
            numerical_gradient(network, window, "central", xi, indices=indices[left], map=map)
            for xi in (factor * step, 2 * factor * step)
        )
        error = floor / factor + np.abs(coarse - fine) / 3  # ξ²|L'''|/6 is four times as large with 2ξ
        bent[left] = np.abs(analytic[indices[left]] - fine) <= np.minimum(2 * error, _MOST_TRUNCATION * bounds[left])
    return bent


def _wrong_directions(
    network: Network, window: Window, threshold: float, analytic: Vector, *, rng: np.random.Generator
) -> Iterator[str]:
    """What is wrong along random directions of the tensors, in words.

    The derivative must agree to `threshold` of the tensor's largest gradient entry. Where it does not, all entries'
    rounding may add up to more, which is measured then: in proportion to ‖g‖, about what Σ ± g_i is.
    """
    rounding = 0.0
    for name, part in network.parameters.slices.items():
        g_a = analytic[part]
        bound = threshold * np.abs(g_a).max() + np.finfo(np.float64).eps * np.abs(g_a).sum()
        for _ in range(_DIRECTIONS):
            direction = np.zeros(analytic.size)
            direction[part] = rng.choice([-1.0, 1.0], g_a.size)
            along, numerical = float(analytic @ direction), directional_derivative(network, window, direction)
            if abs(along - numerical) <= bound < np.inf:
                continue
            rounding = rounding or min(SAFETY * amplified_rounding(network, window, rng=rng), threshold)
            wider = bound + rounding * float(np.linalg.norm(g_a))
            if not abs(along - numerical) <= wider < np.inf:
                yield _problem("complex_step", f"along a random direction of {name}", numerical, along, wider)
                break


def _problem(method: str, where: str, numerical: float, analytic: float, bound: float) -> str:
    value = f"{where} = {numerical:.9g}"
    return f"{method} finds {value} where the backward pass has {analytic:.9g} (bound {bound:.1e})"


def _indices(network: Network, entries: int | None, rng: np.random.Generator) -> Indices:
    """Every position in the vector; or one out of each of about `entries` parts of equal length of each tensor."""
    if entries is None:
        return np.arange(network.parameters.vector.size)
    drawn = []
    for part in network.parameters.slices.values():
        size = part.stop - part.start
        cuts = part.start + np.arange(min(entries, size) + 1) * size // min(entries, size)
        drawn.append(rng.integers(cuts[:-1], cuts[1:]))
    return np.concatenate(drawn)


def _within(indices: Indices, part: slice) -> slice:
    """Where among `indices`, which are in order, those of a part of the vector are."""
    start, stop = np.searchsorted(indices, (part.start, part.stop)).tolist()
    return slice(start, stop)


def _relative(g_a: Vector, g_n: Vector) -> Vector:
    """|g_a - g_n| / max(|g_a|, |g_n|), 0 where both are 0."""
    magnitude = np.maximum(np.abs(g_a), np.abs(g_n))
    return np.abs(g_a - g_n) / np.where(magnitude > 0, magnitude, 1.0)
