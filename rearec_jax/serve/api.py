"""Defines the endpoints as a FastAPI application."""

import asyncio
from collections.abc import Awaitable, Callable
import importlib.resources
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from rearec_jax.errors import UserError
from rearec_jax.serve import answers, documents
from rearec_jax.serve.bodies import Body, ExplainBody, Malformed, RecommendBody, parsed
from rearec_jax.serve.guard import SHOWS_KEY
from rearec_jax.serve.lane import Full
from rearec_jax.serve.models import Models, Slot
from rearec_jax.serve.queues import Workers
from rearec_jax.serve.state import Service
from rearec_jax.serve.warm_model import Served, facts
from rearec_jax.version import __version__

STATIC = importlib.resources.files("rearec_jax.serve") / "static"
HIDDEN = "the reason is told to requests that show the API key"  # it may name files
QUERY, LISTED = 200, 100  # most characters of a search, most items of its answer
MOST_SEARCHES = 64  # that run at once


Limit = Annotated[int, Query(ge=1, le=LISTED)]
Name = Annotated[str | None, Query(description="name of a model; the default without it")]


def application(service: Service) -> FastAPI:
    """Returns the application with the endpoints of a server."""
    app = FastAPI(
        title="rearec_jax",
        version=__version__,
        description="Recommendations of a model that thinks before it recommends.",
        docs_url=None,  # FastAPI's own pages load their scripts from elsewhere
        redoc_url=None,
    )
    handlers: tuple[tuple[type[Exception], Any], ...] = (
        (HTTPException, _http_error),
        (RequestValidationError, _wrong_query),
        (UserError, _user_error),
        (Full, _full),
        (TimeoutError, _too_late),
        (ClientDisconnect, _gone),
        (Exception, _mistake),
    )
    for kind, function in handlers:
        app.add_exception_handler(kind, function)
    _add_recommending(app, service)
    _add_catalogue(app, service)
    _add_state(app, service)
    _add_pages(app)
    return app


def _add_recommending(app: FastAPI, service: Service) -> None:
    def post(
        path: str,
        kind: type[Body],
        answer: Callable[[Served, Body, Workers], Awaitable[dict[str, Any]]],
        summary: str,
    ) -> None:
        async def endpoint(request: Request) -> Response:
            async with asyncio.timeout(service.limits.seconds):
                raw = await _body(request, service.limits.body_bytes)
                body = parsed(kind, raw, service.limits)
                slot = service.models.find(body.model)
                if not slot.is_ready:
                    raise HTTPException(503, f"the model {slot.name} is being compiled")
                return _json(await answer(slot.current.served, body, service.workers))

        app.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            summary=summary,
            openapi_extra=documents.body(kind),
            responses=documents.responses(path),
        )

    post("/recommend", RecommendBody, answers.recommended, "The best items for each history.")
    post("/explain", ExplainBody, answers.explained, "How one list came about, step by step.")


def _add_catalogue(app: FastAPI, service: Service) -> None:
    @app.get("/models", summary="The models of this server.")
    async def models() -> Response:
        slots = service.models.slots.values()
        default = service.models.default
        entries = [facts(one.current.served) | {"default": one is default} for one in slots]
        return _json({"models": entries})

    @app.get("/items", summary="Items by the words of their titles or ids, popular ones first.")
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

    @app.get("/samples", summary="Histories of a few test users, to try a model on.")
    async def samples(limit: Limit = 20, model: Name = None) -> Response:
        return _json({"samples": service.models.find(model).current.search.samples(limit)})


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/health", summary="200 while the process lives.")
    async def health() -> Response:
        return _json({"status": "ok"})

    @app.get("/ready", summary="200 when all programs are compiled, else 503.")
    async def ready(request: Request) -> Response:
        slots = _slots(service.models, request.scope[SHOWS_KEY])
        if service.models.are_ready:
            return _json({"status": "ready", "models": slots})
        waits = [name for name, slot in service.models.slots.items() if not slot.is_ready]
        problems = {slot["name"]: slot["problem"] for slot in slots}
        named = [f"{name} ({problems[name]})" if problems[name] else name for name in waits]
        return _error(503, f"not compiled: {', '.join(named)}")

    @app.get("/metrics", summary="Counts and times, for Prometheus.")
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


def _slots(models: Models, with_problems: bool) -> list[dict[str, Any]]:
    """Returns the name of each model, and its problem or only that there is one."""

    def entry(slot: Slot) -> dict[str, Any]:
        problem = slot.problem
        return {"name": slot.name, "problem": problem and (problem if with_problems else HIDDEN)}

    return [entry(slot) for slot in models.slots.values()]


async def _body(request: Request, most: int) -> bytes:
    """Reads a body, whose length may be unknown; raises 413 beyond ``most`` bytes."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise HTTPException(
                413, f"the body is larger than {most} bytes", {"connection": "close"}
            )
        parts.append(part)
    return b"".join(parts)


def _json(fields: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(fields), status, media_type="application/json")


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    response = _json({"error": message}, status)
    response.headers.update(headers or ({"retry-after": "1"} if status in (429, 503) else {}))
    return response


async def _http_error(request: Request, error: HTTPException) -> Response:
    messages = {404: "there is no such page", 405: "this page has another method"}
    detail = messages.get(error.status_code, str(error.detail))
    return _error(error.status_code, detail, dict(error.headers or {}))


async def _wrong_query(request: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    return _error(422, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}")


async def _user_error(request: Request, error: UserError) -> Response:
    return _error(400 if isinstance(error, Malformed) else 422, str(error))


async def _full(request: Request, error: Full) -> Response:
    return _error(429, "too many requests wait; try again in a moment")


async def _too_late(request: Request, error: TimeoutError) -> Response:
    return _error(504, "no answer in the time that a request may take; try again")


async def _gone(request: Request, error: ClientDisconnect) -> Response:
    return _error(400, "the connection was closed before the body was complete")


async def _mistake(request: Request, error: Exception) -> Response:
    return _error(500, "the server made a mistake; its log says which")  # `Guard` logs it
