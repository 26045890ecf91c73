"""JSON lines to tables, whole blocks at once and line by line."""

import json

import polars as pl
import pytest

from rearec_jax.data.published import json_lines
from rearec_jax.data.published.line_blocks import Malformed


def test_json_lines_are_read_alike_at_once_and_line_by_line(tmp_path):
    """A malformed line near by must not change what another line says."""
    schema = {"s": pl.String, "f": pl.Float64, "l": pl.List(pl.String)}
    values = [None, "x", "é\n", 5, -1.5, True, [], ["a", 1, None], [["é"]], {"a": [1, "b"]}, 10**20]
    lists = [value for value in values if value is None or isinstance(value, list)]
    rows = [{"s": s, "f": f, "l": part} for s in values for f in (None, 2, 0.5) for part in lists]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    frames = []
    for name, text in {"good": lines, "bad": "no JSON\n" + lines}.items():
        (tmp_path / name).write_text(text)
        malformed = Malformed(tmp_path / name)
        frames.append(pl.concat(json_lines.frames(tmp_path / name, schema, (), malformed)))
    assert len(frames[0]) == len(rows)
    assert frames[0].equals(frames[1])


@pytest.mark.parametrize("start", [b"(\xb5/\xfd", b"\x1f\x8b", b"x^", b"x\x9c"])
def test_a_line_that_begins_as_a_compressed_file_is_malformed(tmp_path, start):
    path = tmp_path / "lines.json"
    path.write_bytes(start + b'no JSON\n{"s": "good"}\n')
    malformed = Malformed(path)
    frames = json_lines.frames(path, {"s": pl.String}, ("s",), malformed)
    assert pl.concat(frames)["s"].to_list() == ["good"]
    assert malformed.count == 1
