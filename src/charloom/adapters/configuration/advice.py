"""What to try where a training goes wrong: the core says what is wrong, and here are the keys that change it."""

from charloom.adapters.configuration.schema import OptimizerConfig, Parameters


def on_divergence(config: Parameters, *, started_high: bool) -> str:
    """What to try after a training has diverged; `started_high`: its loss was too high at the initial weights."""
    if started_high:
        return f"lower model.init_scale ({config.model.init_scale:g})"
    options = config.optimizer
    lower = f"lower optimizer.learning_rate ({options.learning_rate:g})"
    return lower if _clips(options) else f"{lower} and set optimizer.clip_norm, which is off, to 1.0 or so"


def on_warning(kind: str, config: Parameters, *, started_high: bool, unseen: int) -> str:
    """What to try after a warning of this `kind`, one of `TrainingWarning`.

    `unseen` is the number of characters in the validation text that do not occur in the training text.
    """
    if kind == "overfitting":
        if unseen:
            return f"{unseen:,} of its characters are not in the training text, and theirs rises whatever is learned"
        stop = "" if config.train.patience else "; train.patience ends such a training early"
        return f"best.npz keeps the model with the lowest{stop}"
    if kind == "saturated" and not started_high:
        return f"lower optimizer.learning_rate ({config.optimizer.learning_rate:g}) or model.hidden_size"
    return on_divergence(config, started_high=started_high)


def _clips(options: OptimizerConfig) -> bool:
    return options.clip_value is not None or options.clip_norm is not None
