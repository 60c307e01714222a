"""charloom: character-level recurrent networks in NumPy, with proved gradients."""

from charloom.model import Model, load
from charloom.network import Network
from charloom.vocabulary import Vocabulary

__all__ = ["Model", "Network", "Vocabulary", "load"]
