"""The page on which a model is tried, a stream of what it writes, and the gate to MLflow's server of the same model.

A request is checked here, before it reaches MLflow's server: that one reads bodies of any size, ignores parameters that
it does not know, takes `null` for the text "None", and wraps what is wrong in pages of its own. Whatever is refused is
a 4xx with one line. Knows nothing about how the model was found or MLflow's server started.
"""

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http import HTTPStatus
from importlib.resources import files
from itertools import islice
from typing import Any

import requests
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from charloom.adapters import generation
from charloom.adapters.configuration.schema import REQUESTED, SynthesizeConfig
from charloom.core.common.errors import CharloomError, ConfigError, DataError
from charloom.core.common.formatting import in_one_line
from charloom.core.network import Model

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]

_LARGEST_BODY = 1 << 20  # bytes
_LONGEST_WAIT = 90  # seconds for MLflow's server, which itself gives up after 60
_PIECE = 0.03  # seconds whose characters are sent together: the stream looks smooth, and costs little
_PAGE = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
# The page asks its own server alone, and stands in no other page.
_POLICY = "; ".join(
    (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:",
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_ROWS = ("inputs", "instances", "dataframe_records")  # MLflow's names for a list of prompts


@dataclass(frozen=True)
class Served:
    """A model with what it is called and what it is, in words."""

    model: Model
    name: str
    description: str


def make_app(served: Served, api: str, hosts: list[str], lifespan: Lifespan) -> Starlette:
    """The application that serves a model, whose MLflow server has the address `api`, to requests for these `hosts`.

    Other hosts' names are refused: a page elsewhere could have its own name lead here.
    """
    session = requests.Session()
    session.trust_env = False  # no proxy stands between two processes of one machine

    async def stream(request: Request) -> Response:
        (options,) = generation.requested(*_prompt(await _body(request)))
        drawn = await run_in_threadpool(generation.characters, served.model, options.prime, options)
        return StreamingResponse(_pieces(drawn, options), headers=_HEADERS, media_type="text/plain")

    async def invocations(request: Request) -> Response:
        body = await _body(request)

        def answer() -> Response:
            for options in generation.requested(*_prompts(body)):
                served.model.encode(options.prime, name="prompt")
            return _ask(session, "POST", f"{api}/invocations", json.dumps(body))

        return await run_in_threadpool(answer)

    async def ping(request: Request) -> Response:
        return await run_in_threadpool(_ask, session, "GET", f"{api}/ping")

    async def model(request: Request) -> Response:
        return JSONResponse(_described(served), headers=_HEADERS)

    routes = [
        Route("/", _page("page.html")),
        *(Route(f"/{name}", _page(name)) for name in _PAGE if name != "page.html"),
        Route("/model", model),
        Route("/stream", stream, methods=["POST"]),
        Route("/invocations", invocations, methods=["POST"]),
        Route("/ping", ping),
    ]
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)]
    return Starlette(
        routes=routes,
        middleware=middleware,
        exception_handlers={HTTPException: _refuse, CharloomError: _refuse},
        lifespan=lifespan,
    )


def _page(name: str) -> Callable[[Request], Any]:
    content = files(__package__).joinpath(name).read_bytes()

    async def page(request: Request) -> Response:
        return Response(content, headers=_HEADERS, media_type=_PAGE[name])

    return page


def _described(served: Served) -> dict[str, Any]:
    """What the page, and whoever else asks, needs to know of the model."""
    defaults = generation.checked()
    return {
        "name": served.name,
        "description": served.description,
        "characters": served.model.vocabulary.characters,
        "defaults": {name: getattr(defaults, name) for name in REQUESTED},
        "most_characters": generation.MOST_CHARACTERS,
    }


def _pieces(drawn: Iterator[str], options: SynthesizeConfig) -> Iterator[str]:
    """The characters in pieces, each sent while the next is drawn; a client that has gone is sent no more."""
    piece: list[str] = []
    due = time.monotonic() + _PIECE
    for character in islice(drawn, options.length):
        piece.append(character)
        if (now := time.monotonic()) >= due:
            yield "".join(piece)
            piece, due = [], now + _PIECE
    yield "".join(piece)


async def _body(request: Request) -> dict[str, Any]:
    """The request's JSON object. Raises HTTPException for anything else, and for one that is too large."""
    # A page elsewhere may send other types without asking first.
    if (kind := request.headers.get("content-type", "nothing")).partition(";")[0].strip() != "application/json":
        raise HTTPException(415, f"the Content-Type must be application/json, got {kind[:100]}")
    content = b""
    async for chunk in _chunks(request):
        content += chunk
        if len(content) > _LARGEST_BODY:
            raise HTTPException(413, f"a request must have at most {_LARGEST_BODY:,} bytes")
    try:
        body = json.loads(content)
    except RecursionError:
        raise HTTPException(400, "the body must be JSON, got one nested too deeply") from None
    except ValueError as error:
        raise HTTPException(400, f"the body must be JSON; {error}") from None
    if not isinstance(body, dict):
        raise HTTPException(400, 'the body must be a JSON object; try {"prompt": "Once", "length": 100}')
    return body


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    if int(request.headers.get("content-length", 0)) > _LARGEST_BODY:
        raise HTTPException(413, f"a request must have at most {_LARGEST_BODY:,} bytes")
    async for chunk in request.stream():
        yield chunk


def _prompt(body: Mapping[str, Any]) -> tuple[list[object], dict[str, Any]]:
    """The prompt of a request such as {"prompt": "Once", "length": 100}, and what else it has."""
    return [body.get("prompt")], {name: value for name, value in body.items() if name != "prompt"}


def _prompts(body: Mapping[str, Any]) -> tuple[list[object], dict[str, Any]]:
    """The prompts of a request in one of the forms that MLflow takes, and its parameters."""
    if "prompt" in body:
        return _prompt(body)
    forms = [name for name in (*_ROWS, "dataframe_split") if name in body]
    if len(forms) != 1 or body.keys() - {*forms, "params"}:
        raise ConfigError('a request must be such as {"inputs": ["Once"], "params": {"length": 100}}')
    rows, params = body[forms[0]], body.get("params") or {}
    if not isinstance(params, dict):
        raise ConfigError('params must be an object; try {"length": 100}')
    if forms == ["dataframe_split"]:
        rows = _rows_of_split(rows)
    elif isinstance(rows, dict) and rows.keys() == {"prompt"}:
        rows = rows["prompt"] if isinstance(rows["prompt"], list) else [rows["prompt"]]
    if not isinstance(rows, list):
        raise ConfigError(f'{forms[0]} must have prompts; try {{"inputs": ["Once"]}}')
    return [row["prompt"] if isinstance(row, dict) and row.keys() == {"prompt"} else row for row in rows], params


def _rows_of_split(table: object) -> list[object] | None:
    """The prompts of {"columns": ["prompt"], "data": [["Once"]]}; None where it is no such table."""
    match table:
        case {"columns": ["prompt"], "data": list(data)} if all(
            isinstance(row, list) and len(row) == 1 for row in data
        ):
            return [row[0] for row in data]
        case _:
            return None


def _ask(session: requests.Session, method: str, address: str, body: str | None = None) -> Response:
    """What MLflow's server answers; where it refuses, in one line."""
    headers = {"Content-Type": "application/json"}
    try:
        answer = session.request(method, address, data=body, headers=headers, timeout=_LONGEST_WAIT)
    except requests.Timeout:
        raise HTTPException(504, "MLflow's server does not answer; ask for fewer characters") from None
    except requests.ConnectionError:
        raise HTTPException(503, "MLflow's server is starting; try again in a few seconds") from None
    if answer.ok:
        return Response(answer.content, headers=_HEADERS, media_type="application/json")
    try:
        message = str(answer.json()["message"]).rpartition("\nError: ")[2]
    except (ValueError, KeyError, TypeError):
        message = answer.text
    raise HTTPException(answer.status_code, in_one_line(message)[:500])


async def _refuse(request: Request, error: Exception) -> Response:
    """An error as JSON, with MLflow's names."""
    if isinstance(error, HTTPException):
        status, message = error.status_code, error.detail
    else:
        status, message = 400 if isinstance(error, ConfigError | DataError) else 500, str(error)
    body = {"error_code": HTTPStatus(status).name, "message": in_one_line(message)}
    return JSONResponse(body, status, {**_HEADERS, **(getattr(error, "headers", None) or {})})
