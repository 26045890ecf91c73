"""Sections of a report: the data, the runs, their options, and how training went."""

from collections.abc import Mapping, Sequence
from typing import Any

from rearec_jax import config as config_lib
from rearec_jax.config import DataConfig
from rearec_jax.config.compare import FREE_OPTIONS, flattened
from rearec_jax.studies.report import numbers, training_figures
from rearec_jax.studies.report.blocks import Block, Note, Paragraph, Table
from rearec_jax.studies.report.drawing import Drawing
from rearec_jax.studies.report.run_files import RunFiles
from rearec_jax.studies.report.sources import DataSet

Blocks = list[Block]
SPLITS = {
    "leave_one_out": "leave one out (of each user the last item is the test target, the one before"
    " it validation)",
    "time": "by time, at two given dates",
    "time_fraction": "by time, at two fractions of the whole span",
    "given": "as the source gives it",
}


def data(data: DataSet) -> Blocks:
    """Describes the sizes of the data, the split, and the rules of ranking."""
    known = next((run.summary["data"] for run in data.runs if run.summary.get("data")), {})
    config = data.runs[0].config
    sizes = ", ".join(
        f"{known[name]:,} {name}" for name in ("users", "items", "interactions") if name in known
    )
    ranked = "all items but those the user has had" if config.eval.exclude_seen else "all items"
    sentences = [f"{data.name}: {sizes}." if sizes else f"{data.name}."]
    sentences += [f"Split: {_split(config.data)}.", f"Ranked are {ranked}."]
    if config.data.source != "demo" and config.data.path:
        sentences.append(f"File: {config.data.path}.")
    return [Paragraph(" ".join(sentences)), *_notes(data.runs)]


def _split(config: DataConfig) -> str:
    """Describes the split; prepared data sets bring one, and ``data.split`` does not count then."""
    return "as the data set was prepared" if config.source == "tfds" else SPLITS[config.split]


def _notes(runs: Sequence[RunFiles]) -> Blocks:
    """Returns the notes of the summaries, each with the runs that have it."""
    owners: dict[str, list[str]] = {}
    for run in runs:
        for text in run.summary.get("notes", []):
            owners.setdefault(text, []).append(run.label)
    lines = [
        f"{'All runs' if len(labels) == len(runs) > 1 else '; '.join(labels)}: {text}."
        for text, labels in owners.items()
    ]
    lines += [f"{run.label} is not finished." for run in runs if not run.summary]
    return [Note(line) for line in lines]


def runs(data: DataSet) -> Blocks:
    """Tabulates the runs (method, size, epochs, time, device), and their directories."""
    headings = ("Run", "Backbone", "Method", "Device", "K", "Width", "Seed", "Best epoch", "Epochs")
    headings += ("Training", "Targets a second", "Evaluation")
    rows = [_run_row(run) for run in data.runs]
    where = Table(
        f"{data.name}: work directories.",
        ("Run", "Directory", "Configuration"),
        [(run.label, str(run.path), run.summary.get("config", "")) for run in data.runs],
        words=3,
    )
    caption = f"{data.name}: runs. Training: all epochs, without evaluation on test."
    return [Table(caption, headings, rows, words=4), where]


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


def options(data: DataSet) -> Blocks:
    """Tabulates the options that are not at their defaults in some run."""
    default = flattened(config_lib.to_dict(config_lib.resolve({})))
    given = [flattened(config_lib.to_dict(run.config)) for run in data.runs]
    names = [
        name
        for name in default
        if (not name.startswith(FREE_OPTIONS) or name == "data.path")
        and any(flat[name] != default[name] for flat in given)
    ]
    if not names:
        return [Paragraph(f"{data.name}: all options are at their defaults.")]
    rows = [
        [name, numbers.option(default[name]), *(numbers.option(flat[name]) for flat in given)]
        for name in names
    ]
    headings = ("Option", "Default", *(run.label for run in data.runs))
    caption = f"{data.name}: options that differ from the defaults."
    return [Table(caption, headings, rows, words=len(headings))]


def training(data: DataSet) -> Blocks:
    """Draws the curves of validation and of each part of the loss."""
    drawings: Blocks = []
    validation = [training_figures.validation_curve(run.label, run.events) for run in data.runs]
    if any(curve.x for curve in validation):
        best = ", ".join(
            f"{curve.label} epoch {curve.best} ({numbers.share(max(curve.y))})"
            for curve in validation
            if curve.x
        )
        drawings.append(
            Drawing(
                numbers.file_name(data.name, "validation"),
                training_figures.validation(validation),
                f"{data.name}: validation NDCG@20 by epoch. Stars: the best epochs, those tested.",
                f"Lines of validation NDCG@20 over epochs. Best: {best}.",
            )
        )
    for part in training_figures.parts([event for run in data.runs for event in run.events]):
        curves = [training_figures.loss_curve(run.label, part, run.events) for run in data.runs]
        last = ", ".join(f"{curve.label} {curve.y[-1]:.3g}" for curve in curves if curve.x)
        label = training_figures.part_label(part)
        drawings.append(
            Drawing(
                numbers.file_name(data.name, "training", part),
                training_figures.losses(curves, part),
                f"{data.name}: {label.lower()} in training, by update; with dropout.",
                f"Lines of {label} over updates. At the end: {last}.",
            )
        )
    return drawings
