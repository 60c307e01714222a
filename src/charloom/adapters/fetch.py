"""Published corpora: downloaded once, checked against a known sha256, ready to be named as `data.path`.

The only module that knows pooch. Knows nothing about the content of a text.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pooch
import requests
from tqdm import tqdm

from charloom.adapters.configuration import project_root
from charloom.core.common.errors import CharloomError, ConfigError, DataError, EnvironmentFault


@dataclass(frozen=True)
class Published:
    """A text on the web: its address, the sha256 that its content must have, and the name that it is kept under."""

    url: str
    sha256: str
    file_name: str


CORPORA = {
    "tinyshakespeare": Published(
        url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        file_name="tinyshakespeare.txt",
    )
}

_TIMEOUT = (10.0, 20.0)  # seconds to connect, and between two pieces of data
_ATTEMPTS = 3
_PAUSE = 1.0  # seconds between attempts
_INVALID_URL = (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL, requests.exceptions.MissingSchema)


def fetch(corpus: Published, folder: Path, *, url: str | None = None) -> bool:
    """Download `corpus` into `folder` unless it is there already; returns whether it was downloaded.

    `url` is a mirror. The file is replaced in one move, after the check: a failure leaves it as it was. Raises
    DataError for other content, EnvironmentFault for the network and the disk, ConfigError for a `url` that is not a
    web address.
    """
    target = folder / corpus.file_name
    source = corpus.url if url is None else url
    download = _downloader(corpus)
    pooch.get_logger().setLevel("WARNING")  # the command says itself what happened
    try:
        if target.exists() and pooch.file_hash(str(target)) == corpus.sha256:
            return False
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                pooch.retrieve(source, corpus.sha256, corpus.file_name, folder, downloader=download)
                break
            except requests.RequestException as error:
                if attempt == _ATTEMPTS or not _is_transient(error):
                    raise
                time.sleep(_PAUSE)
    except _INVALID_URL as error:
        raise ConfigError(f"--url must be an http or https address, got {source!r} ({_reason(error)})") from error
    except (requests.RequestException, ValueError) as error:
        raise EnvironmentFault(
            f"{source} could not be downloaded ({_reason(error)}); check the network or give a mirror with --url"
        ) from error
    except OSError as error:
        raise EnvironmentFault(
            f"{target} could not be written ({_reason(error)}); make room for it or give another folder with --to"
        ) from error
    return True


def _downloader(corpus: Published) -> Callable[[str, str, object], None]:
    """The function that fills pooch's temporary file; it shows the progress and refuses other content."""

    def download(url: str, file: str, _: object) -> None:
        # pooch asks for bool(bar), which is an error without a total: 1 stands in until the server names one.
        with tqdm(total=1, unit="B", unit_scale=True, ncols=79, disable=None) as bar:  # None: off a terminal
            pooch.HTTPDownloader(
                progressbar=bar,
                chunk_size=1 << 16,
                timeout=_TIMEOUT,
                headers={"Accept-Encoding": "identity"},  # the bar counts the file's own bytes
            )(url, file, None)
        found = pooch.file_hash(file)
        if found != corpus.sha256:
            raise DataError(
                f"{url} is not the published {corpus.file_name}: sha256 must be {corpus.sha256}, "
                f"got {found}; nothing was kept, give another mirror with --url"
            )

    return download


def _is_transient(error: requests.RequestException) -> bool:
    """Whether trying again makes sense: after a time-out or a broken connection, not after a definite answer."""
    if error.response is not None:
        return error.response.status_code == 429 or error.response.status_code >= 500
    return isinstance(error, (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError))


def _reason(error: BaseException) -> str:
    """The root cause in one line; requests and urllib3 wrap it in up to three layers."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}".rstrip()
    while inner := error.__cause__ or error.__context__:
        error = inner
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see --help")


def _run(argv: Sequence[str] | None) -> None:
    names = ", ".join(CORPORA)
    parser = _Parser(prog="python -m charloom.fetch", description="Download a published corpus and check its sha256.")
    parser.add_argument("name", help=f"one of: {names}")
    parser.add_argument(
        "--to", type=Path, metavar="FOLDER", help="the folder to download to; default: the project's data/downloads"
    )
    parser.add_argument("--url", help="a mirror to download from; the content must be the same")
    arguments = parser.parse_args(argv)
    if arguments.name not in CORPORA:
        raise ConfigError(f"the name of a corpus must be one of {names}, got {arguments.name!r}")

    corpus = CORPORA[arguments.name]
    folder = (arguments.to or project_root() / "data" / "downloads").resolve()
    target = folder / corpus.file_name
    if fetch(corpus, folder, url=arguments.url):
        print(f"downloaded to {target}, sha256 as published")
    else:
        print(f"already there: {target}, sha256 as published")
    setting = shlex.quote(f"data.path={_as_in_params(target)}")
    print(f"train on it: python -m charloom.experiment {setting}")


def _as_in_params(path: Path) -> str:
    """As a value of `data.path`: relative to the project's root if the file is below it."""
    try:
        return path.relative_to(project_root()).as_posix()
    except (ConfigError, ValueError):  # no project here, or the file is outside it
        return path.as_posix()


def main(argv: Sequence[str] | None = None) -> int:
    """The command `python -m charloom.fetch`; its exit code."""
    try:
        _run(argv)
    except CharloomError as error:
        print(f"charloom: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("charloom: error: interrupted; nothing was kept, run the command again", file=sys.stderr)
        return 130  # 128 + SIGINT
    return 0
