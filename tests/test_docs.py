"""README.md and docs/: links lead somewhere, and examples name what there is. Nothing is built."""

from collections.abc import Iterator
import importlib
import json
from pathlib import Path
import re
import runpy
from types import SimpleNamespace
from typing import Any

import pytest

from rearec_jax import config
from tests.processes import ROOT

DOCS = ROOT / "docs"
NOTEBOOKS = sorted(DOCS.rglob("*.ipynb"))
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
OPTIONS = {
    f"{section}.{name}"
    for section, options in config.to_dict(config.resolve(config.default())).items()
    if isinstance(options, dict)
    for name in options
}
CODE = ("rearec_jax", "benchmarks", "configs", "launch", "tests")
MODES = {path.stem for path in (ROOT / "rearec_jax" / "commands").glob("*.py")}
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^()\s]+)\)|!\[[^\]]*\]\(([^()\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())


def read(page: Path) -> str:
    return page.read_text("utf-8")


def prose(page: Path) -> str:
    """The text of a page without its blocks of code."""
    return FENCE.sub("", read(page))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs.yml make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    words = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", word).strip().lower().replace(" ", "-") for word in words}


def broken(page: Path) -> Iterator[str]:
    """One sentence for each link of ``page`` that leads nowhere."""
    for match in LINK.finditer(prose(page)):
        link = match[1] or match[2]
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists():
            yield f"{link}: there is no {name}"
        elif DOCS in page.parents and DOCS not in target.parents:
            yield f"{link}: the site has only what is in docs/"
        elif anchor and (target.suffix != ".md" or anchor not in anchors(target)):
            yield f"{link}: {target.name} has no heading #{anchor}"


@each_page
def test_links_lead_somewhere(page):
    assert list(broken(page)) == []


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ("[a](nowhere.md)", "no nowhere.md"),
        ("![a](nowhere.png)", "no nowhere.png"),
        ("[a](#no-such)", "no heading"),
        ("[a](other.md#no-such)", "no heading"),
        ("[a](../other.md)", "no ../other.md"),
        ("[a](#λ-and-a-code-heading), [b](other.md), <https://x.y>, [c](https://x.y/z.md)", ""),
    ],
)
def test_a_link_to_nowhere_is_found(tmp_path, link, fault):
    (tmp_path / "other.md").write_text("# Other\n")
    page = tmp_path / "page.md"
    page.write_text(f"# λ, and a `code` heading\n\n{link}\n\n```sh\n# No heading\n```\n")
    found = list(broken(page))
    assert len(found) == bool(fault) and all(fault in sentence for sentence in found)


def test_every_page_is_on_the_site():
    listed = re.findall(r"\S+\.md$", read(ROOT / "mkdocs.yml"), re.MULTILINE)
    assert len(listed) == len(set(listed))
    written = [page for page in PAGES if DOCS in page.parents]
    made = [notebook.with_suffix(".md") for notebook in NOTEBOOKS]
    assert set(listed) == {page.relative_to(DOCS).as_posix() for page in [*written, *made]}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_show_what_their_code_has_shown(path):
    notebook = json.loads(read(path))
    ran = runpy.run_path(str(ROOT / "launch/notebooks.py"))["sources_digest"](notebook["cells"])
    assert notebook["metadata"]["ran"] == ran, "its code has changed: python launch/notebooks.py"
    page = runpy.run_path(str(ROOT / "launch/docs_notebooks.py"))["as_page"](notebook, path.name)
    assert page.startswith("# ") and f"({path.name})" in page
    assert "/tmp/" not in page and "Traceback" not in page
    assert ("<img" in page) == (path.stem == "does_thinking_help")
    for name in LINK.findall(FENCE.sub("", page)):
        assert (path.parent / name[0]).exists(), name


def test_links_to_notebooks_lead_to_their_pages():
    hook = runpy.run_path(str(ROOT / "launch/docs_notebooks.py"))["on_page_markdown"]
    page = SimpleNamespace(file=SimpleNamespace(generated_by=None))
    assert hook("[a](x/b.ipynb), `b.ipynb`", page=page) == "[a](x/b.md), `b.ipynb`"


@each_page
def test_commands_name_what_there_is(page):
    # Blocks with a title are examples of files to be added.
    text = re.sub(r"```python title=.*?```", "", read(page), flags=re.DOTALL)
    for module in re.findall(r"python -m ([\w.]+)", text):
        path = ROOT / module.replace(".", "/")
        ours = module.startswith(("rearec_jax", "benchmarks"))
        assert not ours or path.is_dir() or path.with_suffix(".py").exists(), module
    for name in re.findall(r"\b((?:launch|configs|benchmarks|tests)/[\w/]+\.\w+)", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"(?<![/\w])(rearec_jax/[\w/]+\.\w+|rearec_jax/[\w/]+/)", text):
        assert (ROOT / name).exists(), name
    assert set(re.findall(r"--mode=(\w+)", text)) <= MODES
    for option in re.findall(r"--config\.([\w.]+)", text):
        assert option in {*OPTIONS, "seed", "name", "x.y", "NAME"}, option


@each_page
def test_files_of_the_code_are_called_by_their_names(page):
    written = {"best.py", "runs/tuned/best.py"}  # by --mode=tune
    names = {path.as_posix() for folder in CODE for path in (ROOT / folder).rglob("*.*")}
    for name in re.findall(r"`([\w/]+\.(?:py|js|sh))`", prose(page)):
        assert name in written or any(path.endswith(f"/{name}") for path in names), name


@each_page
def test_options_are_called_by_their_names(page):
    sections = "|".join(sorted({option.partition(".")[0] for option in OPTIONS}))
    for option in re.findall(rf"`((?:{sections})\.[a-z_]+)(?==|`)", prose(page)):
        assert option in OPTIONS or option.endswith((".json", "_")), option


@each_page
def test_python_examples_are_python(page):
    for language, code in FENCE.findall(read(page)):
        if language == "python":
            compile(code, str(page), "exec")


def test_the_reference_names_what_there_is():
    names = [n for page in PAGES for n in re.findall(r"^::: ([\w.]+)$", read(page), re.MULTILINE)]
    assert len(names) > 20
    for name in names:
        found(name)


def found(name: str) -> Any:
    """The module or the part of one that ``name`` means."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        parent, _, last = name.rpartition(".")
        return getattr(found(parent), last)


@each_page
def test_lines_of_prose_are_short(page):
    long = [
        line
        for line in prose(page).splitlines()
        if len(line) > 120 and not line.startswith(("|", "    "))
    ]
    assert long == []


def test_the_readme_is_short():
    assert len(read(ROOT / "README.md").splitlines()) <= 150
