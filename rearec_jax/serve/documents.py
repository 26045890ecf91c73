"""Writes parts of the OpenAPI description, and a page of it that loads nothing from elsewhere."""

from collections.abc import Sequence
import html
import json
from typing import Any

from rearec_jax.serve.bodies import Body
from rearec_jax.serve.guard import OPEN
from rearec_jax.serve.limits import Limits

_TEXT, _WHOLE, _FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
_TEXTS = {"type": "array", "items": _TEXT}
_NUMBERS = {"type": "array", "items": {"type": "number"}}
_MAYBE_TEXT = {"type": ["string", "null"]}
_LIST = {"ids": _TEXTS, "scores": _NUMBERS, "titles": {"type": "array", "items": _MAYBE_TEXT}}
_BY = {"type": "string", "enum": ["model", "popularity"]}
_ITEM = {"id": _TEXT, "title": _MAYBE_TEXT}
_MAYBE = {"type": ["number", "null"]}
_STEP = {"step": _WHOLE, **_LIST, "entered": _TEXTS, "left": _TEXTS}
_STEP |= {"effective_items": _MAYBE, "top_share": _MAYBE}
_STEP |= {"attention": {"type": ["array", "null"], "items": {"type": "number"}}}
_RANKS = {"type": "object", "additionalProperties": {"type": "array", "items": _WHOLE}}


def _object(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields)}


def _array(**fields: Any) -> dict[str, Any]:
    return {"type": "array", "items": _object(**fields)}


_READY = _array(name=_TEXT, ready=_FLAG, state=_TEXT, problem=_MAYBE_TEXT)
_MODEL = {name: _TEXT for name in ("name", "label", "method", "backbone")}
_MODEL |= {name: _WHOLE for name in ("steps", "items", "max_length")}
_ANSWERS = {
    "/recommend": _object(model=_TEXT, results=_array(**_LIST, by=_BY, unknown=_TEXTS)),
    "/explain": _object(
        **{name: _TEXT for name in ("model", "method", "backbone")},
        by=_BY,
        unknown=_TEXTS,
        history=_array(**_ITEM),
        steps=_array(**_STEP),
        ranks=_RANKS,
    ),
    "/models": _object(models=_array(**_MODEL, attention=_FLAG, default=_FLAG)),
    "/items": _object(items=_array(**_ITEM, count=_WHOLE)),
    "/samples": _object(samples=_array(history=_array(**_ITEM), target=_object(**_ITEM))),
    "/health": _object(status=_TEXT),
    "/ready": _object(status=_TEXT, models=_READY),
}
_REFUSALS = {
    400: "The body is no JSON object, or the header Host is wrong.",
    401: "The API key is missing or wrong.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is not of the type application/json, or it is compressed.",
    422: "A field is wrong, or more than the server takes.",
    429: "Too many requests wait.",
    503: "Not ready yet, or stopping.",
    504: "No answer in time.",
}
_POST = (408, 413, 415, 422, 429, 504)
_ENDPOINTS = {
    "/recommend": ("The best items for each history.", _POST),
    "/explain": ("How one list came about, step by step.", _POST),
    "/models": ("The models of this server.", ()),
    "/items": ("Items by the words of their titles or ids, popular ones first.", (422, 429, 504)),
    "/samples": ("Histories of a few test users, to try a model on.", (422,)),
    "/health": ("200 while the process lives.", ()),
    "/ready": ("200 when the default model is compiled, else 503; and which models are.", (503,)),
    "/metrics": ("Counts and times, for Prometheus.", ()),
}
_KEYS = {
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}


def body(kind: type[Body], limits: Limits) -> dict[str, Any]:
    """Returns the description of a POST's body, as part of its operation."""
    schema = kind.model_json_schema()
    fields = schema["properties"]
    fields["k"]["maximum"] = limits.k
    fields["exclude"]["maxItems"] = limits.ids
    fields["candidates"]["anyOf"][0]["maxItems"] = limits.ids
    if "history" in fields:
        fields["history"]["maxItems"] = limits.history
    else:
        fields["histories"]["maxItems"] = limits.histories
        fields["histories"]["items"]["maxItems"] = limits.history
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


def operation(path: str) -> dict[str, Any]:
    """Returns the summary of an endpoint, and the descriptions of its answer and refusals."""
    summary, refusals = _ENDPOINTS[path]
    found: dict[int, dict[str, Any]] = {200: {"description": "The answer."}}
    if path in _ANSWERS:
        found[200]["content"] = {"application/json": {"schema": _ANSWERS[path]}}
    content = {"application/json": {"schema": _object(error=_TEXT)}}
    for status in (400, *(() if path in OPEN else (401, 503)), *refusals):
        found[status] = {"description": _REFUSALS[status], "content": content}
    return {"summary": summary, "responses": found}


def complete(schema: dict[str, Any], needs_key: bool, names: Sequence[str]) -> None:
    """Adds to the description how a key is shown, and the ``names`` of the models."""
    schema.setdefault("components", {})["securitySchemes"] = _KEYS
    shown = [{name: []} for name in _KEYS]
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            if path not in OPEN:
                operation["security"] = shown if needs_key else [{}, *shown]
            fields = {one["name"]: one["schema"] for one in operation.get("parameters", ())}
            if "requestBody" in operation:
                content = operation["requestBody"]["content"]["application/json"]
                fields = content["schema"]["properties"]
            if "model" in fields:
                fields["model"]["anyOf"][0]["enum"] = list(names)


def page(schema: dict[str, Any]) -> str:
    """Returns the schema as plain HTML, readable without a script."""
    parts = []
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            title = f"{method.upper()} {path}"
            kept = {k: v for k, v in operation.items() if k in ("parameters", "requestBody")}
            kept["answer"] = operation["responses"]["200"]
            fields = json.dumps(kept, indent=1, ensure_ascii=False)
            parts.append(f"<h2>{html.escape(title)}</h2><p>{html.escape(operation['summary'])}</p>")
            parts.append(
                f"<details><summary>fields</summary><pre>{html.escape(fields)}</pre></details>"
            )
    head = f"<title>{html.escape(schema['info']['title'])}</title><meta charset='utf-8'>"
    note = "<p>Machine-readable: <a href='openapi.json'>openapi.json</a></p>"
    return f"<!doctype html><html lang='en'>{head}<h1>Endpoints</h1>{note}{''.join(parts)}</html>"
