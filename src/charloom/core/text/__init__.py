"""Texts: characters, their ids and their kinds, features of places, and the quality of a generated text."""

from charloom.core.text.features import features
from charloom.core.text.kinds import KINDS, kind
from charloom.core.text.quality import quality
from charloom.core.text.vocabulary import Vocabulary, code_points

__all__ = ["KINDS", "Vocabulary", "code_points", "features", "kind", "quality"]
