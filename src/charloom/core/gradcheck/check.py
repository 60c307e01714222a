"""The errors of the analytic gradient against the numerical ones, and the bounds that they must keep."""

from dataclasses import dataclass

import numpy as np

from charloom.core.common.records import MethodErrors, StepSizeError, TensorErrors, WorstEntry
from charloom.core.common.types import Vector
from charloom.core.gradcheck.numerical import COMPLEX_STEP, Map, Window, analytic_gradient, numerical_gradient
from charloom.core.network import Network

TRUNCATION = 1e-6  # of a tensor's largest gradient entry: what ξ²|L'''|/6 may come to

SWEEP_STEPS = {
    "central": tuple(10.0 ** (-n / 2) for n in range(2, 25)),
    "complex_step": tuple(10.0**-n for n in (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 30, 50, 70, 100)),
}


@dataclass(frozen=True)
class Check:
    """The errors by method and tensor, and what is outside its bound, in words."""

    errors: MethodErrors
    problems: list[str]


def check(network: Network, window: Window, step: float, threshold: float, *, map: Map = map) -> Check:
    """Compare every entry of the analytic gradient with both numerical ones.

    The complex step must agree to `threshold` of the tensor's largest gradient entry. The central difference with the
    step size ξ = `step` must agree to its rounding floor and `TRUNCATION` of that entry, or else to twice its error:
    the floor and the truncation that a second central difference, with 2ξ, shows. A gradient that is not finite is
    outside every bound. `map` may be that of a pool of processes.
    """
    loss, analytic = analytic_gradient(network, window)
    floor = rounding_floor(loss, step, window.inputs.shape[0])
    methods = {"central": (step, floor, TRUNCATION), "complex_step": (COMPLEX_STEP, 0.0, threshold)}
    errors, problems = {}, []
    for method, (xi, constant, fraction) in methods.items():
        numerical = numerical_gradient(network, window, method, xi, map=map)
        errors[method] = compare(network, analytic, numerical)
        absolute, bounds = np.abs(analytic - numerical), np.empty_like(analytic)
        for name, part in network.parameters.slices.items():
            bound = constant + fraction * np.abs(analytic[part]).max()
            bounds[part] = bound if bound < np.inf else np.nan
            outside = part.start + np.flatnonzero(~(absolute[part] <= bounds[part]))
            if method == "central" and len(outside):
                coarse = numerical_gradient(network, window, method, 2 * xi, indices=outside, map=map)
                truncation = np.abs(coarse - numerical[outside]) / 3  # ξ²|L'''|/6, which is four times as large with 2ξ
                bounds[outside] = 2 * (floor + truncation)
                outside = outside[~(absolute[outside] <= bounds[outside])]
            if len(outside):
                i = outside[absolute[outside].argmax()]
                problems.append(
                    f"{method} finds {name}{list(network.parameters.index(name, i))} = {numerical[i]:.9g} where the "
                    f"backward pass has {analytic[i]:.9g} (bound {bounds[i]:.1e})"
                )
    return Check(MethodErrors(**errors), problems)


def compare(network: Network, analytic: Vector, numerical: Vector) -> dict[str, TensorErrors]:
    """The errors of each of the network's tensors, from two gradients as flat vectors."""
    errors = {}
    for name, part in network.parameters.slices.items():
        g_a, g_n = analytic[part], numerical[part]
        absolute, largest = np.abs(g_a - g_n), np.abs(g_a).max()
        worst = int(absolute.argmax())
        errors[name] = TensorErrors(
            max_absolute_error=float(absolute.max()),
            max_relative_error=float(_relative(g_a, g_n).max()),
            max_scaled_error=float(absolute.max() / largest) if largest else float(absolute.max()),
            entries=g_a.size,
            exact_zeros=int(((g_a == 0) & (g_n == 0)).sum()),
            worst=WorstEntry(network.parameters.index(name, part.start + worst), float(g_a[worst]), float(g_n[worst])),
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
    points = []
    for method, steps in SWEEP_STEPS.items():
        for step in steps:
            numerical = numerical_gradient(network, window, method, step, indices=together, map=map)
            relative = dict(zip(together.tolist(), _relative(analytic[together], numerical), strict=True))
            largest = {name: float(max(relative[i] for i in own.tolist())) for name, own in indices.items()}
            largest["all"] = max(largest.values())
            points += [StepSizeError(method, step, name, error) for name, error in largest.items()]
    return points


def _relative(g_a: Vector, g_n: Vector) -> Vector:
    """|g_a - g_n| / max(|g_a|, |g_n|), 0 where both are 0."""
    magnitude = np.maximum(np.abs(g_a), np.abs(g_n))
    return np.abs(g_a - g_n) / np.where(magnitude > 0, magnitude, 1.0)
