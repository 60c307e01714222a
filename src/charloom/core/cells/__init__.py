"""The recurrent cells. A new cell is a module here and a line in the table.

A cell owns the recurrence alone: what happens along time in one layer, forward and backward. Everything that does not
depend on the order of time is the network's: the input projection, the output, the products that give the gradients of
the weights.
"""

from typing import Any

from charloom.core.cells.cell import Cell, Params
from charloom.core.cells.gru import GRU
from charloom.core.cells.lstm import LSTM
from charloom.core.cells.rnn import RNN

CELLS: dict[str, type[Cell[Any]]] = {"rnn": RNN, "gru": GRU, "lstm": LSTM}

__all__ = ["CELLS", "GRU", "LSTM", "RNN", "Cell", "Params"]
