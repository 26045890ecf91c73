"""Writes parts of the OpenAPI description, and a page of it that loads nothing from elsewhere."""

import html
import json
from typing import Any

from pydantic import BaseModel

_TEXTS = {"type": "array", "items": {"type": "string"}}
_NUMBERS = {"type": "array", "items": {"type": "number"}}
_TITLES = {"type": "array", "items": {"type": ["string", "null"]}}
_LIST = {"ids": _TEXTS, "scores": _NUMBERS, "titles": _TITLES}
_BY = {"type": "string", "enum": ["model", "popularity"]}
_RESULT = _LIST | {"by": _BY, "unknown": _TEXTS}
_ITEM = {"id": {"type": "string"}, "title": {"type": ["string", "null"]}}
_MAYBE = {"type": ["number", "null"]}
_STEP = {"step": {"type": "integer"}, **_LIST, "entered": _TEXTS, "left": _TEXTS}
_STEP |= {"effective_items": _MAYBE, "top_share": _MAYBE}
_STEP |= {"attention": {"type": ["array", "null"], "items": {"type": "number"}}}
_RANKS = {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}}
_WRONG = {
    400: "The body is no JSON object.",
    401: "The API key is missing or wrong.",
    413: "The body is too large.",
    422: "A field is wrong, or more than the server takes.",
    429: "Too many requests wait.",
    503: "Not ready yet, or stopping.",
    504: "No answer in time.",
}


def _object(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields)}


def _array(**fields: Any) -> dict[str, Any]:
    return {"type": "array", "items": _object(**fields)}


_ANSWERS = {
    "/recommend": _object(model={"type": "string"}, results=_array(**_RESULT)),
    "/explain": _object(
        **{name: {"type": "string"} for name in ("model", "method", "backbone")},
        by=_BY,
        unknown=_TEXTS,
        history=_array(**_ITEM),
        steps=_array(**_STEP),
        ranks=_RANKS,
    ),
}


def body(kind: type[BaseModel]) -> dict[str, Any]:
    """Returns the description of a POST's body, as part of its operation."""
    content = {"application/json": {"schema": kind.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


def responses(path: str) -> dict[int | str, dict[str, Any]]:
    """Returns the descriptions of a POST's answer and of its refusals."""
    refusal = {"application/json": {"schema": _object(error={"type": "string"})}}
    found: dict[int | str, dict[str, Any]] = {
        status: {"description": text, "content": refusal} for status, text in _WRONG.items()
    }
    found[200] = {
        "description": "The answer.",
        "content": {"application/json": {"schema": _ANSWERS[path]}},
    }
    return found


def page(schema: dict[str, Any]) -> str:
    """Returns the schema as plain HTML, readable without a script."""
    parts = []
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            title = f"{method.upper()} {path}"
            fields = json.dumps(_without_refusals(operation), indent=1, ensure_ascii=False)
            parts.append(f"<h2>{html.escape(title)}</h2><p>{html.escape(operation['summary'])}</p>")
            parts.append(
                f"<details><summary>fields</summary><pre>{html.escape(fields)}</pre></details>"
            )
    head = f"<title>{html.escape(schema['info']['title'])}</title><meta charset='utf-8'>"
    note = "<p>Machine-readable: <a href='openapi.json'>openapi.json</a></p>"
    return f"<!doctype html><html lang='en'>{head}<h1>Endpoints</h1>{note}{''.join(parts)}</html>"


def _without_refusals(operation: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in operation.items() if k in ("parameters", "requestBody")}
    return kept | {"answer": operation["responses"].get("200", {})}
