"""Which model is served, and as which MLflow model: of a result, of a file, or one that MLflow keeps."""

import os
from pathlib import Path

from charloom.adapters.configuration import Config
from charloom.adapters.files import artifacts, models
from charloom.adapters.serving.app import Served
from charloom.adapters.tracking import registry
from charloom.adapters.tracking.store import opened
from charloom.core.common.errors import StateError
from charloom.core.network import Model

_SCHEMES = ("models:/", "runs:/")
_CHOICES = "give --model a folder of results, a model file or an address such as models:/story@champion"


def find(choice: str | None, config: Config, folder: Path) -> tuple[Served, Path]:
    """The model that is served, and the folder of it as an MLflow model, which is made in `folder` where there is none.

    Raises StateError where there is no such model, EnvironmentFault where MLflow does not answer.
    """
    if choice is None and config.model.register_as:
        choice = f"models:/{config.model.register_as}@{registry.CHAMPION}"
    if choice and choice.startswith(_SCHEMES):
        with opened(config.tracking, f"{choice} cannot be served") as store:
            mlflow_model = registry.download(store, choice, folder)
        found = next(mlflow_model.glob("artifacts/*.npz"), None)
        if found is None:
            raise StateError(f"{choice} is no model of charloom's; {_CHOICES}")
        return _served(models.load(found), choice), mlflow_model
    path = Path(choice or config.inp)
    if path.is_dir():
        path = path / artifacts.BEST_MODEL.name
    if not os.path.lexists(path):
        raise StateError(f"there is no model {path}; run `make repro` first, or {_CHOICES}")
    served = _served(models.load(path), str(path))
    registry.save(path, folder / "model")
    return served, folder / "model"


def _served(model: Model, name: str) -> Served:
    return Served(model, name, model.describe())
