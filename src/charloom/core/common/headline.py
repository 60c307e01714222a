"""A result in few figures, which DVC compares as metrics."""

import math
from dataclasses import dataclass

from charloom.core.common.records import Baselines, GradientErrors, Quality, TrainingMetrics

_EPSILON = 2.0**-52  # of float64: no error is told apart from a smaller one


@dataclass(frozen=True)
class Headline:
    """The losses in nats per character, the smooth loss per window; the baseline is the best n-gram model.

    `gradient_digits` tells to how many decimal digits of its tensor's largest entry every entry of the gradient agrees
    with the complex step. Without a validation text, the first two are None.
    """

    validation_nats_per_char: float | None
    baseline_nats_per_char: float | None
    train_nats_per_char: float
    smooth_loss: float
    steps: int
    gradient_digits: float
    known_word_fraction: float
    longest_copy: int

    @classmethod
    def of(
        cls,
        loss: float | None,
        errors: GradientErrors,
        metrics: TrainingMetrics,
        baselines: Baselines,
        quality: Quality,
    ) -> "Headline":
        """Of a result whose `loss` on the validation text is known."""
        return cls(
            validation_nats_per_char=loss,
            baseline_nats_per_char=min((model.nats_per_char for model in baselines.models), default=None),
            train_nats_per_char=metrics.nats_per_char,
            smooth_loss=metrics.smooth_loss,
            steps=metrics.steps,
            gradient_digits=-math.log10(max(errors.max_scaled_error, _EPSILON)),
            known_word_fraction=quality.known_word_fraction,
            longest_copy=quality.longest_copy,
        )
