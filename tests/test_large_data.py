"""docs/large_data.md is true: rows of users that engines make give our own arrays."""

import dataclasses
import importlib.util
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from rearec_jax.config import DataConfig
from rearec_jax.data.prepare import build
from tests.data.own_files.test_parts import same
from tests.processes import ROOT

PAGE = (ROOT / "docs" / "large_data.md").read_text()


def code(title: str) -> str:
    """The text of the block with this title."""
    (found,) = re.findall(rf'```\w+ title="{re.escape(title)}"\n(.*?)```', PAGE, re.DOTALL)
    return found


def need(package: str) -> None:
    """Skips a test where an engine is not installed, or Java for Spark."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed (the extra `engines`)")
    if package == "pyspark" and not shutil.which("java"):
        pytest.skip("Spark needs Java")


def run(title: str, directory) -> None:
    """Runs an example of the page in a directory, as a program of its own."""
    program = code(title)
    if title.endswith(".sql"):
        program = f"import duckdb\nduckdb.sql({program!r})"
    python(program, directory)


def python(program: str, directory) -> subprocess.CompletedProcess:
    """Runs a program in a directory, where engines find the packages of this one."""
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path, "PYSPARK_PYTHON": sys.executable}
    environment |= {"JAX_PLATFORMS": "cpu", "SPARK_LOCAL_IP": "127.0.0.1"}
    spark = "--master local[2] --conf spark.ui.enabled=false --conf spark.sql.shuffle.partitions=2"
    environment["PYSPARK_SUBMIT_ARGS"] = f"{spark} pyspark-shell"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture
def rows(tmp_path):
    """Interactions in the order in which a warehouse breaks ties."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "user_id": rng.integers(0, 40, 900),
            "item_id": rng.integers(0, 60, 900),
            "timestamp": 1_500_000_000 + rng.integers(0, 400, 900),
            "rating": rng.integers(1, 6, 900),
        }
    )
    frame = frame.sort("timestamp", "item_id")
    (tmp_path / "interactions").mkdir()
    frame.write_parquet(tmp_path / "interactions" / "0.parquet")
    return tmp_path


def of(path, **options) -> DataConfig:
    return DataConfig(source="table", path=str(path), cache_dir=str(path.parent), **options)


def test_a_row_a_user(rows):
    need("duckdb")
    run("users_duckdb.sql", rows)
    ours = of(rows / "interactions", core=3, rating_column="rating", rating_above=2.0)
    same(build(of(rows / "users", core=3)), build(ours))


TWO_JOBS = """
import runpy
main = runpy.run_path({script!r})["main"]
try:
    main(["--input=interactions", "--output=users", "--item_column=sku"])
except SystemExit as ended:
    print("exit code", ended.code)
main(["--input=interactions", "--output=users", "--where=rating > 2", *{options}])
"""


def test_spark_makes_the_core_and_says_what_is_wrong(rows):
    need("pyspark")
    options = ["--min_user=10", "--min_item=6", "--rounds=20"]
    script = str(ROOT / "launch" / "spark_histories.py")
    done = python(TWO_JOBS.format(script=script, options=options), rows)
    assert done.stdout.strip() == "exit code 2"
    assert "`sku`" in done.stderr and "Traceback" not in done.stderr
    ours = of(rows / "interactions", rating_column="rating", rating_above=2.0)
    whole = build(dataclasses.replace(ours, min_user=10, min_item=6))
    assert 0 < len(whole.items) < len(build(ours).items)
    same(build(of(rows / "users")), whole)


def test_a_split_of_ones_own(rows):
    need("duckdb")
    run("split_duckdb.sql", rows)
    cuts = {"valid_from": "2017-07-14T02:45:00", "test_from": "2017-07-14T02:45:50"}
    whole = build(of(rows / "interactions", split="time", **cuts))
    same(build(of(rows / "users", split="given", split_column="split")), whole)
