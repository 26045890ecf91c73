"""Defines the endpoints as a FastAPI application."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
import importlib.resources
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from rearec_jax.errors import UserError
from rearec_jax.serve import answers, documents
from rearec_jax.serve.bodies import Body, ExplainBody, Malformed, RecommendBody, parsed
from rearec_jax.serve.guard import MISTAKE, SHOWS_KEY
from rearec_jax.serve.lane import Full
from rearec_jax.serve.models import Slot
from rearec_jax.serve.queues import Workers
from rearec_jax.serve.refusals import refusal
from rearec_jax.serve.state import Service
from rearec_jax.serve.warm_model import Served, facts
from rearec_jax.version import __version__

STATIC = importlib.resources.files("rearec_jax.serve") / "static"
HIDDEN = "the reason is told to requests that show the API key"  # it may name files
QUERY, LISTED = 200, 100  # most characters of a search, most items of its answer
MOST_SEARCHES = 64  # that run at once

Limit = Annotated[int, Query(ge=1, le=LISTED)]
Name = Annotated[
    str | None, Query(min_length=1, description="name of a model; the default without it")
]


def application(service: Service, has_key: bool) -> FastAPI:
    """Returns the application with the endpoints of a server."""
    app = FastAPI(
        title="rearec_jax",
        version=__version__,
        description="Recommendations of a model that thinks before it recommends.",
        docs_url=None,  # FastAPI's own pages load their scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # such an answer would hold whatever name the request called it by
    )
    handlers: Mapping[type[Exception], Any] = {
        HTTPException: _http_error,
        RequestValidationError: _wrong_query,
        UserError: _user_error,
        Full: _always(429, "too many requests wait; try again in a moment"),
        TimeoutError: _always(504, "no answer in the time that a request may take; try again"),
        ClientDisconnect: _always(400, "the connection was closed before the body was complete"),
        Exception: _always(500, MISTAKE),  # `Guard` logs it
    }
    for kind, function in handlers.items():
        app.add_exception_handler(kind, function)
    _add_recommending(app, service)
    _add_catalogue(app, service)
    _add_state(app, service)
    _add_pages(app)
    documents.complete(app.openapi(), has_key, list(service.models.slots))
    return app


def _add_recommending(app: FastAPI, service: Service) -> None:
    limits = service.limits

    def post(
        path: str,
        kind: type[Body],
        answer: Callable[[Served, Body, Workers], Awaitable[dict[str, Any]]],
    ) -> None:
        async def endpoint(request: Request) -> Response:
            end = asyncio.get_running_loop().time() + limits.seconds
            raw = await _body(request, limits.body_bytes)  # `connections` ends what is late
            body = parsed(kind, raw, limits)
            slot = service.models.find(body.model)
            if not slot.is_ready:
                wait = {"retry-after": str(slot.retry_after)}
                raise HTTPException(503, f"the model {slot.name} {slot.state}", wait)
            async with asyncio.timeout_at(end):
                return _json(await answer(slot.current.served, body, service.workers))

        app.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            openapi_extra=documents.body(kind, limits),
            **documents.operation(path),
        )

    post("/recommend", RecommendBody, answers.recommended)
    post("/explain", ExplainBody, answers.explained)


def _add_catalogue(app: FastAPI, service: Service) -> None:
    @app.get("/models", **documents.operation("/models"))
    async def models() -> Response:
        slots = service.models.slots.values()
        default = service.models.default
        entries = [facts(one.current.served) | {"default": one is default} for one in slots]
        return _json({"models": entries})

    @app.get("/items", **documents.operation("/items"))
    async def items(
        q: Annotated[str, Query(max_length=QUERY)] = "", limit: Limit = 20, model: Name = None
    ) -> Response:
        search = service.models.find(model).current.search
        if service.searches >= MOST_SEARCHES:
            raise Full
        service.searches += 1
        try:
            async with asyncio.timeout(service.limits.seconds):
                return _json({"items": await asyncio.to_thread(search.items, q, limit)})
        finally:
            service.searches -= 1

    @app.get("/samples", **documents.operation("/samples"))
    async def samples(limit: Limit = 20, model: Name = None) -> Response:
        return _json({"samples": service.models.find(model).current.search.samples(limit)})


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/health", **documents.operation("/health"))
    async def health() -> Response:
        return _json({"status": "ok"})

    @app.get("/ready", **documents.operation("/ready"))
    async def ready(request: Request) -> Response:
        slots = service.models.slots.values()
        told = [_told(slot, request.scope[SHOWS_KEY]) for slot in slots]
        default = service.models.default
        if default.is_ready:
            return _json({"status": "ready", "models": told})
        waits = (
            f"the model {one['name']} {one['state']}"
            + (f" ({one['problem']})" if one["problem"] else "")
            for one in told
            if not one["ready"]
        )
        response = _json({"error": "; ".join(waits), "models": told}, 503)
        response.headers["retry-after"] = str(default.retry_after)
        return response

    @app.get("/metrics", response_class=PlainTextResponse, **documents.operation("/metrics"))
    async def metrics() -> Response:
        return Response(service.metrics(), media_type="text/plain; version=0.0.4")


def _add_pages(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(str(STATIC / "index.html"))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(documents.page(app.openapi()))

    app.mount("/static", StaticFiles(directory=str(STATIC)))


def _told(slot: Slot, with_problem: bool) -> dict[str, Any]:
    """Returns what /ready says of a model; its problem, or only that there is one."""
    problem = slot.problem and (slot.problem if with_problem else HIDDEN)
    return {"name": slot.name, "ready": slot.is_ready, "state": slot.state, "problem": problem}


async def _body(request: Request, most: int) -> bytes:
    """Reads a body of JSON, whose length may be unknown; raises 413 beyond ``most`` bytes.

    A page elsewhere can make a browser send a form's types of body (CSRF), but not this one.
    """
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.lower().replace('"', "").replace(" ", "")
    if kind.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise HTTPException(415, "the header Content-Type must be application/json, in UTF-8")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(415, "the body must not be compressed", {"accept-encoding": "identity"})
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise HTTPException(413, f"the body is larger than {most} bytes")
        parts.append(part)
    return b"".join(parts)


def _json(fields: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(fields), status, media_type="application/json")


def _always(status: int, sentence: str) -> Any:
    async def handler(request: Request, error: Exception) -> Response:
        return refusal(status, sentence)

    return handler


async def _http_error(request: Request, error: HTTPException) -> Response:
    messages = {404: "there is no such page", 405: "this page has another method"}
    headers = dict(error.headers or {})
    if headers.get("Allow") == "GET":
        headers["Allow"] = "GET, HEAD"
    sentence = messages.get(error.status_code, str(error.detail))
    return refusal(error.status_code, sentence, headers)


async def _wrong_query(request: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    return refusal(422, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}")


async def _user_error(request: Request, error: UserError) -> Response:
    return refusal(400 if isinstance(error, Malformed) else 422, str(error))
