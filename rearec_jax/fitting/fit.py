"""The functions of Python that train: `rearec_jax.fit`, `rearec_jax.tune`, `rearec_jax.compare`."""

from collections.abc import Iterable, Mapping, Sequence
import os
import pathlib
import time
from typing import Any

from rearec_jax.config import AnalysisConfig, command_line, resolve
from rearec_jax.fitting import options as options_lib
from rearec_jax.fitting import table as table_lib
from rearec_jax.fitting.model import Model
from rearec_jax.fitting.table import Table
from rearec_jax.fitting.train import train_run
from rearec_jax.run.files import expanded
from rearec_jax.run.interruption import in_thread
from rearec_jax.run.workdir import Workdir, default_path, make_directory

NAME = "rearec_jax.fit"  # in summary.json, where the command line names the file of --config


def fit(
    data: Any = None,
    *,
    workdir: Any = None,
    config: Any = None,
    callbacks: Sequence[Any] = (),
    **options: Any,
) -> Model:
    """Trains a model on a data frame or a file, evaluates it, and returns it.

    It is the training of the command line with the same options, to the last bit. The same call
    goes on with a run that was interrupted (by Ctrl-C, too), and returns a finished one after
    evaluating it again. This process is left as it is: no restart, no handlers of signals.

    Args:
        data: a data frame of pandas or Polars, an Arrow table, or the path of a file, with a row an
            interaction; None where ``config`` names the data. Columns are found by usual names
            (user_id, movieId, timestamp, ...), or given by data.user_column and so on.
        workdir: the directory of the run; runs/<data>-<backbone>-<method>-<hash of options and
            data> by default.
        config: a configuration file, the options that its get_config() returns, or a `Config`;
            those of configs/own_data.py by default.
        callbacks: what is told of the training: functions of an epoch's event, or
            `rearec_jax.Callback`s. They run in the thread that trains.
        options: options by their names, such as ``**{"train.epochs": 5}``; those in
            `fitting.options.SHORT` also without their group: ``epochs=5, method="prl"``.

    Raises:
        UserError: data, options or work directory are wrong.
        KeyboardInterrupt: after Ctrl-C, with everything saved.
    """
    started = time.perf_counter()
    chosen = options_lib.read(config, options)
    path, table = _placed(data, chosen, workdir)
    resolved = resolve(options_lib.nested(chosen))
    in_thread(lambda: train_run(path, resolved, NAME, started, table, callbacks))
    return Model(pathlib.Path(path))


def tune(
    data: Any = None,
    *,
    workdir: Any,
    minutes: int | float = 60,
    space: Mapping[str, Sequence[Any]] | None = None,
    config: Any = None,
    **options: Any,
) -> str | None:
    """Searches for better options, as --mode=tune (docs/tuning.md); returns the path of best.py.

    ``fit(data, config=rearec_jax.tune(data, workdir="runs/tuned", minutes=10))`` trains the best.

    Args:
        data: as in ``fit``.
        workdir: the directory of the search; the same call goes on there.
        minutes: the budget of the whole search.
        space: the values to try of each option; None: those worth a trial for the method. Options
            that are given are not searched.
        config: as in ``fit``, with ``options``: where the search starts.
        options: as in ``fit``.

    Returns:
        The configuration file of the best candidate; None where none is done yet.

    Raises:
        UserError: data, options or directory are wrong.
        KeyboardInterrupt: after Ctrl-C, with everything saved.
    """
    from rearec_jax.studies.tune import best, tuner  # scipy, which a training need not wait for

    chosen = options_lib.read(config, options)
    place, table = _placed(data, chosen, workdir)
    root = pathlib.Path(place)
    make_directory(root)
    if table is not None:
        table.keep(Workdir(root))
    start = root / "start.py"
    best.write_config(start, options_lib.nested(chosen), "The start of a search.", "")
    fixed = {options_lib.SHORT.get(name, name): value for name, value in options.items()}
    arguments = (f"--config={start}", *(f"--config.{n}={v}" for n, v in fixed.items()))
    request = tuner.Request(
        root=root,
        options=command_line.load(arguments),
        arguments=arguments,
        space=tuple(f"{name}={','.join(map(str, v))}" for name, v in (space or {}).items()),
        minutes=float(minutes),
        command=f"rearec_jax.tune(config={str(start)!r}, workdir={str(root)!r})",
    )
    record = in_thread(lambda: tuner.tune(request))
    return None if record is None else str(root / "best.py")


def compare(runs: Iterable[Model | str | os.PathLike[str]], workdir: Any = None) -> Any:
    """Compares finished runs with tests of significance, as --mode=compare (docs/analysis.md).

    Args:
        runs: models or work directories; the first is the baseline. Runs that differ only in the
            seed count as one.
        workdir: where comparison.json and comparison.md are written.

    Returns:
        The `studies.analysis.paired_tests.Comparison`.

    Raises:
        UserError: runs are not finished or cannot be compared.
    """
    from rearec_jax.studies.analysis.compare_runs import compare_runs  # scipy

    names = [expanded(run.path if isinstance(run, Model) else run) for run in runs]
    return compare_runs(names, workdir and expanded(workdir), AnalysisConfig())


def _placed(data: Any, options: dict[str, Any], workdir: Any) -> tuple[str, Table | None]:
    """Adds the options of the data; returns the work directory, and the table of a data frame."""
    table = None
    given = options_lib.group(options, "data")
    if data is not None:
        if isinstance(data, str | os.PathLike):
            found = table_lib.options_of_path(data, given)
        else:
            found, table = table_lib.options_of_frame(data, given)
            found["path"] = table.digest
        options |= {f"data.{name}": value for name, value in found.items()}
    path = expanded(workdir) if workdir else default_path(resolve(options_lib.nested(options)))
    if table is not None:
        options["data.path"] = table_lib.place(path)
    return path, table
