"""The report of runs and studies: what is on the page, what is not, and what is refused."""

import json
from pathlib import Path
import sys

import polars as pl
import pytest

from rearec_jax.commands.report import report_runs
from rearec_jax.config import AnalysisConfig
from rearec_jax.errors import UserError
from rearec_jax.studies.report import answer, page, sources
from rearec_jax.studies.report import write as report_run
from rearec_jax.studies.report.blocks import Lead, Note, Table
from tests.studies.report import made_runs
from tests.studies.report.html_check import Checker, check

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

FAST = AnalysisConfig(resamples=200)
HOSTILE = '</title></script><script>alert(1)</script><img src=x onerror="x()">"'
HOSTILE += "'&{{ title }} {% raw %}"
ALL = {"data", "runs", "options", "training", "accuracy", "significance", "steps", "groups"}
ALL |= {"trajectories", "states", "lists", "stories", "answer"}


@pytest.fixture(autouse=True)
def quick_pdf(monkeypatch):
    """Fonts in PDFs are most of the time; test_figures has a real one."""
    monkeypatch.setattr(report_run.drawing, "pdf", lambda _: b"%PDF")


def report(names: list[str], place: Path) -> Checker:
    """The page, checked; its figures lie beside it."""
    path = report_runs(names, str(place), FAST)
    assert path == place / "report/report.html"
    page = check(path.read_text(encoding="utf-8"))
    files = {file.name for file in path.parent.iterdir()} - {"report.html"}
    assert files == {link for link in page.links if not link.startswith("#")}
    assert len(files) == 2 * page.tags.count("figure")
    return page


def sections(page: Checker) -> set[str]:
    linked = {link[1:] for link in page.links if link.startswith("#")}
    return (linked | {"answer"}) & set(page.ids)  # the answer stands above the contents


def shown(page: Checker) -> str:
    return " ".join(" ".join(page.text).split())


@pytest.fixture
def base(tmp_path):
    return made_runs.write(tmp_path / "base", {"method.name": "base"})


@pytest.fixture
def erl(tmp_path):
    return made_runs.write(tmp_path / "erl")


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Checker:
    """The page of base and erl."""
    place = tmp_path_factory.mktemp("both")
    names = [made_runs.write(place / "base", {"method.name": "base"})]
    names.append(made_runs.write(place / "erl"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_run.drawing, "pdf", lambda _: b"%PDF")
        return report(names, place)


def test_two_runs_have_every_section(both):
    assert {name for name in sections(both) if "-" not in name} == ALL
    for words in ("popularity", "step 1", "best step in hindsight", "method.name", "1 min 11 s"):
        assert words in shown(both)
    assert "Against base" in shown(both)


def test_a_table_has_caption_headings_and_numbers_to_the_right(both):
    assert both.tags.count("table") == both.tags.count("caption") > 5
    assert ("class", "number") in both.attributes and ("scope", "col") in both.attributes


def test_every_figure_is_described_and_numbered(both):
    described = [value for name, value in both.attributes if name == "aria-label"]
    assert all(described) and both.tags.count("svg") == both.tags.count("figcaption")
    assert f"Figure {both.tags.count('figure')}." in shown(both)


def test_the_answer_comes_first_and_options_last(base, erl):
    found = page.sections(sources.read([base, erl], FAST))
    names = [section.name for section in found]
    assert names[0] == "answer" and names[-3:] == ["data", "runs", "options"]
    assert [type(block) for block in found[0].blocks] == [Lead, Table]


@pytest.mark.parametrize("is_better", [True, False])
def test_the_answer_is_the_best_run_with_gain_interval_and_cost(is_better, base, tmp_path):
    erl = Path(made_runs.write(tmp_path / "erl"))
    ranks = pl.read_parquet(erl / "ranks.parquet")
    final = pl.lit(1 if is_better else 50).cast(ranks.schema["rank"])
    ranks.with_columns(final.alias("rank")).write_parquet(erl / "ranks.parquet")
    found = sources.read([base, str(erl)], FAST)
    lead, table = answer.answer(found.data_sets[0])
    (gain,) = (e for e in found.data_sets[0].comparison.differences if e.metric == "ndcg@10")
    assert lead.text.startswith(f"Best on demo: {'erl' if is_better else 'base'}, test NDCG@10 ")
    if is_better:
        assert f"{gain.t_test.mean:+.4f}".replace("0.", ".", 1) in lead.text
    else:
        assert "no other run is better" in lead.text
    low, high = (float(text) for text in table.rows[1][3].split(" to "))
    assert low == pytest.approx(gain.bootstrap.low, abs=1e-4)
    assert high == pytest.approx(gain.bootstrap.high, abs=1e-4)
    assert [row[4] for row in table.rows] == ["1 min 11 s"] * 2
    assert list(table.strong) == [1 if is_better else 0]


def test_one_run_is_told_against_its_own_step_0(erl):
    (data,) = sources.read([erl], FAST).data_sets
    lead, table = answer.answer(data)
    assert "Result on demo: erl" in lead.text and "the model's own step 0" in lead.text
    low, high = (float(text) for text in table.rows[0][3].split(" to "))
    assert low < float(table.rows[0][2]) < high


def test_nothing_local_is_shown_unless_asked(tmp_path):
    secret = tmp_path / "home/secret"
    options = {"data.path": "/home/secret/file.csv", "data.source": "sequences"}
    options |= {"data.cache_dir": "/home/secret/cache", "analysis.story_users": ["u<7>"]}
    names = [made_runs.write(secret / name, options) for name in ("a", "b")]
    names.append(made_runs.write(secret / "c", options, seed=1))
    texts = []
    for place, local in (("plain", False), ("local", True)):
        path = report_runs(names, str(tmp_path / place), FAST, local)
        page = check(path.read_text(encoding="utf-8"))
        texts.append(path.read_text(encoding="utf-8"))
        assert ("u<7>" in shown(page)) == ("secret" in texts[-1]) == local
    assert str(tmp_path) not in texts[0] and "not compared" in texts[0]


def test_one_run_is_reported_in_its_own_directory(erl):
    assert report_runs([], erl, FAST) == Path(erl) / "report/report.html"
    page = check((Path(erl) / "report/report.html").read_text())
    assert {name for name in sections(page) if "-" not in name} == ALL - {"significance"}


def test_the_directory_of_several_is_that_of_their_names(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert report_run._default_directory([base]) == base
    one, other = (report_run._default_directory(names) for names in (["a", "b"], ["b", "a"]))
    assert one.startswith("runs/report-") and one != other


def test_what_comes_from_users_is_text(tmp_path):
    options = {"data.name": HOSTILE, "data.path": HOSTILE, "data.source": "sequences"}
    names = [
        made_runs.write(tmp_path / "a", options, title=HOSTILE),
        made_runs.write(tmp_path / "b<b>&", options, seed=1, title=HOSTILE.replace("<", "&lt;")),
    ]
    page = report(names, tmp_path / "out")
    assert shown(page).count("alert(1)") > 20
    assert "img" not in page.tags


def test_prepared_data_are_not_said_to_be_split_by_the_default(base, tmp_path):
    assert "Split: leave one out" in shown(report([base], tmp_path / "a"))
    prepared = {"data.source": "tfds", "data.builder": "yelp"}
    page = shown(report([made_runs.write(tmp_path / "yelp", prepared)], tmp_path / "b"))
    assert "Split: as the data set was prepared." in page and "leave one out" not in page


def test_a_run_without_analysis_shows_what_its_ranks_give(tmp_path):
    erl = made_runs.write(tmp_path / "erl")
    for file in (tmp_path / "erl/analysis").iterdir():
        file.unlink()
    found = sections(report([erl], tmp_path / "out"))
    assert {"accuracy", "steps", "groups", "trajectories"} <= found
    assert not {"states", "lists", "stories"} & found


def test_a_run_without_ranks_or_events_shows_its_accuracy(tmp_path):
    erl = made_runs.write(tmp_path / "erl", {"method.name": "base"})
    (tmp_path / "erl/ranks.parquet").unlink()
    (tmp_path / "erl/metrics.jsonl").unlink()
    found = sections(report([erl], tmp_path / "out"))
    assert "accuracy" in found and not {"training", "groups", "steps"} & found


def test_an_unfinished_run_shows_its_training(base, tmp_path):
    erl = made_runs.write(tmp_path / "erl")
    (tmp_path / "erl/summary.json").unlink()
    page = report([base, erl], tmp_path / "out")
    assert "erl is not finished." in shown(page)
    assert "significance" not in sections(page)


def test_seeds_are_told_apart_and_compared_as_one(base, tmp_path):
    names = [made_runs.write(tmp_path / f"e{seed}", seed=seed) for seed in (1, 2)]
    page = shown(report([base, *names], tmp_path / "out"))
    assert "erl, seed 1" in page and "erl, seed 2" in page and "p (seeds)" in page


def test_other_data_and_other_rules_are_kept_apart(base, tmp_path):
    plain = {"method.name": "base"}
    other = made_runs.write(tmp_path / "other", plain | {"data.name": "books"})
    (tmp_path / "other/data.json").write_text(json.dumps({"digest": "e"}))
    seen = made_runs.write(tmp_path / "seen", plain | {"eval.exclude_seen": True})
    found = sources.read([base, other, seen], FAST)
    assert [data.name for data in found.data_sets] == [
        "demo",
        "books",
        "demo (seen items excluded)",
    ]
    assert all(data.comparison is None for data in found.data_sets)
    page = report([base, other, seen], tmp_path / "out")
    assert page.tags.count("h3") > 3


def with_vectors(name: str, interactions: str = "d") -> str:
    digests = {"digest": f"{interactions} and vectors", "interactions": interactions}
    (Path(name) / "data.json").write_text(json.dumps(digests))
    return name


def test_backbones_with_and_without_text_share_their_data(base, tmp_path):
    text = {"method.name": "base", "model.backbone": "morec"}
    morec = with_vectors(made_runs.write(tmp_path / "morec", text))
    found = sources.read([base, morec], FAST)
    assert [data.name for data in found.data_sets] == ["demo"]
    assert found.data_sets[0].comparison is not None
    labels = [run.label for run in found.runs]
    assert labels == ["base on sasrec", "base on morec"]


def test_an_unfinished_run_is_with_those_of_its_data(base, tmp_path):
    text = {"method.name": "erl", "model.backbone": "morec"}
    names = [with_vectors(made_runs.write(tmp_path / f"m{s}", text, seed=s)) for s in (0, 1)]
    for seed in (0, 1):
        (tmp_path / f"m{seed}/summary.json").unlink()
    assert len(sources.read([base, *names], FAST).data_sets) == 1


def test_other_interactions_of_the_same_name_are_kept_apart(base, tmp_path):
    other = with_vectors(made_runs.write(tmp_path / "other"), "e")
    assert [data.name for data in sources.read([base, other], FAST).data_sets] == [
        "demo",
        "demo #2",
    ]


def test_runs_that_cannot_be_compared_say_why(base, tmp_path):
    same = made_runs.write(tmp_path / "same", {"method.name": "base"})
    page = report([base, same], tmp_path / "out")
    assert "have the same options and the same seed" in shown(page)


def test_a_study_has_a_curve_an_option_with_many_values(tmp_path):
    root = tmp_path / "depth"
    made_runs.write_cell(root, "as_given", "base", 0.1)
    for steps in (1, 2, 10):
        for seed in (0, 1):
            made_runs.write_cell(root, f"method.steps={steps}", "erl", 0.1 * seed + 0.1, seed)
    page = report([str(root)], tmp_path / "out")
    assert page.tags.count("figure") == 2  # test and validation
    assert "Reasoning steps K" in shown(page) and "Means over up to 2 seeds" in shown(page)


def test_a_study_of_few_values_has_a_dot_a_variant(base, tmp_path):
    root = tmp_path / "ablation"
    for weight in (0, 1):
        made_runs.write_cell(root, f"method.contrastive_weight={weight}", "prl", 0.1)
    page = report([base, str(root)], tmp_path / "out")
    assert "contrastive weight=1" in shown(page) and "study-1" in sections(page)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "needs --runs=DIR,DIR"),
        (["erl", "./erl"], "twice"),
        (["nowhere"], r"--runs: nowhere does not exist"),
        (["erl/analysis"], "is not the work directory of a run"),
        (["empty"], "holds no finished cell of a study"),
        (["grid"], r"grid is the root of a grid; .* such as grid/tiny/sasrec-prl-seed0"),
    ],
)
def test_what_is_no_run_is_refused(names, words, erl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty/method.steps=1").mkdir(parents=True)
    made_runs.write_cell(tmp_path, "grid", "prl", 0.1)
    with pytest.raises(UserError, match=words):
        report_runs(names, "out" if names else None, FAST)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("file", "mode"),
    [
        ("analysis/tables.json", "analyse"),
        ("analysis/stories.json", "analyse"),
        ("analysis/projection.parquet", "analyse"),
        ("summary.json", "evaluate"),
        ("ranks.parquet", "evaluate"),
    ],
)
def test_a_damaged_file_is_named_with_its_cure(file, mode, erl):
    (Path(erl) / file).write_text("[" if file.endswith("json") else "no parquet")
    with pytest.raises(UserError, match=rf"(?s){file}.*--mode={mode} --workdir={erl}"):
        report_runs([erl], None, FAST)
    assert not (Path(erl) / "report").exists()


def test_a_report_that_fails_leaves_the_old_one(erl, monkeypatch):
    path = Path(erl) / "report/report.html"
    path.parent.mkdir()
    path.write_text("old")
    monkeypatch.setattr(report_run.drawing, "pdf", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report_runs([erl], None, FAST)
    assert path.read_text() == "old"
    assert {file.name for file in Path(erl).iterdir() if file.name.startswith(".")} == set()


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_without_its_packages_it_says_what_to_install(package, erl, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"pip install {package}"):
        report_runs([erl], None, FAST)
    assert not (Path(erl) / "report").exists()


def test_the_page_escapes_text_and_attributes():
    blocks = [Note("1 < 2"), Table('x"y', ["<b>"], [["&"]])]
    about = page.About("a & b", "<i>", "python '")
    text = page.page(about, [page.Section("s", "<h2>", blocks)], {})
    assert "<b>" not in text and "<i>" not in text and "<title>a &amp; b</title>" in text
    assert '<p class="note">1 &lt; 2</p>' in text and 'aria-label="x&#34;y"' in text
    assert "&amp;</th>" in text and "python &#39;" in text
