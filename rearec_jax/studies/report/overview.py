"""Sections of a report: the data, the runs, their options, and how training went."""

from collections.abc import Iterator, Mapping
from typing import Any

from rearec_jax import config as config_lib
from rearec_jax.config import DataConfig
from rearec_jax.config.compare import FREE_OPTIONS, flattened
from rearec_jax.studies.report import numbers, training_figures
from rearec_jax.studies.report.blocks import Block, Note, Paragraph, Table
from rearec_jax.studies.report.drawing import Drawing
from rearec_jax.studies.report.run_files import RunFiles
from rearec_jax.studies.report.sources import DataSet

SIZES = ("users", "items", "interactions")
SPLITS = {
    "leave_one_out": "leave one out (of each user the last item is the test target, the one before"
    " it validation)",
    "time": "by time, at two given dates",
    "time_fraction": "by time, at two fractions of the whole span",
    "given": "as the source gives it",
}


def data(data: DataSet) -> Iterator[Block]:
    """Describes the sizes of the data, the split, and the rules of ranking."""
    known = next((run.summary["data"] for run in data.runs if run.summary.get("data")), {})
    config = data.runs[0].config
    sizes = [f"{known[name]:,} {name}" for name in SIZES if name in known]
    ranked = "all items but those the user has had" if config.eval.exclude_seen else "all items"
    sentences = [f"{data.name}: {', '.join(sizes)}." if sizes else f"{data.name}."]
    sentences += [f"Split: {_split(config.data)}.", f"Ranked are {ranked}."]
    if config.data.source != "demo" and config.data.path:
        sentences.append(f"File: {config.data.path}.")
    yield Paragraph(" ".join(sentences))
    owners: dict[str, list[str]] = {}  # the runs that have a note
    for run in data.runs:
        for text in run.summary.get("notes", []):
            owners.setdefault(text, []).append(run.label)
    for text, labels in owners.items():
        of_all = len(labels) == len(data.runs) > 1
        yield Note(f"{'All runs' if of_all else '; '.join(labels)}: {text}.")
    yield from (Note(f"{run.label} is not finished.") for run in data.runs if not run.summary)


def _split(config: DataConfig) -> str:
    """Describes the split; prepared data sets bring one, and ``data.split`` does not count then."""
    return "as the data set was prepared" if config.source == "tfds" else SPLITS[config.split]


def runs(data: DataSet) -> Iterator[Block]:
    """Tabulates the runs (method, size, epochs, time, device), and where they lie if asked."""
    headings = ("Run", "Backbone", "Method", "Device", "K", "Width", "Seed", "Best epoch", "Epochs")
    headings += ("Training", "Targets a second", "Evaluation")
    caption = f"{data.name}: runs. Training: all epochs, without evaluation on test."
    yield Table(caption, headings, list(map(_run_row, data.runs)), words=4)
    if data.is_local:
        yield Table(
            f"{data.name}: work directories.",
            ("Run", "Directory", "Configuration"),
            [(run.label, str(run.path), run.summary.get("config", "")) for run in data.runs],
            words=3,
        )


def _run_row(run: RunFiles) -> list[str]:
    train: Mapping[str, Any] = run.summary.get("train") or {}
    epochs = [event["epoch"] for event in run.events if event.get("kind") == "validation"]
    speed = train.get("targets_per_second")
    return [
        run.label,
        run.config.model.backbone,
        run.config.method.name,
        str(run.summary.get("device", numbers.MISSING)),
        str(run.config.method.steps),
        str(run.config.model.width),
        str(run.config.seed),
        numbers.count(run.summary.get("best_epoch")),
        numbers.count(train.get("epochs", max(epochs, default=None))),
        numbers.duration(train.get("seconds")),
        numbers.MISSING if speed is None else f"{speed:,.0f}",
        numbers.duration(run.summary.get("evaluation_seconds")),
    ]


def options(data: DataSet) -> Iterator[Block]:
    """Tabulates the options that are not at their defaults in some run."""
    default = flattened(config_lib.to_dict(config_lib.resolve({})))
    given = [flattened(config_lib.to_dict(run.config)) for run in data.runs]
    rows = [
        [name, *map(numbers.option, (value, *(flat[name] for flat in given)))]
        for name, value in default.items()
        if not name.startswith(FREE_OPTIONS) or name == "data.path"
        if any(flat[name] != value for flat in given)
    ]
    if rows:
        headings = ("Option", "Default", *(run.label for run in data.runs))
        caption = f"{data.name}: options that differ from the defaults."
        yield Table(caption, headings, rows, words=len(headings))
    else:
        yield Paragraph(f"{data.name}: all options are at their defaults.")


def training(data: DataSet) -> Iterator[Block]:
    """Draws the curves of validation and of each part of the loss."""
    validation = [training_figures.validation_curve(run.label, run.events) for run in data.runs]
    best = [
        f"{curve.label} epoch {curve.best} ({numbers.share(max(curve.y))})"
        for curve in validation
        if curve.x
    ]
    if best:
        yield Drawing(
            numbers.file_name(data.name, "validation"),
            training_figures.validation(validation),
            f"{data.name}: validation NDCG@20 by epoch. Stars: the best epochs, those tested.",
            f"Lines of validation NDCG@20 over epochs. Best: {', '.join(best)}.",
        )
    for part in training_figures.parts([event for run in data.runs for event in run.events]):
        curves = [training_figures.loss_curve(run.label, part, run.events) for run in data.runs]
        last = ", ".join(f"{curve.label} {curve.y[-1]:.3g}" for curve in curves if curve.x)
        label = training_figures.part_label(part)
        yield Drawing(
            numbers.file_name(data.name, "training", part),
            training_figures.losses(curves, part),
            f"{data.name}: {label.lower()} in training, by update; with dropout.",
            f"Lines of {label} over updates. At the end: {last}.",
        )
