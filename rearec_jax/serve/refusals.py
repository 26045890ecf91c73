"""Makes the answers that refuse a request, each with one sentence."""

from collections.abc import Mapping

import orjson
from starlette.responses import Response

_HEADERS: Mapping[int, Mapping[str, str]] = {
    401: {"www-authenticate": "Bearer"},
    413: {"connection": "close"},  # the rest of the body is not read
    429: {"retry-after": "1"},
    503: {"retry-after": "1"},
}


def refusal(status: int, error: str, headers: Mapping[str, str] | None = None) -> Response:
    """Returns an answer with the sentence ``error``, and ``headers`` besides those of a status."""
    fields = {**_HEADERS.get(status, {}), **(headers or {})}
    return Response(orjson.dumps({"error": error}), status, fields, "application/json")
