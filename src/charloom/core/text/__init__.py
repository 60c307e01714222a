"""Texts: characters, ids, kinds, features of places, n-gram models, and the quality of a generated text."""

from charloom.core.text.features import features
from charloom.core.text.kinds import KINDS, kind
from charloom.core.text.ngrams import NGrams, baselines
from charloom.core.text.quality import passage_quality, quality
from charloom.core.text.vocabulary import Vocabulary, code_points

__all__ = [
    "KINDS",
    "NGrams",
    "Vocabulary",
    "baselines",
    "code_points",
    "features",
    "kind",
    "passage_quality",
    "quality",
]
