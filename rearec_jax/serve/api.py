"""Defines the endpoints as a Starlette application."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
import importlib.resources
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from rearec_jax.errors import UserError
from rearec_jax.serve import answers, documents
from rearec_jax.serve.bodies import (
    Body,
    ExplainBody,
    ItemsQuery,
    Malformed,
    RecommendBody,
    SamplesQuery,
    parsed,
    queried,
)
from rearec_jax.serve.guard import MISTAKE, SHOWS_KEY
from rearec_jax.serve.lane import Full
from rearec_jax.serve.models import Slot
from rearec_jax.serve.queues import Workers
from rearec_jax.serve.refusals import refusal
from rearec_jax.serve.state import Service
from rearec_jax.serve.warm_model import Served, facts

STATIC = importlib.resources.files("rearec_jax.serve") / "static"
HIDDEN = "the reason is told to requests that show the API key"  # it may name files
MOST_SEARCHES = 64  # that run at once

Endpoint = Callable[[Request], Awaitable[Response]]


def application(service: Service, has_key: bool) -> Starlette:
    """Returns the application with the endpoints of a server."""
    handlers: Mapping[Any, Any] = {
        HTTPException: _http_error,
        UserError: _user_error,
        Full: _always(429, "too many requests wait; try again in a moment"),
        TimeoutError: _always(504, "no answer in the time that a request may take; try again"),
        ClientDisconnect: _always(400, "the connection was closed before the body was complete"),
        Exception: _always(500, MISTAKE),  # `Guard` logs it
    }
    description = documents.description(service.limits, has_key, list(service.models.slots))
    posts = {
        "/recommend": _post(service, RecommendBody, answers.recommended),
        "/explain": _post(service, ExplainBody, answers.explained),
    }
    gets = {**_catalogue(service), **_state(service), **_pages(description)}
    routes = [
        *(Route(path, endpoint, methods=["POST"]) for path, endpoint in posts.items()),
        *(Route(path, endpoint) for path, endpoint in gets.items()),
        Mount("/static", StaticFiles(directory=str(STATIC))),
    ]
    app = Starlette(routes=routes, exception_handlers=handlers)
    # Such an answer would hold whatever name the request called it by.
    app.router.redirect_slashes = False
    return app


def _post(
    service: Service,
    kind: type[Body],
    answer: Callable[[Served, Body, Workers], Awaitable[dict[str, Any]]],
) -> Endpoint:
    limits = service.limits

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

    return endpoint


def _catalogue(service: Service) -> Mapping[str, Endpoint]:
    async def models(request: Request) -> Response:
        slots = service.models.slots.values()
        default = service.models.default
        entries = [facts(one.current.served) | {"default": one is default} for one in slots]
        return _json({"models": entries})

    async def items(request: Request) -> Response:
        query = queried(ItemsQuery, request.query_params)
        search = service.models.find(query.model).current.search
        if service.searches >= MOST_SEARCHES:
            raise Full
        service.searches += 1
        try:
            async with asyncio.timeout(service.limits.seconds):
                found = await asyncio.to_thread(search.items, query.q, query.limit)
                return _json({"items": found})
        finally:
            service.searches -= 1

    async def samples(request: Request) -> Response:
        query = queried(SamplesQuery, request.query_params)
        search = service.models.find(query.model).current.search
        return _json({"samples": search.samples(query.limit)})

    return {"/models": models, "/items": items, "/samples": samples}


def _state(service: Service) -> Mapping[str, Endpoint]:
    async def health(request: Request) -> Response:
        return _json({"status": "ok"})

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

    async def metrics(request: Request) -> Response:
        return Response(service.metrics(), media_type="text/plain; version=0.0.4")

    return {"/health": health, "/ready": ready, "/metrics": metrics}


def _pages(description: dict[str, Any]) -> Mapping[str, Endpoint]:
    async def page(request: Request) -> Response:
        return FileResponse(str(STATIC / "index.html"))

    async def docs(request: Request) -> Response:
        return HTMLResponse(documents.page(description))

    async def openapi(request: Request) -> Response:
        return _json(description)

    return {"/": page, "/docs": docs, "/openapi.json": openapi}


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
    if "GET" in headers.get("Allow", ""):
        headers["Allow"] = "GET, HEAD"  # always in this order
    sentence = messages.get(error.status_code, str(error.detail))
    return refusal(error.status_code, sentence, headers)


async def _user_error(request: Request, error: UserError) -> Response:
    return refusal(400 if isinstance(error, Malformed) else 422, str(error))
