"""A hook of MkDocs: makes a page of each notebook in docs/, with the outputs that are kept in it.

Nothing is run. A link to ``NAME.ipynb`` in another page leads to the page of that notebook.
"""

from collections.abc import Iterator
import json
from pathlib import Path
import re
from typing import Any


def on_files(files: Any, config: Any) -> Any:
    """Adds a page for each notebook; the notebook itself stays beside it, to be downloaded."""
    from mkdocs.structure.files import File

    for file in [one for one in files if one.src_uri.endswith(".ipynb")]:
        text = as_page(
            json.loads(Path(file.abs_src_path).read_text("utf-8")), Path(file.src_uri).name
        )
        uri = str(Path(file.src_uri).with_suffix(".md"))
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Returns the page with its links to notebooks as links to their pages."""
    if page.file.generated_by is not None:
        return markdown
    return re.sub(r"(\]\([\w./]+)\.ipynb\)", r"\1.md)", markdown)


def as_page(notebook: dict[str, Any], name: str) -> str:
    """Returns a notebook as Markdown, with a link to the notebook of this name below its title."""
    title, *rest = [part for cell in notebook["cells"] for part in _parts(cell)]
    title, _, text = title.partition("\n")
    return "\n\n".join([title, f"[Download the notebook]({name})", text.strip(), *rest, ""])


def _parts(cell: dict[str, Any]) -> Iterator[str]:
    text = "".join(cell["source"])
    yield text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
    for output in cell.get("outputs", ()):
        yield _output(output)


def _output(output: dict[str, Any]) -> str:
    """Returns a picture, a table or a text, whichever of them there is first."""
    data = {kind: "".join(value) for kind, value in output.get("data", {}).items()}
    if "image/png" in data:
        picture = data["image/png"].replace("\n", "")
        return f'<img alt="What the cell draws" src="data:image/png;base64,{picture}">'
    if "text/html" in data:  # of a data frame; the theme draws tables without a class
        table = re.sub(r"<style>.*?</style>", "", data["text/html"], flags=re.DOTALL)
        return re.sub(r"<table[^>]*>", "<table>", table).replace("\n", "")
    return f"```text\n{data.get('text/plain') or ''.join(output['text'])}\n```"
