"""--mode=encode_items: one command writes a file that training reads."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from rearec_jax.commands.encode_items import FILE, encode_run
from rearec_jax.config import Config, DataConfig
from rearec_jax.data.item_vectors.vectors import item_vectors
from rearec_jax.data.prepare import prepare
from rearec_jax.errors import UserError


@pytest.fixture
def config(tmp_path):
    rows = [(user, item, time) for user in range(4) for time, item in enumerate((3, 20, 100, 7))]
    text = "user_id\titem_id\ttimestamp\n" + "".join(f"{u}\t{i}\t{t}\n" for u, i, t in rows)
    (tmp_path / "data.tsv").write_text(text)
    titles = "item_id\ttitle\n20\tred scarf\n3\tblue scarf\n100\toak table\n"
    (tmp_path / "text.tsv").write_text(titles)
    return Config(
        data=DataConfig(
            source="table",
            path=str(tmp_path / "data.tsv"),
            item_text=str(tmp_path / "text.tsv"),
            cache_dir=str(tmp_path / "cache"),
        )
    )


def test_the_file_holds_the_items_with_text_and_gives_the_same_vectors(config, tmp_path, capsys):
    path = encode_run(config, str(tmp_path / "run"))
    assert path == tmp_path / "run" / FILE
    frame = pl.read_parquet(path)
    assert frame.columns == ["item_id", "vector"]
    assert frame["item_id"].to_list() == ["3", "20", "100"]
    data = prepare(config.data)
    made = item_vectors(config, data)
    text = dataclasses.replace(config.text, vectors=str(path))
    read = item_vectors(dataclasses.replace(config, text=text), data)
    assert np.array_equal(read.vectors, made.vectors)
    assert np.array_equal(read.has_text, made.has_text)
    output = capsys.readouterr().out
    assert f"--config.text.vectors={path}" in output
    assert [path.name for path in (tmp_path / "run").iterdir()] == [FILE]


def test_what_is_wrong_leaves_no_file(config, tmp_path):
    data = dataclasses.replace(config.data, item_text="")
    with pytest.raises(UserError, match=r"data\.item_text"):
        encode_run(dataclasses.replace(config, data=data), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match=r"cannot write .*--workdir"):
        encode_run(config, "/dev/null/run")
