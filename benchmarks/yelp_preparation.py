"""Time and memory to prepare Yelp, on generated files of the real size and shape. JSON to stdout.

    python -m benchmarks.yelp_preparation DIR [--reviews 6990280] [--malformed 0.0005] [--keep]

Writes both files to DIR (5.3 GB; deleted at the end), prepares them in a process of its own with
the real builder, then loads the prepared data in another. Peak memory is that of the process.
``seconds`` is wall clock, ``cpu_seconds`` what both cores worked for it; the difference is waiting,
for the disk or for other programs.
"""

import argparse
import json
import os
from pathlib import Path
import resource
import shutil
import subprocess
import sys
import time

import numpy as np

from rearec_jax.data.published.yelp import BUSINESSES, REVIEWS

USERS, ITEMS = 1_987_929, 150_346
REGULARS, POPULAR, REGULAR_SHARE = 14_000, 11_500, 0.12  # what becomes of them is the 20-core
_START, _END = 1_108_500_000, 1_642_600_000  # 2005-02 to 2022-01
_BLOCK = 200_000
_TEXT = (
    'the food was great and service "amazing" we\'ll be back\n\n café definitely recommend this'
    " place to anyone who loves tacos 😀 but waited forty minutes for our table"
)
_WORDS = _TEXT.split(" ")


def write_reviews(path: Path, count: int, malformed: float) -> None:
    """Heavy-tailed users and businesses; stars, lengths and escapes as in the real file."""
    rng = np.random.default_rng(0)
    texts = [
        json.dumps(" ".join(_WORDS[n] for n in rng.integers(0, len(_WORDS), int(length))))
        for length in rng.gamma(1.6, 52, 4000) + 5
    ]
    with path.open("w") as file:
        for begin in range(0, count, _BLOCK):
            size = min(_BLOCK, count - begin)
            regular = rng.random(size) < REGULAR_SHARE
            users = (np.where(regular, REGULARS, USERS) * rng.random(size) ** 1.6).astype(int)
            items = (np.where(regular, POPULAR, ITEMS) * rng.random(size) ** 1.6).astype(int)
            stars = rng.choice([1, 2, 3, 4, 5], size, p=[0.15, 0.08, 0.1, 0.21, 0.46])
            seconds = rng.integers(_START, _END, size).astype("datetime64[s]")
            dates = np.char.replace(np.datetime_as_string(seconds), "T", " ")
            chosen = rng.integers(0, len(texts), size)
            broken = rng.random(size) < malformed
            for row in range(size):
                if broken[row]:
                    file.write('{"review_id":"x","user_id":"cut off in the mid\n')
                file.write(
                    f'{{"review_id":"{begin + row:022d}","user_id":"{users[row]:022d}",'
                    f'"business_id":"{items[row]:022d}","stars":{stars[row]}.0,"useful":0,'
                    f'"funny":0,"cool":0,"text":{texts[chosen[row]]},"date":"{dates[row]}"}}\n'
                )


def write_businesses(path: Path) -> None:
    with path.open("w") as file:
        for number in range(ITEMS):
            business = {
                "business_id": f"{number:022d}",
                "name": f"Place {number}",
                "address": "935 Race St",
                "city": "Philadelphia",
                "state": "PA",
                "postal_code": "19107",
                "latitude": 39.9,
                "longitude": -75.1,
                "stars": 4.0,
                "review_count": 80,
                "is_open": 1,
                "attributes": {"RestaurantsTakeOut": "True", "BusinessParking": "{'garage': False}"}
                if number % 10
                else None,
                "categories": "Restaurants, Food, Bubble Tea" if number % 1000 else None,
                "hours": {"Monday": "7:0-20:0", "Tuesday": "7:0-20:0"},
            }
            file.write(json.dumps(business) + "\n")


def load(directory: Path) -> None:
    """What a run does first; its measures go to stdout as the last line."""
    from rearec_jax.config import DataConfig
    from rearec_jax.data.prepare import prepare

    begin = time.perf_counter()
    data = prepare(
        DataConfig(
            source="tfds", builder="yelp", path=str(directory), tfds_dir=str(directory / "tfds")
        )
    )
    seconds = time.perf_counter() - begin
    usage = resource.getrusage(resource.RUSAGE_SELF)
    result = {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_gib": round(usage.ru_maxrss / 2**20, 2),
        "users": data.num_users,
        "items": data.num_items,
        "interactions": data.num_interactions,
        "tensorflow_imported": "tensorflow" in sys.modules,
    }
    print(json.dumps(result))


def in_process(directory: Path) -> dict:
    command = [sys.executable, "-m", "benchmarks.yelp_preparation", str(directory), "--load"]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    *said, result = output.splitlines()
    print("\n".join(said), file=sys.stderr)
    return json.loads(result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--reviews", type=int, default=6_990_280)
    parser.add_argument("--malformed", type=float, default=0.0, help="bad lines for each good one")
    parser.add_argument("--keep", action="store_true", help="leave the files for another run")
    parser.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    directory = arguments.directory
    if arguments.load:
        load(directory)
        return
    directory.mkdir(parents=True, exist_ok=True)
    reviews, businesses = directory / REVIEWS, directory / BUSINESSES
    if not reviews.exists():
        write_reviews(reviews, arguments.reviews, arguments.malformed)
        write_businesses(businesses)
    shutil.rmtree(directory / "tfds", ignore_errors=True)
    try:
        result = {
            "reviews": arguments.reviews,
            "malformed": arguments.malformed,
            "gigabytes": round(reviews.stat().st_size / 1e9, 2),
            "cores": os.cpu_count(),
            "load_average_before": round(os.getloadavg()[0], 1),
            "prepare": in_process(directory),
            "load": in_process(directory),
        }
    finally:
        if not arguments.keep:
            shutil.rmtree(directory / "tfds", ignore_errors=True)
            for path in (reviews, businesses):
                path.unlink()
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
