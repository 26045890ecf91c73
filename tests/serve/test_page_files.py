"""The page's files are complete, load nothing from elsewhere, and never make text markup."""

import re

import pytest

from tests.serve.stub import KINDS, STATIC

FILES = sorted(STATIC.iterdir())
SVG = "http://www.w3.org/2000/svg"  # a name, not an address


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_file_fetches_nothing_from_elsewhere(file) -> None:
    assert file.suffix in KINDS
    text = file.read_text(encoding="utf-8").replace(SVG, "")
    assert not re.search(r"https?:|[\"'(]//|@import|data:", text)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_file_makes_no_markup_or_code_from_text(file) -> None:
    text = file.read_text(encoding="utf-8")
    for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]:
        assert forbidden not in text
    if file.suffix == ".html":  # the policy forbids both
        assert not re.search(r"\s(style|on\w+)=|<style|<script(?![^>]*src=)", text)


def test_every_file_named_is_there_and_every_module_is_used() -> None:
    index = (STATIC / "index.html").read_text(encoding="utf-8")
    named = set(re.findall(r'(?:href|src)="static/([^"]+)"', index))
    for file in STATIC.glob("*.js"):
        named |= set(re.findall(r'from "\./([^"]+)"', file.read_text(encoding="utf-8")))
    assert named | {"index.html"} == {file.name for file in FILES}
