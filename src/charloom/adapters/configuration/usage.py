"""The text of `--help`: what the arguments of stages, experiments and sweeps may be."""

import shutil
import textwrap
from collections.abc import Mapping
from itertools import groupby

from charloom.adapters.configuration.options import HYDRA, Key, Options

_ARGUMENTS = """Arguments are keys with their values, such as model.hidden_size=200, and preset=smoke,
inp=<folder whose stage folders are read; default artifacts>, out=<folder that is written; default a new one>."""

_EXAMPLES = """
  python -m charloom.experiment preset=smoke model=gru
  python -m charloom.experiment model.hidden_size=200 optimizer.learning_rate=0.05 train.steps=20000
  python -m charloom.experiment -m optimizer.learning_rate=0.05,0.1 model.hidden_size=64,100
  python -m charloom.experiment -m preset=smoke model=rnn,gru,lstm seed=1,2,3
  python -m charloom.experiment --cfg job preset=smoke
""".strip("\n")
_COLUMNS = (30, 15, 12)  # of a key's name, its default value and its range
_WIDTH = 110  # where the terminal's is unknown


def experiment(stages: Mapping[str, str]) -> str:
    """All that may be said of an experiment or a sweep; `stages` has what each stage does."""
    options = Options.here()
    parts = {
        "Stages, in this order; each also runs alone, as python -m charloom.stages.<name>": _table(stages),
        "Option groups, from conf/: values that belong together, under one name": _groups(options),
        "Of a sweep, with -m": _table({group: " | ".join(names) for group, names in HYDRA.items()}),
        "Keys, with their default values and ranges, from params.yaml and conf/": _keys(options.keys),
        "Examples": _EXAMPLES,
        "More": "  docs/sweeps.md. For completion in the shell: python -m charloom.completion --help",
    }
    return "\n\n".join(f"{title}:\n{text}" for title, text in parts.items())


def stage(doc: str) -> str:
    """All that may be said of a stage, whose docstring opens with its name."""
    read = _keys(Options.here().read_by(doc.partition(":")[0]))
    return f"{doc.strip()}\n{_ARGUMENTS}\n\nKeys that it reads, with their default values and ranges:\n{read}"


def _keys(keys: Mapping[str, Key]) -> str:
    """Keys with their default values and ranges, a paragraph for each section."""
    sections = groupby(keys.values(), lambda key: key.name.rpartition(".")[0])
    return "\n\n".join("\n".join(map(_line, section)) for _, section in sections)


def _groups(options: Options) -> str:
    """The option groups, and beneath each what its options are for, where their files say it."""
    lines = []
    for group, found in options.groups.items():
        lines.append(_row(group, " | ".join(found)))
        lines += [_row(f"  {group}={name}", comment) for name, comment in found.items() if comment]
    return "\n".join(lines)


def _table(rows: Mapping[str, str]) -> str:
    """Names, each with what there is to say of it."""
    return "\n".join(map(_row, rows, rows.values()))


def _row(name: str, text: str) -> str:
    """A name, and a text beside it that is wrapped to the terminal's width."""
    return _wrapped(f"  {name}".ljust(_COLUMNS[0]), text)


def _line(key: Key) -> str:
    name, value, bounds = _COLUMNS
    return _wrapped(f"  {key.name}".ljust(name) + key.default.ljust(value) + key.range.ljust(bounds), key.comment)


def _wrapped(start: str, text: str) -> str:
    width = max(shutil.get_terminal_size((_WIDTH, 0)).columns - 1, len(start) + 30)
    first, *others = textwrap.wrap(text, width - len(start)) or [""]
    return "\n".join([f"{start} {first}".rstrip(), *(" " * len(start) + f" {line}" for line in others)])
