"""Results in MLflow's registry of models: versions of a name, the best of them under the alias `champion`.

A version holds an MLflow model from code: the model's file, charloom's own code and pinned requirements, and no pickle.
It costs a process some seconds to import what makes one, so a result has one where it is registered, and only there.
"""

import logging
import math
import os
import tempfile
import warnings
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from charloom.adapters.configuration import TrackingConfig
from charloom.adapters.configuration.packaged import parameters
from charloom.adapters.configuration.schema import REQUESTED
from charloom.adapters.files import artifacts
from charloom.adapters.tracking.addresses import without_secrets
from charloom.adapters.tracking.payload import RESULT_TAG
from charloom.adapters.tracking.store import Store, opened
from charloom.core.common.errors import StateError
from charloom.core.common.records import Result

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

CHAMPION = "champion"
NEEDED = ("numpy", "pydantic", "pyyaml", "threadpoolctl")  # by charloom as a library; a version pins them
_LOSS_TAG = "charloom.validation_nats_per_char"
# A validation text is the last characters of a corpus: versions are compared where both tags are the same.
_TEXT_TAGS = ("charloom.corpus_sha256", "charloom.validation_characters")
_TYPES = {int: "long", float: "double"}


def register(tracking: TrackingConfig, run_id: str, inp: Path, result: Result, name: str) -> str:
    """Make the result in `inp`, recorded as `run_id`, a version of the model `name`; what became of it, as a line.

    The best version by validation loss has the alias `champion`. A result that is a version already stays that one.
    Raises EnvironmentFault where MLflow cannot be written to.
    """
    hint = "the result is recorded; give model.register again to the track stage"
    with opened(tracking, hint) as store, store.locked():
        return register_in(store, run_id, inp, result, name)


def register_in(store: Store, run_id: str, inp: Path, result: Result, name: str) -> str:
    """`register` in a store that is open, and locked against other processes of this project."""
    from mlflow.exceptions import MlflowException

    found = store.client.search_model_versions(f"name = '{name}'")
    same = next((each for each in found if each.tags.get(RESULT_TAG) == result.result), None)
    if same is None:
        if not found:
            try:
                store.client.get_registered_model(name)
            except MlflowException:
                store.client.create_registered_model(name)
        same = _create_version(store, run_id, inp, result, name)
    return f"version {same.version} of the model {name!r}: {_compare_with_champion(store, same)}"


def _compare_with_champion(store: Store, candidate: "ModelVersion") -> str:
    """Move the alias `champion` to the version where it is the best so far; what was found, in words."""
    name = candidate.name
    champion_number = store.client.get_registered_model(name).aliases.get(CHAMPION)
    if champion_number == candidate.version:
        return f"the {CHAMPION}"
    loss = candidate.tags.get(_LOSS_TAG)
    if loss is None:
        return f"nothing was validated, so it cannot be the {CHAMPION}"
    shown = f"with {float(loss):.4f} nats per character of validation text"
    if champion_number is not None:
        champion = store.client.get_model_version(name, champion_number)
        before = f"version {champion_number}"
        if any(champion.tags.get(tag) != candidate.tags.get(tag) for tag in _TEXT_TAGS):
            return f"{before} stays the {CHAMPION}: it was validated on another text, so the two are not compared"
        champion_loss = float(champion.tags.get(_LOSS_TAG, math.inf))
        if champion_loss <= float(loss):
            return f"{shown}; {before} stays the {CHAMPION} with {champion_loss:.4f}"
        shown += f", after {champion_loss:.4f} of {before}"
    store.client.set_registered_model_alias(name, CHAMPION, candidate.version)
    return f"the {CHAMPION}, {shown}"


def _create_version(store: Store, run_id: str, inp: Path, result: Result, name: str) -> "ModelVersion":
    """Log the result's model with its run, and make it a version of `name`."""
    from mlflow.entities import LoggedModelOutput

    corpus, metrics = artifacts.SUMMARY.read(inp), artifacts.METRICS.read(inp)
    texts = dict(zip(_TEXT_TAGS, (corpus.sha256, str(corpus.validation_characters)), strict=True))
    tags = {RESULT_TAG: result.result, **texts}
    if metrics.best_validation_nats_per_char is not None:
        tags[_LOSS_TAG] = repr(metrics.best_validation_nats_per_char)
    client = store.client
    logged = client.create_logged_model(store.experiment_id, name=name, source_run_id=run_id, tags=tags)
    with tempfile.TemporaryDirectory() as folder:
        save(artifacts.BEST_MODEL.path(inp / artifacts.BEST_MODEL.stage), Path(folder) / "model")
        client.log_model_artifacts(logged.model_id, str(Path(folder) / "model"))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, metrics.best_step or metrics.steps)])
    source = f"models:/{logged.model_id}"
    return client.create_model_version(name, source, run_id, tags=tags, model_id=logged.model_id)


def download(store: Store, address: str, folder: Path) -> Path:
    """Copy the MLflow model at an address such as models:/story@champion into `folder`; where it is.

    Raises StateError where MLflow has none there.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        _quiet()
        return Path(download_artifacts(address, dst_path=str(folder), tracking_uri=store.address.uri))
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        reason = without_secrets(str(error)).splitlines()[0]
        raise StateError(
            f"MLflow at {store.address} has no {address} ({reason}); register one with model.register"
        ) from None


def save(model: Path, folder: Path) -> None:
    """Make `folder` an MLflow model of a model's file, which `mlflow models serve` serves."""
    _quiet()
    source = Path(str(files("charloom")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # MLflow's own, of its own type hints
        from mlflow import pyfunc

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        pyfunc.save_model(
            folder,
            python_model=str(source / "adapters/serving/model_code.py"),
            artifacts={"model": str(model.absolute())},
            code_paths=[str(source)],
            pip_requirements=[f"{package}=={version(package)}" for package in NEEDED],
            signature=_signature(),
            input_example=([{"prompt": ""}], {"length": 20}),
        )


def _quiet() -> None:
    """Have MLflow show no progress of files that are copied in no time, and send no telemetry."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def _signature() -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    synthesize = parameters({}).synthesize
    defaults = {name: getattr(synthesize, name) for name in REQUESTED}
    params = [ParamSpec(name, _TYPES[type(value)], value) for name, value in defaults.items()]
    return ModelSignature(Schema([ColSpec("string", "prompt")]), Schema([ColSpec("string")]), ParamSchema(params))
