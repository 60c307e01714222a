"""What a training has achieved, in a sentence and in numbers, beside models that only count."""

import math
from dataclasses import dataclass

from charloom.core.common.formatting import standing
from charloom.core.common.records import Baselines, ModelEvaluation, TrainingMetrics


@dataclass(frozen=True)
class Ranked:
    """A model among others, with its loss in three units; the network is `own`."""

    name: str
    nats_per_char: float
    own: bool = False

    @property
    def bits_per_char(self) -> float:
        """The loss in bits."""
        return self.nats_per_char / math.log(2)

    @property
    def perplexity(self) -> float:
        """Among how many equally likely characters one would be as uncertain."""
        return math.exp(min(self.nats_per_char, 700.0))  # e^710 is more than a number holds


def held_out_loss(metrics: TrainingMetrics, evaluation: ModelEvaluation | None) -> float | None:
    """The loss on the validation text in nats per character, None where there is no such text.

    It is the evaluation's, with carried state, where that is of the validation text; otherwise the lowest that the
    training has measured, which is that of the best model.
    """
    if evaluation is not None and evaluation.text is None and evaluation.carried is not None:
        return evaluation.carried.nats_per_char
    if metrics.best_validation_nats_per_char is not None:
        return metrics.best_validation_nats_per_char
    return metrics.validation_nats_per_char


def ranking(loss: float | None, baselines: Baselines) -> list[Ranked]:
    """The network, where its `loss` is known, among the baselines, the lowest loss first."""
    found = [Ranked(model.name, model.nats_per_char) for model in baselines.models]
    if loss is not None:
        found.append(Ranked("this network", loss, own=True))
    return sorted(found, key=lambda model: model.nats_per_char)


def verdict(metrics: TrainingMetrics, loss: float | None, baselines: Baselines, *, uniform: float) -> str:
    """What the training has achieved, in a sentence; `uniform` is the loss of the uniform model, ln K."""
    if loss is None:
        return (
            f"After {_updates(metrics)} the network predicts the text that it is trained on with "
            f"{metrics.nats_per_char:.3f} nats per character, where the uniform model has {uniform:.3f}; no text was "
            "held out to measure how well it predicts another."
        )
    place = standing(loss, baselines.models) or f"the uniform model has {uniform:.3f}"
    return (
        f"After {_updates(metrics)} the network predicts text that it has not seen with {loss:.3f} nats per character: "
        f"{place}."
    )


def _updates(metrics: TrainingMetrics) -> str:
    return f"{metrics.steps:,} update" + ("" if metrics.steps == 1 else "s")
