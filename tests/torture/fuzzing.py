"""Configurations and corpora of random content: each is taken or refused in one line, in time and in memory.

Most attempts are calls in this process, where many fit into the time of one process: an alarm ends what takes too long,
a limit of the data segment what takes too much memory, and an audit hook notices what runs code.
"""

import contextlib
import os
import random
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import yaml

from charloom.adapters.configuration import load
from charloom.adapters.configuration.schema import KEYS
from charloom.adapters.files import corpus
from charloom.core.common.errors import CharloomError, ConfigError
from tests.project import ROOT, Project, copy_configuration
from tests.torture.promise import Promise

_SECONDS = 5
_BYTES = 512 << 20
# What a program raises through `sys.addaudithook` before it does something that reading data never needs.
_CODE = {
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "os.system",
    "pickle.find_class",
}
_CODE |= {"subprocess.Popen", "ctypes.dlopen", "socket.connect", "socket.bind", "shutil.rmtree", "webbrowser.open"}
_watched: list[str] | None = None  # the forbidden events of an attempt; None: nothing is watched


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched is not None and event in _CODE:
        _watched.append(f"{event}{arguments}")


sys.addaudithook(_audit)  # which cannot be taken away again


def _too_late(signum: int, frame: FrameType | None) -> NoReturn:
    raise AssertionError(f"took more than {_SECONDS} s")


@contextlib.contextmanager
def bounded(folder: Path) -> Iterator[None]:
    """Run the block in the folder; AssertionError for code that it runs, and for too much time or memory."""
    global _watched
    before, limits = Path.cwd(), resource.getrlimit(resource.RLIMIT_DATA)
    handler = signal.signal(signal.SIGALRM, _too_late)
    signal.alarm(_SECONDS)
    resource.setrlimit(resource.RLIMIT_DATA, (_used_bytes() + _BYTES, limits[1]))
    os.chdir(folder)
    _watched = []
    try:
        yield
        assert not _watched, _watched
    except MemoryError:
        raise AssertionError("took more than 512 MB") from None
    finally:
        _watched = None
        os.chdir(before)
        resource.setrlimit(resource.RLIMIT_DATA, limits)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)


def _used_bytes() -> int:
    """What counts under the limit now: private memory that may be written."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    return pages * resource.getpagesize()


def in_one_line(work: Callable[[], object], *, code: int) -> None:
    """Do the work; AssertionError where it fails other than by an error of one line with this exit code."""
    try:
        work()
        return
    except CharloomError as error:
        refused = error
    assert refused.exit_code == code, repr(refused)
    assert "\n" not in str(refused), repr(refused)
    assert len(str(refused)) < 20_000, repr(refused)


_WORDS = """
    0 1 -1 2 7 1e3 1e999 -0.0 .5 0x10 0o17 1_000 007 1:30:00 nan inf -inf null ~ true false yes off 9999-99-99
    rnn gru adam float32 utf-8 utf-16 idna klingon ../.. /dev/null /dev/zero data/corpus.txt '' [] {} [1,2] {a:1} 1,2
    choice(1,2) range(1,3) sort(3,1) interval(1,2) tag(log,interval(0,.5)) range(1,1000000000) optuna
    network ${seed} ${inp}${out} ${oc.env:HOME} ${oc.decode:1} ${now:%Y} ${hydra:run.dir} ${a.b
    ${ \\ " ' # !!python/object/apply:os.system _target_ hydra __class__ €
"""
_ODD = ("", " ", "\n", "\t", "\0", "\x1b[2J", "\ud800", "\u2028", "a b", "9" * 400, "9" * 5000, "x" * 9000, "[" * 500)
_PREFIXES = ("", "+", "++", "~", "hydra.", "hydra/", "/", "@", "-", "--")
_GROUPS = (
    "preset",
    "model",
    "optimizer",
    "tracking",
    "model@train",
    "hydra/launcher",
    "hydra/sweeper",
    "search",
    "nothing",
)


def _text(rng: random.Random) -> str:
    """A word that is dangerous somewhere, or characters from anywhere."""
    if rng.random() < 0.8:
        return "".join(rng.choices((*_WORDS.split(), *_ODD), k=rng.choice((1, 1, 1, 1, 2, 3))))
    return "".join(chr(rng.randrange(1, rng.choice((128, 0x3000, 0x110000)))) for _ in range(rng.randrange(12)))


def _number(rng: random.Random) -> str:
    """A number of any size, as it may be typed."""
    whole = rng.choice((rng.randrange(-3, 70), rng.randrange(10**7), 2 ** rng.randrange(200), 10 ** rng.randrange(400)))
    return rng.choice((str(whole), f"{whole}.0", f"{rng.uniform(-2, 2)}", f"1e{rng.randrange(-400, 400)}", f"-{whole}"))


def _override(rng: random.Random) -> str:
    key = rng.choice((*KEYS, *KEYS, *_GROUPS, _text(rng)))
    value = _number(rng) if rng.random() < 0.4 else _text(rng)
    other = (f"{rng.choice(_PREFIXES)}{key}={value}", key, f"~{key}", value)
    return rng.choice(other) if rng.random() < 0.3 else f"{key}={value}"


def _structure(rng: random.Random, depth: int = 0) -> Any:
    """A value as a YAML file may have it."""
    kind = rng.randrange(8)
    if depth < 3 and kind == 0:
        return [_structure(rng, depth + 1) for _ in range(rng.randrange(4))]
    if depth < 3 and kind == 1:
        return {rng.choice((_text(rng), rng.choice(KEYS))): _structure(rng, depth + 1) for _ in range(rng.randrange(4))}
    whole = rng.choice((0, 1, -1, 2**70, 10**400))
    return rng.choice((None, True, whole, rng.uniform(-1, 1) * 10 ** rng.randrange(-300, 300), _text(rng), b"\xff"))


def _params(rng: random.Random) -> bytes:
    """A params.yaml with some values changed, or with some of its characters."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    if rng.random() < 0.5:
        values = yaml.load(text, Loader=yaml.CSafeLoader)
        for _ in range(rng.randrange(1, 5)):
            section = rng.choice((values, *(value for value in values.values() if isinstance(value, dict))))
            section[rng.choice((*section, "another"))] = _structure(rng)
        return yaml.dump(values, allow_unicode=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    content = bytearray(text.encode())
    for _ in range(rng.randrange(1, 8)):
        at = rng.randrange(len(content))
        inserted = rng.choice(
            (_text(rng), "&a [*a]", "<<: *a", "- ", ": ", "!!binary ", "? ", "%YAML 1.2\n---\n", "${seed}")
        )
        content[at : at + rng.choice((0, 0, 1, 30))] = inserted.encode("utf-8", "surrogatepass")
    return bytes(content)


def try_configuration(seed: int, folder: Path) -> None:
    """Compose and check overrides, every third time with a params.yaml, of random content."""
    rng = random.Random(seed)
    copy_configuration(folder / "project")
    if seed % 3 == 0:
        (folder / "project" / "params.yaml").write_bytes(_params(rng))
    overrides = [_override(rng) for _ in range(rng.choice((0, 1, 1, 1, 2, 5)))]
    overrides += ["hydra/sweeper=optuna"] if rng.random() < 0.1 else []
    with bounded(folder / "project"):
        in_one_line(lambda: load(overrides, multirun=rng.random() < 0.2), code=ConfigError.exit_code)


_ENCODINGS = """
    utf-8 utf-8-sig utf-16 utf-16-le utf-16-be utf-32 utf-7 ascii latin-1 cp1252 cp437 cp037 koi8-r
    shift_jis euc-jp iso2022_jp gb18030 big5 hz
"""


def _content(rng: random.Random, encoding: str) -> bytes:
    """A text in the encoding or in another, bytes from anywhere, or a mixture."""
    size = rng.choice((0, 1, 2, 10, 1000, 20_000))
    alphabet = [chr(rng.randrange(1, rng.choice((128, 0x3000, 0x110000)))) for _ in range(rng.choice((1, 2, 60, 5000)))]
    text = "".join(rng.choices(alphabet, k=size))
    written = rng.choice((encoding, encoding, "utf-8", "utf-16"))
    try:
        content = text.encode(written, rng.choice(("replace", "ignore", "surrogatepass")))
    except (LookupError, ValueError):
        content = rng.randbytes(size)
    if rng.random() < 0.5 and content:
        at = rng.randrange(len(content))
        inserted = rng.choice((b"\xff", b"\x00" * 9, b"\r\n", b"\r", b"\xef\xbb\xbf", b"+2AA-", rng.randbytes(30)))
        content = content[:at] + inserted + content[at + rng.randrange(3) :]
    return content


def try_corpus(seed: int, folder: Path) -> None:
    """Prepare a text of random content and encoding, and read back what was written."""
    rng = random.Random(seed)
    encoding, newline = rng.choice(_ENCODINGS.split()), rng.choice(("universal", "keep"))
    path, out = folder / "text", folder / "prepare"
    path.write_bytes(_content(rng, encoding))
    fraction = rng.choice((0.0, 0.1, 0.5, 0.999))

    def prepare_and_load() -> None:
        summary = corpus.prepare(path, out, encoding=encoding, newline=newline, validation_fraction=fraction)
        text = corpus.load(folder)
        read = corpus.read_text(path, encoding=encoding, newline=newline)
        assert text.vocabulary.decode([*text.train_ids, *text.validation_ids]) == read
        assert summary.characters == len(read)

    with bounded(folder):
        in_one_line(prepare_and_load, code=3)


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (_BYTES, _BYTES))


def try_process(seed: int, folder: Path) -> None:
    """What a configuration of random content does to the prepare stage as a process."""
    rng = random.Random(seed)
    project = Project.create(folder / "project")
    if seed % 2:
        (project.root / "params.yaml").write_bytes(_params(rng))
    texts = (_override(rng).replace("\0", "").encode("utf-8", "replace").decode() for _ in range(rng.randrange(4)))
    overrides = [text for text in texts if text not in ("-h", "--help")]
    ended = project.try_stage("prepare", *overrides, preexec_fn=_limit_memory, variables={"OPENBLAS_NUM_THREADS": "1"})
    if ended.code:
        assert ended.code in (2, 3, 5), ended
        ended.assert_one_error(ended.code)


PROMISES = (
    Promise("a configuration of random content is taken or refused in one line", try_configuration, 20_000, 40),
    Promise("a text of random bytes and encoding is prepared whole or refused in one line", try_corpus, 70_000, 100),
    Promise("a command with a random configuration ends by itself, in one line", try_process, 500, 2),
)
