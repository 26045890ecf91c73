"""Makes Parquet files of a row a user, for training, from interactions; a job for Spark.

spark-submit launch/spark_histories.py --input=interactions --output=users --min_user=5 --min_item=5

Needs PySpark 3.4 or newer and nothing else. `--help` lists the flags; docs/large_data.md explains.
"""

import argparse
import sys

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f


def frequent(rows: DataFrame, column: str, least: int) -> DataFrame:
    """Returns the rows whose value of a column occurs at least so often."""
    if least < 2:
        return rows
    values = rows.groupBy(column).count().where(f.col("count") >= least)
    return rows.join(values.select(column), column, "left_semi")


def core(rows: DataFrame, arguments: argparse.Namespace) -> DataFrame:
    """Removes rare items, then users with few rows, so many rounds or until nothing is removed."""
    before = -1
    for _ in range(arguments.rounds):
        rows = frequent(rows, arguments.item_column, arguments.min_item)
        rows = frequent(rows, arguments.user_column, arguments.min_user)
        if arguments.rounds > 1:
            rows = rows.localCheckpoint()  # else each round would do all earlier ones again
            left = rows.count()
            print(f"{left} interactions are left", file=sys.stderr)
            if left == before:
                break
            before = left
    return rows


def histories(rows: DataFrame, arguments: argparse.Namespace) -> DataFrame:
    """Returns a row for each user: its id, its items from the oldest to the newest, their times.

    Interactions at the same time are in the order of their items, since Spark keeps none.
    """
    event = f.struct(arguments.timestamp_column, arguments.item_column)
    events = f.sort_array(f.collect_list(event)).alias("events")
    return (
        rows.groupBy(arguments.user_column)
        .agg(events)
        .select(
            arguments.user_column,
            f.col("events")[arguments.item_column].alias("items"),
            f.col("events")[arguments.timestamp_column].alias("timestamps"),
        )
    )


def parse(words: list[str]) -> argparse.Namespace:
    """Returns the flags."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flag = parser.add_argument
    flag("--input", required=True, help="files or directories that Spark reads, parted by commas")
    flag("--output", required=True, help="the directory to write, which must not exist yet")
    flag("--format", default="parquet", help="of the input: parquet, csv (with a header), orc, ...")
    flag("--user_column", default="user_id")
    flag("--item_column", default="item_id")
    flag("--timestamp_column", default="timestamp")
    flag("--where", default="true", help="a condition in SQL for the rows, as in 'rating > 2'")
    flag("--min_user", type=int, default=1, help="interactions that a user needs")
    flag("--min_item", type=int, default=1, help="interactions that an item needs")
    flag(
        "--rounds", type=int, default=1, help="removals of items and users at most; many: the core"
    )
    flag("--master", help="where to run, as in local[2]; by default as spark-submit says")
    arguments = parser.parse_args(words)
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    return arguments


def main(words: list[str]) -> None:
    """Reads, filters and writes; a mistake ends with a sentence and exit code 2."""
    arguments = parse(words)
    builder = SparkSession.builder.appName("histories")
    spark = (builder.master(arguments.master) if arguments.master else builder).getOrCreate()
    reader = spark.read.format(arguments.format).option("header", True).option("inferSchema", True)
    try:
        rows = reader.load(arguments.input.split(",")).where(arguments.where)
        rows = rows.select(arguments.user_column, arguments.item_column, arguments.timestamp_column)
        histories(core(rows, arguments), arguments).write.parquet(arguments.output)
    except AnalysisException as error:
        print(f"spark_histories: {str(error).partition(chr(10))[0]}", file=sys.stderr)
        sys.exit(2)
    finally:
        spark.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
