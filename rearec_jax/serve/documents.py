"""Writes the OpenAPI description, and a page of it that loads nothing from elsewhere."""

from collections.abc import Sequence
import html
import json
from typing import Any

from rearec_jax.serve.bodies import ExplainBody, ItemsQuery, RecommendBody, SamplesQuery
from rearec_jax.serve.guard import OPEN
from rearec_jax.serve.limits import Limits
from rearec_jax.version import __version__

EXAMPLES = {  # the body or the query of a request
    "/recommend": {"histories": [["17", "4"], ["39"]], "k": 5},
    "/explain": {"history": ["17", "4"], "k": 5},
    "/items": {"q": "lantern", "limit": 3},
    "/samples": {"limit": 1},
}

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


_BODIES = {"/recommend": RecommendBody, "/explain": ExplainBody}
_QUERIES = {"/items": ItemsQuery, "/samples": SamplesQuery}
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
    "/models": _object(models=_array(**_MODEL, attention=_FLAG, temperature=_MAYBE, default=_FLAG)),
    "/items": _object(items=_array(**_ITEM, count=_WHOLE)),
    "/samples": _object(samples=_array(history=_array(**_ITEM), target=_object(**_ITEM))),
    "/health": _object(status=_TEXT),
    "/ready": _object(status=_TEXT, models=_READY),
    "/metrics": _TEXT,
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


def description(limits: Limits, needs_key: bool, models: Sequence[str]) -> dict[str, Any]:
    """Returns the OpenAPI description of a server with models of these names."""
    shown = [{name: []} for name in _KEYS]
    paths: dict[str, Any] = {}
    for path, (summary, _) in _ENDPOINTS.items():
        operation: dict[str, Any] = {"summary": summary, "operationId": path[1:]}
        operation["responses"] = _responses(path)
        if path not in OPEN:
            operation["security"] = shown if needs_key else [{}, *shown]
        if path in _QUERIES:
            operation["parameters"] = _parameters(path, models)
        if path in _BODIES:
            operation["requestBody"] = _body(path, limits, models)
        paths[path] = {"post" if path in _BODIES else "get": operation}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rearec_jax",
            "description": "Recommendations of a model that thinks before it recommends.",
            "version": __version__,
        },
        "paths": paths,
        "components": {"securitySchemes": _KEYS},
    }


def _body(path: str, limits: Limits, models: Sequence[str]) -> dict[str, Any]:
    schema = _BODIES[path].model_json_schema()
    fields = _named(schema["properties"], models)
    fields["k"]["maximum"] = limits.k
    fields["exclude"]["maxItems"] = limits.ids
    fields["candidates"]["anyOf"][0]["maxItems"] = limits.ids
    if "history" in fields:
        fields["history"]["maxItems"] = limits.history
    else:
        fields["histories"]["maxItems"] = limits.histories
        fields["histories"]["items"]["maxItems"] = limits.history
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _parameters(path: str, models: Sequence[str]) -> list[dict[str, Any]]:
    fields = _named(_QUERIES[path].model_json_schema()["properties"], models)
    return [
        {"name": name, "in": "query", "description": field.pop("description"), "schema": field}
        for name, field in fields.items()
    ]


def _named(fields: dict[str, Any], models: Sequence[str]) -> dict[str, Any]:
    """Returns the fields, of which one has the names of the models."""
    fields["model"]["anyOf"][0]["enum"] = list(models)
    return fields


def _responses(path: str) -> dict[str, Any]:
    """Returns the descriptions of an endpoint's answer and refusals, by status."""
    kind = "text/plain" if path == "/metrics" else "application/json"
    found: dict[str, Any] = {
        "200": {"description": "The answer.", "content": {kind: {"schema": _ANSWERS[path]}}}
    }
    content = {"application/json": {"schema": _object(error=_TEXT)}}
    for status in (400, *(() if path in OPEN else (401, 503)), *_ENDPOINTS[path][1]):
        found[str(status)] = {"description": _REFUSALS[status], "content": content}
    return found


def page(schema: dict[str, Any]) -> str:
    """Returns the schema as HTML in the look of the server's page, readable without a script."""
    operations = [
        (path, method, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
    links = "".join(f'<li><a href="#{path[1:]}">{path}</a></li>' for path, *_ in operations)
    needs_key = {} not in schema["paths"]["/recommend"]["post"]["security"]
    key = "asks for a key" if needs_key else "asks for no key"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(schema["info"]["title"])}: endpoints</title>
<link rel="icon" href="static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="static/page.css">
</head>
<body class="api">
<header>
<p class="name">rearec_jax <a href="./">Try it</a></p>
<h1>Endpoints</h1>
<p>Programs ask with JSON; a refusal is <code>{{"error": "one sentence"}}</code>. Machine-readable:
<a href="openapi.json">openapi.json</a>, for clients that are generated.</p>
<p>This server {key}. A key is shown by a header, one of</p>
<pre><code>X-API-Key: KEY
Authorization: Bearer KEY</code></pre>
<nav aria-label="Endpoints"><ul>{links}</ul></nav>
</header>
<main>
{"".join(_section(*one, needs_key) for one in operations)}
</main>
</body>
</html>
"""


def _section(path: str, method: str, operation: dict[str, Any], needs_key: bool) -> str:
    """Returns an endpoint's summary, fields, example and answer as HTML."""
    if "requestBody" in operation:
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        given = body["properties"].items()
        needed = [(name in body["required"], name, field) for name, field in given]
        needed.sort(key=lambda one: not one[0])  # the required one first
        fields = [_field(name, field, is_required) for is_required, name, field in needed]
    else:
        given = operation.get("parameters", ())
        fields = [
            _field(one["name"], one["schema"] | {"description": one["description"]}, False)
            for one in given
        ]
    example = html.escape(_curl(path, method, needs_key and "security" in operation))
    answer = json.dumps(operation["responses"]["200"]["content"], indent=1, ensure_ascii=False)
    return (
        f'<section id="{path[1:]}"><h2><code>{method.upper()} {path}</code></h2>'
        f"<p>{html.escape(operation['summary'])}</p><pre><code>{example}</code></pre>"
        + (f"<h3>Fields</h3><dl>{''.join(fields)}</dl>" if fields else "")
        + f"<details><summary>Answer</summary><pre><code>{html.escape(answer)}</code></pre>"
        "</details></section>\n"
    )


def _field(name: str, field: dict[str, Any], is_required: bool) -> str:
    """Returns a field's name, meaning, type and bounds as HTML."""
    kinds = [field, *field.get("anyOf", ())]
    kind = " or ".join(str(one["type"]) for one in kinds if "type" in one)
    kind = kind or " or ".join(map(str, field.get("enum", ())))
    bounds = {"minimum": "at least", "maximum": "at most", "maxItems": "at most"}
    found = [
        f"{words} {one[bound]}{' entries' * (bound == 'maxItems')}"
        for bound, words in bounds.items()
        for one in kinds
        if bound in one
    ]
    default = "required" if is_required else f"default {json.dumps(field.get('default'))}"
    facts = html.escape("; ".join([kind, *found, default]))
    meaning = html.escape(field.get("description", ""))
    return f"<dt><code>{html.escape(name)}</code></dt><dd>{meaning}<small>{facts}</small></dd>"


def _curl(path: str, method: str, needs_key: bool) -> str:
    """Returns the command that asks an endpoint of a server on this machine."""
    example = EXAMPLES.get(path, {})
    key = " -H 'X-API-Key: KEY'" * needs_key
    if method == "post":
        kind = " -H 'Content-Type: application/json'"
        return f"curl localhost:8000{path}{key}{kind} -d '{json.dumps(example)}'"
    query = "&".join(f"{name}={value}" for name, value in example.items())
    return f"curl{key} 'localhost:8000{path}{'?' * bool(query)}{query}'"
