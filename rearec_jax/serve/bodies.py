"""Checks the bodies and the queries of requests; one sentence says what is wrong with one."""

from collections.abc import Mapping
import json
import re
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema
import pydantic_core

from rearec_jax.errors import UserError, shown
from rearec_jax.serve.limits import Limits


def _whole(value: Any) -> Any:
    """Returns 9 for 9.0, which JSON Schema calls an integer and some languages write for one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


# What a body without infinite numbers may hold too, such as the id "1e1000", but seldom does.
_MAYBE_INFINITE = re.compile(rb"NaN|Infinity|\d[eE]\+?\d{3}|\d{200}")

LETTERS, LISTED = 200, 100  # most characters of a search, most entries of the answer to a query

Count = Annotated[int, Field(strict=True, ge=1), BeforeValidator(_whole)]
Depth = Annotated[int, Field(strict=True, ge=0), BeforeValidator(_whole)]
Ids = list[Annotated[str, WithJsonSchema({"type": ["string", "number"]})]]


class _Body(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    k: Count = Field(10, description="items to list")
    steps: Depth | None = Field(None, description="reasoning steps; null: as trained")
    exclude_seen: bool = Field(
        True, strict=True, description="leave out what is in the user's own history"
    )
    exclude: Ids = Field([], description="ids to leave out")
    candidates: Ids | None = Field(
        None, min_length=1, description="choose from these ids only; null: from all"
    )
    unknown: Literal["skip", "error"] = Field(
        "skip", description="ids that no item has: left out, or an error"
    )
    model: str | None = Field(None, min_length=1, description="name of a model; null: the default")


class RecommendBody(_Body):
    """The body of POST /recommend."""

    histories: list[Ids] = Field(description="item ids of each user, the oldest first")


class ExplainBody(_Body):
    """The body of POST /explain."""

    history: Ids = Field(description="item ids of the user, the oldest first")


class SamplesQuery(pydantic.BaseModel):
    """The query of GET /samples."""

    limit: int = Field(20, ge=1, le=LISTED, description="entries of the answer")
    model: str | None = Field(
        None, min_length=1, description="name of a model; the default without it"
    )


class ItemsQuery(SamplesQuery):
    """The query of GET /items."""

    q: str = Field(
        "", max_length=LETTERS, description="words of the title or the id; all without it"
    )


Body = TypeVar("Body", RecommendBody, ExplainBody)
Query = TypeVar("Query", SamplesQuery, ItemsQuery)


class Malformed(UserError):
    """A body is no JSON object."""


def parsed(kind: type[Body], raw: bytes, limits: Limits) -> Body:
    """Parses a body as ``kind`` and checks it.

    Raises:
        Malformed: the body is no JSON object.
        UserError: a field is missing, unknown, of another type, or beyond the limits.
    """
    try:
        # Of numbers that are none pydantic would make the ids "nan" and "inf".
        if _MAYBE_INFINITE.search(raw):
            json.dumps(pydantic_core.from_json(raw, allow_inf_nan=False), allow_nan=False)
    except ValueError as error:
        raise Malformed(
            f"the body must be a JSON object, with finite numbers only ({_short(error)})"
        ) from error
    try:
        body = kind.model_validate_json(raw)
    except pydantic.ValidationError as error:
        raise _explained(error) from error
    _check(body, limits)
    return body


def queried(kind: type[Query], given: Mapping[str, str]) -> Query:
    """Reads a query as ``kind``; raises UserError where a field is wrong."""
    try:
        return kind.model_validate(dict(given))
    except pydantic.ValidationError as error:
        raise _explained(error) from error


def _explained(error: pydantic.ValidationError) -> UserError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if not first["loc"]:
        return Malformed(f"the body must be a JSON object ({_short(first['msg'])})")
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return UserError(f"unknown field {shown(where)}")
    if where == "candidates" and first["type"] == "too_short":
        return UserError("candidates is empty; null chooses from all items")
    if first["type"] == "missing":
        return UserError(f"the field {where!r} is missing")
    return UserError(f"{where}: {_short(first['msg'])}")


def _check(body: RecommendBody | ExplainBody, limits: Limits) -> None:
    histories = body.histories if isinstance(body, RecommendBody) else [body.history]
    sizes: Mapping[str, tuple[int, int]] = {
        "k": (body.k, limits.k),
        "histories": (len(histories), limits.histories),
        "a history": (max(map(len, histories), default=0), limits.history),
        "exclude": (len(body.exclude), limits.ids),
        "candidates": (len(body.candidates or ()), limits.ids),
    }
    for what, (size, most) in sizes.items():
        if size > most:
            unit = "" if what == "k" else " entries"
            raise UserError(f"{what} is {shown(size)}{unit}; this server takes at most {most}")


def _short(text: Any) -> str:
    return " ".join(str(text).split())[:200]
