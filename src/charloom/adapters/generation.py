"""Text from a model by options that are checked as on the command line: what the library and a served model share."""

import difflib
import threading
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from charloom.adapters.configuration.messages import shown
from charloom.adapters.configuration.packaged import parameters
from charloom.adapters.configuration.schema import REQUESTED, SynthesizeConfig
from charloom.core.common.errors import ConfigError
from charloom.core.network import Model

MOST_CHARACTERS = 100_000  # that one request may ask for: seconds of a processor
_READING = threading.Lock()  # a network reads a prompt in buffers that its threads have in common
_MOST_PROMPTS = 1000


def checked(**given: Any) -> SynthesizeConfig:
    """The options of `synthesize`, with the values of params.yaml for those that are None.

    >>> checked(length=5, seed=None).seed
    1

    Raises ConfigError with all that is wrong.
    """
    return parameters({f"synthesize.{name}": value for name, value in given.items() if value is not None}).synthesize


def characters(model: Model, prompt: str, options: SynthesizeConfig) -> Iterator[str]:
    """Characters without end that continue the prompt; of the options, `length` is the caller's to keep to.

    Several threads may call this at once, and each draw from its own. The text is the same on every machine where BLAS
    has one thread: another number rounds differently. Raises DataError for a prompt with characters that are not in the
    vocabulary, unless `on_unknown` is "skip".
    """
    with _READING:
        return model.characters(
            rng=np.random.default_rng(options.seed),
            prime=prompt,
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            on_unknown=options.on_unknown,
        )


def requested(prompts: Collection[object], given: Mapping[str, Any]) -> list[SynthesizeConfig]:
    """The options of a request to a served model, for each of its prompts, which becomes `prime`.

    Raises ConfigError with what is wrong, by the names that a request uses.

    >>> requested(["Once"], {"length": -1})
    Traceback (most recent call last):
    charloom.core.common.errors.ConfigError: length must be >= 0, got -1
    """
    for name in given.keys() - set(REQUESTED):
        close = difflib.get_close_matches(str(name), REQUESTED, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(REQUESTED)}"
        raise ConfigError(f"a request has no {shown(name)}; {hint}")
    if len(prompts) > _MOST_PROMPTS:
        raise ConfigError(f"a request must have at most {_MOST_PROMPTS:,} prompts, got {len(prompts):,}")
    options = [_for_prompt(prompt, given) for prompt in prompts]
    if sum(each.length for each in options) > MOST_CHARACTERS:
        where = f" for each of {len(options)} prompts" if len(options) > 1 else ""
        raise ConfigError(f"length must be at most {MOST_CHARACTERS:,} in all, got {options[0].length:,}{where}")
    return options


def _for_prompt(prompt: object, given: Mapping[str, Any]) -> SynthesizeConfig:
    if not isinstance(prompt, str):
        raise ConfigError(f'prompt must be text, got {shown(prompt)}; give "" to start without one')
    try:
        return checked(prime=prompt, **given)
    except ConfigError as error:
        raise ConfigError(str(error).replace("synthesize.prime", "prompt").replace("synthesize.", "")) from None


def written(model: Model, options: SynthesizeConfig) -> str:
    """The prompt `prime` of the options and `length` characters after it."""
    return options.prime + "".join(islice(characters(model, options.prime, options), options.length))
