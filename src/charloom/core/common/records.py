"""What the stages find out, as plain values. Where and how they are kept is not known here."""

import math
from dataclasses import dataclass

ParameterValues = dict[str, bool | int | float | str | None]  # by dotted key, such as "model.cell"


@dataclass(frozen=True)
class Summary:
    """What is known of a prepared corpus; counts are of characters, `sha256` is of the file's bytes."""

    path: str
    encoding: str
    newline: str
    sha256: str
    characters: int
    vocabulary_size: int
    train_characters: int
    validation_characters: int


@dataclass(frozen=True)
class Score:
    """How well a text is predicted: the mean loss of its characters, in three units; `perplexity` is e^nats."""

    nats_per_char: float
    bits_per_char: float
    perplexity: float

    @classmethod
    def of(cls, nats_per_char: float) -> "Score":
        """The loss in all three units.

        >>> Score.of(0.0)
        Score(nats_per_char=0.0, bits_per_char=0.0, perplexity=1.0)
        """
        return Score(nats_per_char, nats_per_char / math.log(2), math.exp(nats_per_char))


@dataclass(frozen=True)
class BaselineScore(Score):
    """How well a model that only counts predicts the validation text; its `order` is n, 0 that of the uniform model."""

    name: str
    order: int

    @classmethod
    def at_order(cls, order: int, nats_per_char: float) -> "BaselineScore":
        """The score of the model of an order.

        >>> [BaselineScore.at_order(n, 1.0).name for n in (0, 1, 6)]
        ['uniform', '1-gram', '6-gram']
        """
        return cls(**vars(Score.of(nats_per_char)), name=f"{order}-gram" if order else "uniform", order=order)


@dataclass(frozen=True)
class Baselines:
    """What the network is compared with: the uniform model and n-gram models on the same split, by order.

    `characters` of the validation text were scored, and `unseen` of them are characters that the training text lacks.
    `left_out` says which models there are not, and why. Without a validation text there are no `models`.
    """

    models: list[BaselineScore]
    characters: int
    unseen: int
    left_out: list[str]


@dataclass(frozen=True)
class WorstEntry:
    """The entry of a tensor with the largest absolute error, and both its gradients."""

    index: tuple[int, ...]
    analytic: float
    numerical: float


@dataclass(frozen=True)
class TensorErrors:
    """How far one tensor's analytic gradient g_a and numerical gradient g_n are apart.

    The absolute error is |g_a - g_n| and the relative error |g_a - g_n| / max(|g_a|, |g_n|), entry by entry;
    `max_scaled_error` is the largest absolute error over the tensor's largest |g_a|. Entries where both are exactly
    zero are counted in `exact_zeros` and have no relative error.
    """

    max_absolute_error: float
    max_relative_error: float
    max_scaled_error: float
    entries: int
    exact_zeros: int
    worst: WorstEntry


@dataclass(frozen=True)
class MethodErrors:
    """The errors of each tensor, by both numerical methods."""

    central: dict[str, TensorErrors]
    complex_step: dict[str, TensorErrors]


@dataclass(frozen=True)
class GradientErrors:
    """The whole gradient check: at the initial weights, and at large ones. `step` is the step size ξ."""

    passed: bool
    step: float
    threshold: float
    central: dict[str, TensorErrors]
    complex_step: dict[str, TensorErrors]
    large_weights: MethodErrors

    @property
    def entries(self) -> int:
        """How many entries of the gradient the complex step compared at the initial weights."""
        return sum(found.entries for found in self.complex_step.values())

    @property
    def max_scaled_error(self) -> float:
        """The largest error against the complex step, at both sets of weights: what `threshold` limits."""
        checks = (self.complex_step, self.large_weights.complex_step)
        return max(found.max_scaled_error for tensors in checks for found in tensors.values())


@dataclass(frozen=True)
class ErrorRow:
    """One tensor's errors as a row of a table."""

    weights: str
    method: str
    tensor: str
    max_absolute_error: float
    max_relative_error: float
    max_scaled_error: float
    entries: int
    exact_zeros: int


@dataclass(frozen=True)
class StepSizeError:
    """The largest relative error of some entries of a tensor at one step size ξ; tensor "all": of all of them."""

    method: str
    step: float
    tensor: str
    max_relative_error: float


@dataclass(frozen=True)
class HistoryRow:
    """What was logged at a training step; losses are in nats per window."""

    step: int
    epoch: int
    loss: float
    smooth_loss: float
    validation_nats_per_char: float | None


@dataclass(frozen=True)
class Sample:
    """A text that the network wrote after a training step."""

    step: int
    smooth_loss: float
    text: str


@dataclass(frozen=True)
class TrainingWarning:
    """What was found wrong with a training, and the training step at which it was found.

    `kind` is "above_uniform", "rising", "saturated" or "overfitting"; `message` says it in a line.
    """

    step: int
    kind: str
    message: str


@dataclass(frozen=True)
class Quartiles:
    """A quarter of the values are below `low`, half below `median`, and a quarter above `high`."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class GradientNorms:
    """Quartiles over windows of the norm of a gradient 0, 1, 2, … time steps back; None where one is not finite."""

    low: list[float | None]
    median: list[float | None]
    high: list[float | None]


@dataclass(frozen=True)
class GateSaturation:
    """The shares of a gate's values that are left-saturated, below 0.1 (closed), and right-saturated, above 0.9."""

    left: float
    right: float


@dataclass(frozen=True)
class Dynamics:
    """What happens inside a network as it reads a text.

    `gradient_norms` has for each state, "h", the LSTM's "c", "layer1.h" and so on, the norm of ∂L_T/∂h_{T-k} for
    k = 0, 1, … time steps back, L_T being the loss of the last time step alone. `spectral_radius` is that of each
    square block of W, by its name ("W", or "W_r", "W_z", … by gate), None where its eigenvalues are not found;
    `saturated` the share of |h| > 0.999 by layer, and `gates` the saturation of each gate.
    """

    gradient_norms: dict[str, GradientNorms]
    spectral_radius: dict[str, float | None]
    saturated: dict[str, float]
    gates: dict[str, GateSaturation]


@dataclass(frozen=True)
class Inspection:
    """A look inside a training after the update `step`: at the network, and at the update that comes next.

    `clipped` is the share of the gradient's entries that are clipped by value, None where that is off; `update_ratio`
    |Δθ| / |θ| of each tensor, None where |θ| = 0; `step_size` the effective step size of each tensor's entries, of
    those alone that have had a gradient, None where none has; it is empty where the rule has none.
    """

    step: int
    dynamics: Dynamics
    clipped: float | None
    update_ratio: dict[str, float | None]
    step_size: dict[str, Quartiles | None]


@dataclass(frozen=True)
class TrainingMetrics:
    """How a training ended, and why it `stopped`: "steps", "smooth_loss", "patience" or "max_seconds".

    `initial_sha256` is the hash of the model file that it started from; None where it started anew.
    """

    steps: int
    epochs: int
    loss: float
    smooth_loss: float
    nats_per_char: float
    bits_per_char: float
    validation_nats_per_char: float | None
    validation_bits_per_char: float | None
    best_step: int | None
    best_validation_nats_per_char: float | None
    stopped: str | None
    initial_sha256: str | None = None


@dataclass(frozen=True)
class GroupLoss:
    """The mean loss of some of the characters of a text, and their share of the total loss of all of them."""

    name: str
    characters: int
    nats_per_char: float
    share: float


@dataclass(frozen=True)
class Evaluation:
    """How well a model predicts a text; of one with fewer than two characters there is no score.

    `characters` are those that are predicted: all but the first. `skipped` unknown ones were left out. `carried` is the
    score with the state carried through the text, `windows` that in windows of `window` characters, each from a zero
    state. `by_position` is the loss at positions in these windows, such as "3–4"; `by_kind` and `costliest` are of the
    characters that are predicted with carried state.
    """

    characters: int
    skipped: int
    window: int
    carried: Score | None
    windows: Score | None
    by_position: list[GroupLoss]
    by_kind: list[GroupLoss]
    costliest: list[GroupLoss]


@dataclass(frozen=True)
class ModelEvaluation(Evaluation):
    """An evaluation with the model and the text that it is of.

    `model` is "best", "last" or the path of a file; `text` is the path of one, None for the validation text.
    """

    model: str
    model_sha256: str
    text: str | None


@dataclass(frozen=True)
class Quality:
    """Figures of a written text: its size, how much of it is words that the training text has, how much is copied.

    `known_word_fraction` is the share of its words that occur in the training text (0 without words), and
    `longest_copy` the length of the longest passage that stands in the training text to the letter.
    """

    characters: int
    distinct_characters: int
    words: int
    distinct_words: int
    known_word_fraction: float
    longest_copy: int


@dataclass(frozen=True)
class Result:
    """The fingerprint `result` of a whole result: a hash of the sha256 of each of its files."""

    result: str
    files: dict[str, str]
