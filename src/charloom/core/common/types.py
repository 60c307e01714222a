"""The array types that all of the core speaks of."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # real or complex: the gradient check runs the same code with complex parameters
IntArray = NDArray[np.integer]  # ids of characters
Ids = NDArray[np.unsignedinteger]  # the ids of a text, in the smallest type that holds them; may be a memory map
Vector = NDArray[np.float64]  # a gradient as one flat vector
Masks = Sequence[Array | None]  # dropout: for each layer what its h is multiplied with, (T·B, m), or None
