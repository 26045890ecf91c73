"""Draws runs and studies, and writes the directory ``report/``."""

from collections.abc import Iterable, Sequence
import pathlib
import shlex

from rich.console import Console
from rich.progress import track

from rearec_jax.config import AnalysisConfig
from rearec_jax.run.interruption import interruptible
from rearec_jax.run.progress import say
from rearec_jax.run.workdir import make_directory, named_after, replaced
from rearec_jax.studies.report import drawing, page, sources, style
from rearec_jax.studies.report.drawing import Drawing
from rearec_jax.studies.report.sources import Sources
from rearec_jax.version import __version__

PAGE = "report.html"


def report_runs(
    names: Sequence[str], directory: str | None, options: AnalysisConfig, local: bool = False
) -> pathlib.Path:
    """Writes report/report.html and its figures below ``directory``; returns the page's path.

    Args:
        names: the work directories of runs, and the roots of studies; where there are none,
            ``directory`` is the run.
        directory: the directory; None for that of the one run, or runs/report-<hash of the names>.
        options: the options of the comparison.
        local: shows paths of this machine and raw ids of users as well.

    Raises:
        UserError: there is no such run, a file is damaged, matplotlib or jinja2 is not installed,
            or nothing can be written.
    """
    style.require()
    page.templates()
    names = list(names) or ([directory] if directory else [])
    place = pathlib.Path(directory or _default_directory(names))
    with interruptible():
        found = sources.read(names, options)
        if not local:
            found = sources.without_local(found)
        make_directory(place)
        written = _write(place / "report", _command(names, directory) if local else "", found)
    say(f"written: {written}")
    return written


def _write(directory: pathlib.Path, command: str, found: Sources) -> pathlib.Path:
    written = page.sections(found)
    files: dict[str, bytes] = {}
    with replaced(directory) as new:
        for each in _shown(list(page.drawings(written))):
            files[each.name] = drawing.svg(each)
            (new / f"{each.name}.svg").write_bytes(files[each.name])
            (new / f"{each.name}.pdf").write_bytes(drawing.pdf(each))
        about = page.About(_title(found), _about(found), command)
        text = page.page(about, written, files)
        (new / PAGE).write_text(text, encoding="utf-8")
    return directory / PAGE


def _shown(drawings: Sequence[Drawing]) -> Iterable[Drawing]:
    """Returns the drawings; taking them moves a bar in a terminal, elsewhere a line counts them."""
    console = Console()
    if console.is_terminal:
        return track(drawings, "drawing", console=console, transient=True)
    say(f"drawing {len(drawings)} figures")
    return drawings


def _title(found: Sources) -> str:
    """Returns the title: the data sets and methods, and the studies."""
    data = dict.fromkeys(each.name for each in found.data_sets)
    methods = dict.fromkeys(run.config.method.name for run in found.runs)
    studies = [f"study {study.path.name}" for study in found.studies]
    runs = [f"{', '.join(methods)} on {', '.join(data)}"] if data else []
    return "; ".join([*runs, *studies])


def _about(found: Sources) -> str:
    """Returns the line below the title."""
    counts = [(len(found.runs), "run", "runs"), (len(found.studies), "study", "studies")]
    sizes = [f"{count} {one if count == 1 else many}" for count, one, many in counts if count]
    return (
        "Sequential recommendation with latent reasoning (ReaRec):"
        f" {' and '.join(sizes)}, rearec_jax {__version__}."
    )


def _command(names: Sequence[str], directory: str | None) -> str:
    workdir = [f"--workdir={directory}"] if directory else []
    words = [
        "python",
        "-m",
        "rearec_jax.main",
        "--mode=report",
        f"--runs={','.join(names)}",
        "--local",
    ]
    return shlex.join([*words, *workdir])


def _default_directory(names: Sequence[str]) -> str:
    """Returns the directory of the one run, or runs/report-<hash of the names>."""
    return names[0] if len(names) == 1 else named_after("report", names)
