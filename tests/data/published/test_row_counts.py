"""Our counts beside the authors'."""

from rearec_jax.data.published.row_counts import Counts

AUTHORS = {"core": {"users": 1000, "rows": 5}, "last": {"rows": 3}}


def test_each_stage_says_whether_it_agrees(capsys):
    counts = Counts("yelp", AUTHORS)
    counts.add("first", rows=9)
    counts.add("core", users=1000, items=2, rows=6)
    assert capsys.readouterr().out.splitlines() == [
        "yelp: first: 9 rows",
        "yelp: core: 1,000 users (authors: 1,000, agrees), 2 items, 6 rows (authors: 5, DIFFERS)",
    ]
    assert counts.verdict().startswith("1 of 2 counts known from the authors differ")


def test_the_verdict_on_all():
    counts = Counts("yelp", AUTHORS)
    assert counts.verdict() == "no counts of the authors are known to compare with"
    counts.add("core", users=1000, rows=5)
    counts.add("last", rows=3)
    assert counts.verdict() == "all 3 counts known from the authors agree"
