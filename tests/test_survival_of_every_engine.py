"""Whatever is trained, by whatever rule: killed and taken up again, it ends bit for bit like one that was not."""

import pytest

from tests.project import Project

SMALL = ("preset=smoke", "train.checkpoint_every=50")


@pytest.mark.parametrize(
    "overrides",
    [
        (
            "model=gru",
            "optimizer=adam",
            "model.layers=2",
            "model.dropout=0.3",
            "model.output_dropout=0.1",
            "train.batch_size=3",
            "train.reset_probability=0.3",
            "optimizer.schedule=cosine",
            "optimizer.warmup_steps=20",
        ),
        ("model=lstm", "optimizer=rmsprop", "model.dtype=float32", "data.validation_fraction=0"),
        ("model=rnn", "optimizer=sgd", "optimizer.schedule=steps", "train.patience=2", "train.validate_every=30"),
        ("model=gru", "optimizer=soap", "model.output_dropout=0.2", "train.batch_size=4", "train.workers=2"),
    ],
    ids=[
        "gru-adam-dropout-layers-streams-cosine",
        "lstm-rmsprop-float32",
        "rnn-sgd-steps-patience",
        "gru-soap-two-processes",
    ],
)
def test_whatever_is_trained_goes_on_bit_for_bit(
    prepared: Project, project: Project, overrides: tuple[str, ...]
) -> None:
    if "data.validation_fraction=0" in overrides:
        prepared.stage("prepare", *overrides)
    other = prepared.copy_to(project.root.with_name("the other"))
    other.stage("train", *SMALL, *overrides)
    prepared.train_until_killed(50, *SMALL, *overrides)
    ended = prepared.stage("train", *SMALL, *overrides)
    assert "going on from step 50 " in ended.errors
    assert prepared.hashes() == other.hashes()
