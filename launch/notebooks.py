"""Runs the notebooks of docs/notebooks on the generated demo, and keeps what they show in them.

    pip install -e '.[notebook,report,serve]' nbclient
    python launch/notebooks.py               # all; or name some: docs/notebooks/first_model.ipynb

Each runs in a directory of its own, with a ratings.csv of the demo's users. Some minutes.
"""

import hashlib
import os
from pathlib import Path
import re
import sys
import tempfile
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


def sources_digest(cells: list[dict[str, Any]]) -> str:
    """Returns a digest of the code of a notebook, which tells whether it ran as it stands."""
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return hashlib.sha256("\n\n".join(code).encode()).hexdigest()[:16]


def write_ratings(path: Path) -> None:
    """Writes the demo's users as a CSV file, with the titles of items as their ids."""
    sys.path.insert(0, str(ROOT))  # the package need not be installed
    import numpy as np
    import polars as pl

    from rearec_jax.config import Config
    from rearec_jax.data.prepare import prepare

    data = prepare(Config().data)
    assert data.item_text is not None and data.timestamps is not None
    rows = {
        "user_id": data.user_ids.gather(np.repeat(np.arange(data.num_users), data.lengths)),
        "item_id": data.item_text.gather(data.items),
        "timestamp": data.timestamps,
    }
    pl.DataFrame(rows).sort("timestamp", "user_id").write_csv(path)


def run(path: Path) -> None:
    """Runs a notebook, and writes it with its outputs."""
    from nbclient import NotebookClient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as directory:
        write_ratings(Path(directory) / "ratings.csv")
        NotebookClient(
            notebook, timeout=None, resources={"metadata": {"path": directory}}
        ).execute()
        for cell in notebook.cells:
            _clean(cell, directory)
    notebook.metadata.pop("widgets", None)
    notebook.metadata["ran"] = sources_digest(notebook.cells)
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)


def _clean(cell: Any, directory: str) -> None:
    """Keeps what a cell shows without bars, colours, speeds and paths of this machine.

    Lines and tables of rich, each of which is an output of its own, become one text.
    """
    from nbformat.v4 import new_output

    cell.metadata.pop("execution", None)
    shown: list[Any] = []
    for output in cell.get("outputs", ()):
        data = output.get("data", {})
        if "application/vnd.jupyter.widget-view+json" in data:
            continue
        if output["output_type"] == "display_data" and "image/png" not in data:
            output = new_output("stream", name="stdout", text=data["text/plain"])
        if output["output_type"] == "stream" and shown and shown[-1]["output_type"] == "stream":
            shown[-1]["text"] += output["text"]
        else:
            shown.append(output)
    for output in shown:
        if output["output_type"] == "stream":
            text = COLOUR.sub("", output["text"].replace(f"{directory}/", ""))
            lines = [line.rstrip() for line in text.splitlines() if "targets/s" not in line]
            output["text"] = "\n".join(lines).strip("\n") + "\n"
    if "outputs" in cell:
        cell["outputs"] = shown


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = str(ROOT)  # of the kernels
    for one in [Path(name) for name in sys.argv[1:]] or NOTEBOOKS:
        print(one.name, flush=True)
        run(one)
