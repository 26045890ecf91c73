"""The real builders on small raw files that are written in the exact formats."""

import dataclasses
import gzip
import json
from multiprocessing import get_context
import os
from pathlib import Path
import random
import runpy
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest

from benchmarks.record_loading import Generated
from rearec_jax import config as options
from rearec_jax.config import DataConfig
from rearec_jax.data import demo
from rearec_jax.data.interactions import TEST, TRAIN, VALIDATION
from rearec_jax.data.prepare import prepare
from rearec_jax.data.published import amazon2023, builders, downloads, tfds_records, yelp
from rearec_jax.errors import UserError
from tests.data.published import authors_recipe
from tests.data.published.file_server import serving
from tests.data.published.raw_files import write_amazon, write_yelp
from tests.processes import ROOT

CODES = {"train": TRAIN, "valid": VALIDATION, "test": TEST}
AMAZON = sorted(amazon2023.CATEGORIES)
EXAMPLES = tfds_records.examples
START = 1_500_000_000


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return DataConfig(name="mine", source="tfds")


@pytest.fixture
def generated(config, monkeypatch):
    """For tests of the records alone: a builder without raw files, of 50 generated users."""
    monkeypatch.setitem(builders.BUILDERS, "generated", Generated)
    return dataclasses.replace(config, builder="generated", demo_users=50)


def yelp_reviews(seed=0, users=12, items=10, count=260):
    """Some low stars, repeats, equal times, and new items late, so that every filter acts."""
    rng = random.Random(seed)
    reviews = []
    for _ in range(count):
        late = rng.random()
        item = rng.randrange(items if late > 0.7 else items - 2)
        stars = rng.choice([1.0, 3.0, 4.0, 5.0, 5.0, 5.0])
        reviews.append((f"u{rng.randrange(users)}", f"b{item}", stars, START + int(2000 * late)))
    return reviews


def amazon_rows(seed=0, users=40, items=60):
    """Each user's rows in time order, at most one of an item; split by two points in time."""
    rng = random.Random(seed)
    rows = []
    for user in range(users):
        chosen = rng.sample(range(items), rng.randrange(5, 26))
        times = sorted(rng.randrange(1000) for _ in chosen)
        for item, when in zip(chosen, times, strict=True):
            split = "train" if when < 750 else "valid" if when < 900 else "test"
            if split == "train" and item >= items - 3:
                continue
            rating = float(rng.choice([1, 3, 4, 5, 5, 5, 5]))
            rows.append((split, (f"A{user}", f"B{item:02d}", rating, START + when)))
    return rows


def amazon_titles(items=60):
    titles = {f"B{item:02d}": f"Thing {item}" for item in range(items)}
    titles["B07"] = None
    del titles["B08"]
    return titles


def examples(data):
    """{(user, target, history)} of each split, in raw ids."""
    users, items = data.user_ids.to_list(), data.item_ids.to_list()
    found = {split: set() for split in CODES}
    for user in range(data.num_users):
        begin, end = data.offsets[user : user + 2]
        for place in range(begin, end):
            history = tuple(items[item] for item in data.items[begin:place])
            for split, code in CODES.items():
                if data.split[place] == code:
                    found[split].add((users[user], items[data.items[place]], history))
    return found


def amazon_config(config, tmp_path, builder, **kwargs):
    root = write_amazon(tmp_path / "raw", builder, amazon_rows(), amazon_titles(), **kwargs)
    return dataclasses.replace(config, builder=builder, mirror=str(root))


def yelp_config(config, tmp_path, monkeypatch, **kwargs):
    monkeypatch.setattr(yelp, "CORE", 4)
    reviews = kwargs.pop("reviews", yelp_reviews())
    path = write_yelp(tmp_path / "raw", reviews, [f"b{n}" for n in range(9)], **kwargs)
    return dataclasses.replace(config, builder="yelp", path=str(path))


@pytest.mark.parametrize("seed", range(3))
def test_yelp_gives_the_examples_of_the_recipe(config, tmp_path, monkeypatch, seed):
    reviews = yelp_reviews(seed)
    data = prepare(yelp_config(config, tmp_path, monkeypatch, reviews=reviews))
    expected = authors_recipe.yelp(reviews, core=4, least=yelp.MIN_HISTORY)
    assert all(expected.rows.values())
    assert examples(data) == expected.rows
    assert set(data.item_ids) == expected.catalogue
    assert data.name == "mine"
    assert int(data.timestamps.min()) >= START


def test_yelp_items_have_the_name_and_a_text(config, tmp_path, monkeypatch, capsys):
    data = prepare(yelp_config(config, tmp_path, monkeypatch))
    text = dict(zip(data.item_ids, data.item_text, strict=True))
    assert text["b1"] == "Place b1. Food, Bubble Tea. Philadelphia, PA"
    assert text["b0"] == "Place b0. Philadelphia, PA"
    assert text.get("b9") is None  # no such business in the file
    (table,) = Path(os.environ["XDG_CACHE_HOME"]).rglob("items.parquet")
    assert pl.read_parquet(table).filter(id="b1")["title"].item() == "Place b1"


def test_every_stage_is_said_beside_the_authors(config, tmp_path, monkeypatch, capsys):
    config = yelp_config(config, tmp_path, monkeypatch)
    monkeypatch.setitem(yelp.AUTHORS, "20-core", {"users": 12, "rows": 1})
    prepare(config)
    said = capsys.readouterr().out
    assert "20-core: 12 users (authors: 12, agrees), " in said
    assert "rows (authors: 1, DIFFERS)" in said
    assert "0 of 260 lines malformed" in said
    assert "10 of 11 counts known from the authors differ" in said
    (kept,) = Path(os.environ["XDG_CACHE_HOME"]).rglob("counts.json")
    stages = [stage["name"] for stage in json.loads(kept.read_text())["stages"]]
    assert stages[:3] == ["stars above 3", "20-core", "targets by time"]
    prepare(config)
    assert capsys.readouterr().out == ""  # prepared once


@pytest.mark.parametrize(
    ("start", "theirs", "verdict"),
    [
        (0, "1970-01-01 00:13:20", "agrees"),
        (0, "1969-12-31 16:13:20", "agrees, but for the time zone"),
        (0, "1970-01-01 00:13:21", "DIFFERS"),
        (0, "1971-01-01 00:13:20", "DIFFERS"),
    ],
)
def test_cuts_are_compared_by_any_clock(start, theirs, verdict):
    assert yelp._cut(start, 800.4, theirs).endswith(f"{theirs}, {verdict})")


@pytest.mark.parametrize("missing", [yelp.REVIEWS, yelp.BUSINESSES])
def test_missing_yelp_files_say_where_to_get_and_put_them(config, tmp_path, monkeypatch, missing):
    config = yelp_config(config, tmp_path, monkeypatch)
    (Path(config.path) / missing).unlink()
    with pytest.raises(UserError, match=rf"get {missing} from https://www\.yelp\.com.* into /"):
        prepare(config)
    with pytest.raises(UserError, match=r"into one directory and set data\.path to it"):
        prepare(dataclasses.replace(config, path=""))


def test_yelp_once_prepared_needs_its_raw_files_no_more(config, tmp_path, monkeypatch):
    config = yelp_config(config, tmp_path, monkeypatch)
    first = prepare(config)
    (Path(config.path) / yelp.REVIEWS).unlink()
    assert examples(prepare(dataclasses.replace(config, path=""))) == examples(first)


def test_yelp_files_may_be_zipped(config, tmp_path, monkeypatch):
    config = yelp_config(config, tmp_path, monkeypatch)
    plain = prepare(config)
    for name in (yelp.REVIEWS, yelp.BUSINESSES):
        path = Path(config.path) / name
        path.with_name(f"{name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert examples(prepare(config)) == examples(plain)


BAD_REVIEWS = {
    '{"user_id": "u1", "busi': r"line 2: no JSON",
    "[1, 2]": r"line 2: no JSON object",
    '{"user_id": "u1", "business_id": "b1", "date": "2018-07-07 22:09:11"}': (
        r"line 2: field 'stars'"
    ),
    '{"user_id": "u1", "business_id": "b1", "stars": "5", "date": "2018-07-07 22:09:11"}': (
        r"line 2: field 'stars' is missing or not a number"
    ),
    '{"user_id": "u1", "business_id": "b1", "stars": 5.0, "date": "yesterday"}': (
        r"line 2: date 'yesterday' is not like"
    ),
    '{"user_id": null, "business_id": "b1", "stars": 5, "date": "2018-07-07 22:09:11"}': (
        r"line 2: field 'user_id'"
    ),
    '{"user_id": "u1", "business_id": "b1", "stars": NaN, "date": "2018-07-07 22:09:11"}': (
        r"line 2: field 'stars' is missing or not a number"
    ),
    '{"a": 1}{"a": 2}': r"line 2: no JSON",
}


@pytest.mark.parametrize("bad", list(BAD_REVIEWS))
def test_malformed_reviews_are_counted_shown_and_left_out(
    config, tmp_path, monkeypatch, capsys, bad
):
    good = prepare(yelp_config(config, tmp_path / "good", monkeypatch))
    config = yelp_config(config, tmp_path / "bad", monkeypatch, bad=[bad, "", bad])
    with pytest.raises(UserError, match=rf"{BAD_REVIEWS[bad]}.*data\.malformed_share=0\.001"):
        prepare(config)
    assert not list(Path(os.environ["XDG_CACHE_HOME"]).rglob("incomplete*"))
    loose = prepare(dataclasses.replace(config, malformed_share=0.01))
    assert examples(loose) == examples(good)
    assert "2 of 262 lines malformed (the first: line 2" in capsys.readouterr().out


@pytest.mark.parametrize(("block", "few"), [(1000, 1 << 18), (1000, 1), (1 << 20, 500), (7, 1)])
def test_blocks_of_any_size_give_the_same(config, tmp_path, monkeypatch, capsys, block, few):
    whole = prepare(yelp_config(config, tmp_path / "a", monkeypatch))
    monkeypatch.setattr("rearec_jax.data.published.line_blocks.BLOCK", block)
    monkeypatch.setattr("rearec_jax.data.published.json_lines._FEW", few)
    again = yelp_config(config, tmp_path / "b", monkeypatch, bad=["nonsense", "", "[]"])
    again = dataclasses.replace(again, malformed_share=0.5, tfds_dir=str(tmp_path / "tfds"))
    assert examples(prepare(again)) == examples(whole)
    assert "2 of 262 lines malformed (the first: line 2: no JSON" in capsys.readouterr().out


@pytest.mark.parametrize("builder", AMAZON)
def test_amazon_gives_the_examples_of_the_recipe(config, tmp_path, builder):
    data = prepare(amazon_config(config, tmp_path, builder))
    category = amazon2023.CATEGORIES[builder]
    expected = authors_recipe.amazon(amazon_rows(), amazon_titles(), category.min_history)
    assert all(expected.rows.values())
    assert examples(data) == expected.rows
    assert set(data.item_ids) == expected.catalogue
    assert START <= int(data.timestamps.min()) < int(data.timestamps.max()) < START + 1000


def test_amazon_histories_keep_items_rated_low(config, tmp_path):
    rated = {(user, item): rating for _, (user, item, rating, _) in amazon_rows()}
    found = examples(prepare(amazon_config(config, tmp_path, "software")))
    targets = {rated[user, item] for rows in found.values() for user, item, _ in rows}
    histories = {
        rated[user, item] for rows in found.values() for user, _, before in rows for item in before
    }
    assert targets == {4.0, 5.0}
    assert histories == {1.0, 3.0, 4.0, 5.0}


def test_amazon_items_have_a_title_and_a_text(config, tmp_path):
    data = prepare(amazon_config(config, tmp_path, "video_games"))
    text = dict(zip(data.item_ids, data.item_text, strict=True))
    assert text["B00"] == "Thing 0. Maker. Software, Games"
    assert text["B01"] == "Thing 1. Software, Games"
    (table,) = Path(os.environ["XDG_CACHE_HOME"]).rglob("items.parquet")
    assert pl.read_parquet(table).filter(id="B01")["title"].item() == "Thing 1"


def test_popularity_counts_the_training_period_only(config, tmp_path):
    data = prepare(amazon_config(config, tmp_path, "baby_products"))
    kept = {
        (user, item)
        for user, item in zip(
            np.repeat(data.user_ids.to_numpy(), data.lengths),
            data.item_ids.to_numpy()[data.items],
            strict=True,
        )
    }
    counts = dict.fromkeys(data.item_ids, 0)
    for split, (user, item, _, _) in amazon_rows():
        if split == "train" and (user, item) in kept:
            counts[item] += 1
    assert data.training_counts().tolist() == list(counts.values())


def test_downloads_survive_a_cut_and_are_kept(config, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "WAIT_SECONDS", 0.001)
    local = amazon_config(config, tmp_path, "software")
    with serving(Path(local.mirror)) as server:
        server.cuts = [100, 0, 50]
        remote = dataclasses.replace(local, mirror=server.url)
        data = prepare(remote)
        asked = len(server.requests)
        assert asked == 4 + 3
        assert server.requests[1][1] == 100
        prepare(remote)
        again = dataclasses.replace(remote, tfds_dir=str(tmp_path / "again"))
        assert examples(prepare(again)) == examples(data)
        assert len(server.requests) == asked
    assert examples(prepare(local)) == examples(data)


def test_a_category_that_the_server_lacks(config, tmp_path):
    local = amazon_config(config, tmp_path, "software")
    missing = pytest.raises(UserError, match=r"Video_Games\.train\.csv\.gz .*HTTP 404")
    with serving(Path(local.mirror)) as server, missing:
        prepare(dataclasses.replace(local, builder="video_games", mirror=server.url))
    with pytest.raises(UserError, match=r"data\.mirror\) holds neither .*Video_Games\.train"):
        prepare(dataclasses.replace(local, builder="video_games"))


def test_a_flat_directory_is_a_mirror_too(config, tmp_path):
    deep = prepare(amazon_config(config, tmp_path / "a", "software"))
    flat = amazon_config(config, tmp_path / "b", "software", whole_path=False)
    assert examples(prepare(flat)) == examples(deep)


def change_split(config, change, split="train"):
    file = amazon2023.CATEGORIES[config.builder].splits[split]
    path = Path(config.mirror) / file.path
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")
    path.write_bytes(gzip.compress("\n".join(change(lines)).encode()))


@pytest.mark.parametrize(
    "bad",
    ["A1,B1", "A1,B1,5.0,12x,", "A1,B1,good,12,", "A1,B1,5.0,12,B2,B3", ",B1,5.0,12,", "A1,,5,1,"],
)
def test_malformed_amazon_rows_are_counted_shown_and_left_out(config, tmp_path, capsys, bad):
    config = amazon_config(config, tmp_path, "software")
    good = prepare(config)
    change_split(config, lambda lines: [*lines[:3], "", bad, *lines[3:]])
    with pytest.raises(UserError, match=r"1 of \d+ lines malformed \(the first: line 5: not user"):
        prepare(config)
    assert examples(prepare(dataclasses.replace(config, malformed_share=0.1))) == examples(good)


def test_a_file_of_another_kind_is_refused(config, tmp_path):
    config = amazon_config(config, tmp_path, "software")
    change_split(config, lambda lines: ["user_id,parent_asin,rating,timestamp", *lines[1:]])
    with pytest.raises(UserError, match=r"Software\.train\.csv\.gz, line 1: the columns are"):
        prepare(config)


def test_a_file_that_is_cut_off_is_refused(config, tmp_path):
    config = amazon_config(config, tmp_path, "software")
    path = Path(config.mirror) / amazon2023.CATEGORIES["software"].metadata.path
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"meta_Software\.jsonl\.gz cannot be read"):
        prepare(config)


def test_an_empty_file_is_refused(config, tmp_path):
    config = amazon_config(config, tmp_path, "software")
    change_split(config, lambda lines: lines[:1], "valid")
    with pytest.raises(UserError, match=r"Software\.valid\.csv\.gz holds no data"):
        prepare(config)


def test_histories_other_than_the_rows_are_reported(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(amazon2023, "_HISTORY_ROWS", 7)
    config = amazon_config(config, tmp_path, "software")
    good = prepare(config)
    assert "all are equal" in capsys.readouterr().out
    # Row 4 of the file is user A0's fourth: without its oldest item, it and the next row differ.
    change_split(config, lambda x: [*x[:4], x[4].replace(x[1].split(",")[1] + " ", ""), *x[5:]])
    assert examples(prepare(config)) == examples(good)
    assert "2 differ (the first: user A0, item B" in capsys.readouterr().out


def test_files_of_different_releases_are_noticed(config, tmp_path):
    config = amazon_config(config, tmp_path, "software")
    late = [f"A{user},B59,5.0,{START * 2000},B01" for user in range(40)]
    change_split(config, lambda lines: [*lines[:-1], *late, ""])
    with pytest.raises(UserError, match=r"user A\d+: a row of an earlier file .*has a later time"):
        prepare(config)


def test_changed_raw_files_are_prepared_again(config, tmp_path):
    config = amazon_config(config, tmp_path, "software")
    first = prepare(config)
    gone = f"{first.user_ids[0]},"
    for split in CODES:
        change_split(config, lambda lines: [x for x in lines if not x.startswith(gone)], split)
    assert prepare(config).user_ids.to_list() == first.user_ids.to_list()[1:]


def test_a_recipe_that_leaves_nothing_says_so(config, tmp_path):
    config = amazon_config(config, tmp_path, "software")
    change_split(config, lambda lines: [line.replace(",5.0,", ",1.0,") for line in lines], "valid")
    change_split(config, lambda lines: [line.replace(",4.0,", ",1.0,") for line in lines], "valid")
    with pytest.raises(UserError, match=r"leaves no target for validation"):
        prepare(config)


def test_records_hold_all_that_was_written(generated):
    tiny = {"demo_users": 50, "demo_items": 60, "demo_seed": 3}
    stored = builders.load(dataclasses.replace(generated, **tiny))
    plain = demo.generate(DataConfig(**tiny))
    for field in ("items", "offsets", "split", "timestamps", "training_lengths"):
        np.testing.assert_array_equal(getattr(stored, field), getattr(plain, field), strict=True)
    for field in ("user_ids", "item_ids", "item_text"):
        assert getattr(stored, field).equals(getattr(plain, field))


@pytest.mark.parametrize(
    "changes",
    [
        {"builder": "yelp", "core": 5},
        {"builder": "yelp", "split": "time"},
        {"builder": "yelp", "mirror": "https://x"},
        {"builder": "software", "rating_above": 2.0},
        {"builder": "software", "min_history": 3},
        {"builder": "software", "path": "x"},
        {"builder": "software", "item_text": "x"},
        {"builder": "software", "known_items_only": True},
    ],
)
def test_options_that_the_recipe_fixes_are_refused(config, changes):
    (name,) = set(changes) - {"builder"}
    with pytest.raises(UserError, match=rf"data\.{name} has no meaning for data\.builder="):
        prepare(dataclasses.replace(config, **changes))


def damaged(directory, pattern, cut):
    (path,) = Path(directory).rglob(pattern)
    if cut:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.unlink()


@pytest.mark.parametrize("pattern", ["*array_record*", "items.parquet"])
@pytest.mark.parametrize("cut", [True, False])
def test_damaged_prepared_data_say_what_to_do(generated, pattern, cut):
    builders.load(generated)
    damaged(os.environ["XDG_CACHE_HOME"], pattern, cut)
    with pytest.raises(UserError, match=r"holds no complete prepared data .*delete it"):
        builders.load(generated)


def test_a_place_that_cannot_be_written(generated, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written to .*data\.tfds_dir"):
        builders.load(dataclasses.replace(generated, tfds_dir=str(tmp_path / "file")))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"source": "tfds"}, r"data\.builder='' must be one of yelp, video_games"),
        ({"source": "tfds", "builder": "softwares"}, r"did you mean software\?"),
        ({"malformed_share": 1.0}, r"data\.malformed_share=1\.0 must be"),
    ],
)
def test_wrong_options_are_explained(data, sentence):
    with pytest.raises(UserError, match=sentence):
        options.resolve({"data": data})


def test_all_builders_can_be_chosen():
    assert tuple(builders.BUILDERS) == options.BUILDERS
    assert all(name == kind.name for name, kind in builders.BUILDERS.items())


def _prepare(config):
    builders.BUILDERS["generated"] = Generated
    assert builders.load(config).num_users == 300


def test_processes_at_once_prepare_the_same(generated):
    config = dataclasses.replace(generated, demo_users=300)
    context = get_context("spawn")
    workers = [context.Process(target=_prepare, args=(config,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    root = Path(os.environ["XDG_CACHE_HOME"]) / "rearec_jax" / "tfds" / "generated"
    assert len(list(root.glob("*/*"))) == 1


def test_data_that_another_process_prepared_meanwhile_are_read(generated, monkeypatch):
    prepare_one = builders._prepare

    def late(builder):
        monkeypatch.setattr(builders, "_prepare", prepare_one)
        builders.load(generated)
        prepare_one(builder)

    monkeypatch.setattr(builders, "_prepare", late)
    assert builders.load(generated).num_users == 50


def test_an_interrupted_preparation_leaves_nothing_and_starts_again(generated, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(tfds_records, "examples", interrupt_after_some)
        with pytest.raises(KeyboardInterrupt):
            builders.load(generated)
    root = Path(os.environ["XDG_CACHE_HOME"]) / "rearec_jax" / "tfds" / "generated"
    assert list(root.glob("*/*")) == []
    assert builders.load(generated).num_users == 50


def interrupt_after_some(data):
    yield next(EXAMPLES(data))
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", builders.BUILDERS)
def test_configurations_have_the_settings_of_the_paper(name):
    path = ROOT / "configs" / f"{name}.py"
    resolved = options.resolve(runpy.run_path(str(path))["get_config"]())
    model, train = resolved.model, resolved.train
    assert (resolved.data.source, resolved.data.builder) == ("tfds", name)
    assert (model.width, model.layers, model.heads, model.hidden) == (256, 2, 2, 300)
    assert (model.max_length, train.batch_size, train.learning_rate) == (50, 2048, 1e-3)
    assert train.patience == 10


def test_tensorflow_is_never_imported(tmp_path):
    program = (
        "import sys; from rearec_jax.config import DataConfig;"
        "from rearec_jax.data.published.builders import BUILDERS, load;"
        "from benchmarks.record_loading import Generated;"
        "BUILDERS['generated'] = Generated;"
        f"c = DataConfig(builder='generated', demo_users=50, tfds_dir={str(tmp_path)!r});"
        "load(c); load(c);"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_users_are_read_in_bulk(generated):
    """CPU seconds: one record at a time, 4,000 users would take about three."""
    config = dataclasses.replace(generated, demo_users=4000)
    builders.load(config)
    begin = time.process_time()
    assert builders.load(config).num_users == 4000
    assert time.process_time() - begin < 1.0
