"""Texts: characters and their ids, and the quality of a generated text."""

from charloom.core.text.quality import quality
from charloom.core.text.vocabulary import Vocabulary, code_points

__all__ = ["Vocabulary", "code_points", "quality"]
