"""Published corpora: downloaded once, checked against a known sha256, ready to be named as `data.path`.

The only module that knows pooch. Knows nothing about the content of a text.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests
from tqdm import tqdm

from charloom.adapters.arguments import Parser
from charloom.adapters.command import exit_code
from charloom.adapters.configuration import project_root
from charloom.core.common.errors import ConfigError, DataError, EnvironmentFault


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

_FOLDER = Path("data/downloads")  # in the project
_TIMEOUT = (10.0, 20.0)  # seconds to connect, and between two pieces of data
_RETRIES = 2


def main(argv: Sequence[str] | None = None) -> int:
    """The command `python -m charloom.fetch`; its exit code."""
    return exit_code(lambda: _run(argv))


def fetch(corpus: Published, folder: Path, *, url: str | None = None) -> bool:
    """Download `corpus` into `folder` unless it is there already; returns whether it was downloaded.

    `url` is a mirror. The file is replaced in one move, after the check: a failure leaves it as it was. Raises
    DataError for other content, EnvironmentFault for the network and the disk, ConfigError for a `url` that is not a
    web address.
    """
    target = folder / corpus.file_name
    source = corpus.url if url is None else url
    if not re.match("https?://[^/]", source):
        raise ConfigError(f"--url must be an http or https address, got {source!r}")

    def download(url: str, file: str, caller: object) -> None:
        # pooch asks for bool(bar), which is an error without a total: 1 stands in until the server names one.
        with tqdm(total=1, unit="B", unit_scale=True, ncols=79, disable=None) as bar:  # None: off a terminal
            headers = {"Accept-Encoding": "identity"}  # the bar counts the file's own bytes
            pooch.HTTPDownloader(progressbar=bar, timeout=_TIMEOUT, headers=headers)(url, file, caller)
        if (found := pooch.file_hash(file)) != corpus.sha256:
            raise DataError(
                f"{url} is not the published {corpus.file_name}: sha256 must be {corpus.sha256}, "
                f"got {found}; nothing was kept, give another mirror with --url"
            )

    pooch.get_logger().setLevel("WARNING")  # the command says itself what happened
    try:
        if target.exists() and pooch.file_hash(str(target)) == corpus.sha256:
            return False
        pooch.Pooch(
            folder, "", {corpus.file_name: corpus.sha256}, {corpus.file_name: source}, retry_if_failed=_RETRIES
        ).fetch(corpus.file_name, downloader=download)
    except (requests.RequestException, ValueError) as error:
        raise EnvironmentFault(
            f"{source} could not be downloaded ({_reason(error)}); check the network or give a mirror with --url"
        ) from error
    except OSError as error:
        raise EnvironmentFault(
            f"{target} could not be written ({_reason(error)}); make room for it or give another folder with --to"
        ) from error
    return True


def _reason(error: BaseException) -> str:
    """The root cause in one line; requests and urllib3 wrap it in up to three layers."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}".rstrip()
    while inner := error.__cause__ or error.__context__:
        error = inner
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def _run(argv: Sequence[str] | None) -> None:
    names = ", ".join(CORPORA)
    parser = Parser("python -m charloom.fetch", "Download a published corpus and check its sha256.")
    parser.add_argument("name", help=f"one of: {names}")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help=f"default: {_FOLDER} in the project")
    parser.add_argument("--url", help="a mirror to download from; the content must be the same")
    arguments = parser.parse_args(argv)
    if arguments.name not in CORPORA:
        raise ConfigError(f"the name of a corpus must be one of {names}, got {arguments.name!r}")

    corpus = CORPORA[arguments.name]
    folder = arguments.to.resolve() if arguments.to else project_root() / _FOLDER
    state = "downloaded to" if fetch(corpus, folder, url=arguments.url) else "already there:"
    print(f"{state} {folder / corpus.file_name}, sha256 as published")
    path = (folder if arguments.to else _FOLDER) / corpus.file_name  # data.path is taken from the project's root
    print(f"train on it: python -m charloom.experiment {shlex.quote(f'data.path={path}')}")
