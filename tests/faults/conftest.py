"""Faults are tried on the same tiny run again and again."""

from collections.abc import Iterator

import pytest

from tests.compiled_once import compiled_once


@pytest.fixture(scope="module", autouse=True)
def _compiled_once() -> Iterator[None]:
    with compiled_once():
        yield
