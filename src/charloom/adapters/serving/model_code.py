"""The code of a model in MLflow, which MLflow copies beside the model's file and runs where the model is loaded.

Models from code need no pickle. Nothing imports this module: the registry names its file.
"""

from collections.abc import Mapping
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from pandas import DataFrame

from charloom.adapters import generation
from charloom.adapters.files import models
from charloom.adapters.process.workers import blas_threads
from charloom.core.common.errors import CharloomError


class Writer(PythonModel):
    """Continues each prompt of a request."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the model's file."""
        self._model = models.load(context.artifacts["model"])
        # For good: threads that serve requests at once would each restore what another has set.
        blas_threads(1)

    def predict(
        self, context: PythonModelContext, model_input: DataFrame, params: Mapping[str, Any] | None = None
    ) -> list[str]:
        """Each prompt with `length` characters after it; `params` are those of the signature."""
        try:
            requests = generation.requested(model_input["prompt"], params or {})
            return [generation.written(self._model, options) for options in requests]
        except CharloomError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None


set_model(Writer())
