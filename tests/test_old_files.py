"""Files that earlier versions wrote are read for ever: each format has its fixtures, which are never written anew.

A training of 60 updates left the model in fixtures/format-1, and was killed after the checkpoint of step 40. The
snapshots are of the same training with train.inspect_every=20.
"""

import hashlib
import platform
import shutil
from pathlib import Path

import pytest

import charloom
from charloom.adapters.files import archive, snapshots
from charloom.core.network import evaluate
from tests.project import Project

FIXTURES = Path(__file__).parent / "fixtures"
TEXT = "the quick brown fox jumps over the lazy dog\n" * 12
TRAINING = (
    *("seed=1", "model.cell=rnn", "model.hidden_size=3", "model.layers=1", "model.dtype=float64"),
    *("model.init_scale=0.1", "optimizer=adagrad", "optimizer.learning_rate=0.1", "train.steps=60"),
    *("train.checkpoint_every=20", "train.log_every=20", "train.sample_every=20", "train.validate_every=20"),
    *("data.validation_fraction=0.1", "train.seq_length=5", "train.batch_size=2"),
    *("train.sample_length=20", "train.final_sample_length=20"),
)
PARAMETERS_OF_STEP_60 = "c3d197a2fa3297127d7e74269b0d3ce407909debad20f8cee8b5edc9c3fd0891"


def test_every_format_has_its_fixtures() -> None:
    for kind, newest in archive.FORMATS.items():
        for version in range(1, newest + 1):
            assert list((FIXTURES / f"format-{version}").glob(f"{kind}*.npz")), (kind, version)


def test_a_model_of_format_1_is_loaded_and_has_the_loss_that_it_had() -> None:
    model = charloom.load(FIXTURES / "format-1/model.npz")
    assert model.vocabulary.characters == "".join(sorted(set(TEXT)))
    assert evaluate(model.network, model.vocabulary.encode(TEXT)) == pytest.approx(2.0790779178738266, rel=1e-12)
    assert model.generate(20, seed=1) == " ebe ocsyocgzlpl\n qh"


def test_snapshots_of_format_1_are_loaded_with_what_they_had() -> None:
    found = snapshots.load(FIXTURES / "format-1/snapshots.npz")
    assert found.steps.tolist() == [1, 10, 20, 40, 60]
    assert found.parameters["W"].shape == (5, 3, 3)
    one, values = archive.load(FIXTURES / "format-1/snapshot.npz", "snapshot")
    assert values == {"step": 40}
    assert one["c"].tolist() == found.parameters["c"][3].tolist()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other kinds of CPU round differently")
def test_a_training_goes_on_from_a_checkpoint_of_format_1_to_the_same_bytes(project: Project) -> None:
    project.corpus.write_text(TEXT, encoding="utf-8")
    project.stage("prepare", *TRAINING)
    project.train_until_killed(20, *TRAINING)
    folder = project.folder()
    shutil.rmtree(folder)
    shutil.copytree(FIXTURES / "format-1", folder, ignore=shutil.ignore_patterns("model.npz", "snapshot*.npz"))
    assert "going on from step 40" in project.stage("train", *TRAINING).errors
    model = charloom.load(project.root / "artifacts/train/model.npz")
    assert hashlib.sha256(model.network.parameters.vector.tobytes()).hexdigest() == PARAMETERS_OF_STEP_60
