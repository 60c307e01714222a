"""The array types that all of the core speaks of."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""Real or complex numbers: the gradient check runs the same code with complex parameters."""

IntArray = NDArray[np.integer]
"""Ids of characters."""

Ids = NDArray[np.unsignedinteger]
"""The ids of a text, in the smallest type that holds them; may be a memory map."""

Vector = NDArray[np.float64]
"""A gradient as one flat vector."""

Masks = Sequence[Array | None]
"""Dropout: for each layer what its h is multiplied with, (T·B, m), or None."""
