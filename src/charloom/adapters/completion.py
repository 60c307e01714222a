"""Completion of `python -m charloom.…` in a shell: the scripts that install it, and the answers to what they ask.

The scripts know nothing of charloom's: they send the line up to the cursor and offer what comes back, one candidate a
line, each a whole word with the space that may follow it. All that a shell has besides for `python` stays.
"""

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.resources import files

from charloom.adapters.configuration.options import HYDRA, Key, Options

# In bash, what is completed starts behind the last `=` of the word, so the candidates lose what is before it.
_BASH = r"""
declare -F _completion_loader >/dev/null && _completion_loader python 2>/dev/null
declare -F _comp_load >/dev/null && _comp_load python 2>/dev/null
_charloom_otherwise=$(complete -p python 2>/dev/null | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
[ "$_charloom_otherwise" != _charloom ] || _charloom_otherwise=
_charloom() {
    local line=${COMP_LINE:0:COMP_POINT}
    if [[ $line =~ [[:space:]]-m[[:space:]]+charloom ]]; then
        local word=${line##*[[:space:]]}
        compopt -o nospace
        mapfile -t COMPREPLY < <("${1/#\~/$HOME}" -m charloom.completion answer "$line" 2>/dev/null)
        if [[ $word == *=* && $COMP_WORDBREAKS == *=* ]]; then
            COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*=}"}"}")
        fi
    elif [[ -n $_charloom_otherwise ]]; then
        "$_charloom_otherwise" "$@"
    fi
}
complete -o bashdefault -o default -F _charloom python python3
"""
_ZSH = r"""
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
_charloom_otherwise=${${_comps[python]:#_charloom}:-_default}
_charloom() {
    if [[ $LBUFFER == *[[:space:]]-m[[:space:]]##charloom* ]]; then
        local -a found
        found=("${(@f)$(${~words[1]} -m charloom.completion answer "$LBUFFER" 2>/dev/null)}")
        compadd -Q -S '' -- $found
    else
        $_charloom_otherwise "$@"
    fi
}
compdef _charloom python python3
"""
_FISH = r"""
function _charloom
    set -l words (commandline -opc)
    $words[1] -m charloom.completion answer (commandline -cp | string collect) 2>/dev/null | string trim --right
end
complete -c python -c python3 -n 'commandline -cp | string match -qr "\s-m\s+charloom"' -f -a '(_charloom)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

_FLAGS: dict[str, dict[str, list[str]]] = {
    "experiment": {"-m": [], "--multirun": [], "--cfg": ["job", "hydra", "all"], "--help": []},
    "serve": {"--model": [], "--host": [], "--port": [], "--no-browser": [], "--help": []},
    "sweep": {"--preset": [], "--force": [], "--help": []},
    "tracking": {"--port": [], "--no-browser": [], "--help": []},
}
_SECTIONS = {
    "serve": ["tracking", "model.register"],
    "sweep": ["sweep.objective"],
    "tracking": ["tracking"],
}  # that the other commands read


def answer(line: str) -> list[str]:
    """What may stand in the place of the last word of a command line, up to the cursor, that runs `-m charloom…`.

    >>> answer("python -m charloom.experiment train.th")
    ['train.threads=']
    """
    words = _split(line)
    words = words[words.index("-m") + 1 :]
    candidates = _arguments(words) if words[1:] else ((f"charloom.{name}", " ") for name in _commands())
    return [text.replace(" ", r"\ ") + end for text, end in sorted({*candidates}) if text.startswith(words[-1])]


def _split(line: str) -> list[str]:
    """The words of a line, the last of which may be half of one, or empty."""
    for end in ("", "'", '"'):
        try:
            return shlex.split(line + end) + ([""] if line[-1:].isspace() and not end else [])
        except ValueError:  # a quote is open
            continue
    return line.split(" ")


def _commands() -> Iterator[str]:
    """The modules that are commands, by their names in the package."""
    for prefix in ("", "stages."):
        for path in files(f"charloom.{prefix}".rstrip(".")).iterdir():
            if path.name.endswith(".py") and "\nif __name__ ==" in path.read_text(encoding="utf-8"):
                yield prefix + path.name.removesuffix(".py")


def _arguments(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The candidates for the last of a command's words, each with what follows it."""
    command, *given, word = words
    command = command.removeprefix("charloom.")
    flags, previous = _FLAGS.get(command, {"--help": []}), given[-1] if given else ""
    if choices := flags.get(previous, []):
        yield from ((choice, " ") for choice in choices)
        return
    key, equals, value = word.partition("=")
    keys, groups = _taken(command)
    if not keys:
        yield from _paths(word)
    elif equals:
        several = bool({"-m", "--multirun"} & {*given})
        first, comma, last = value.rpartition(",") if several else ("", "", value)
        found = (
            ((choice, "" if several else " ") for choice in groups[key])
            if key in groups
            else _values(keys.get(key), last)
        )
        yield from ((f"{key}={first}{comma}{text}", end) for text, end in found)
    else:
        yield from ((name, "=") for name in groups)
        for name in keys:
            section, dot, _ = name.partition(".")
            yield (name, "=") if "." in word or not dot else (section, dot)
    yield from ((flag, " ") for flag in flags)


def _taken(command: str) -> tuple[dict[str, Key], dict[str, list[str]]]:
    """The keys that a command takes, and the groups with their options."""
    options = Options.here()
    if command == "experiment":
        keys = options.keys
    elif command.startswith("stages."):
        keys = options.read_by(command.removeprefix("stages."))
    else:
        keys = options.within(_SECTIONS.get(command, []))
    sections = {name.partition(".")[0] for name in keys if name != "model.register"}
    groups = {
        group: list(found)
        for group, found in options.groups.items()
        if group in sections or (group == "preset" and "kernels" in sections)
    }
    return keys, groups | (HYDRA if command == "experiment" else {})


def _values(key: Key | None, text: str) -> Iterator[tuple[str, str]]:
    """The values that a key may take where they are few, the paths, or its default value."""
    if key is None:
        return
    if key.is_path:
        yield from _paths(text)
    default = [] if key.default in ("null", '""') else [key.default]
    yield from ((value, " ") for value in key.values or default)


def _paths(text: str) -> Iterator[tuple[str, str]]:
    """The files and folders whose path starts with a text."""
    folder, slash, start = text.rpartition("/")
    with suppress(OSError), os.scandir(folder + slash or ".") as found:
        for entry in found:
            if start.startswith(".") or not entry.name.startswith("."):
                yield folder + slash + entry.name, "/" if entry.is_dir() else " "
