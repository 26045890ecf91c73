"""Tells Weights & Biases and MLflow of a training: the extras `wandb` and `mlflow`."""

from collections.abc import Mapping
import importlib
import os
import time
from typing import Any

from rearec_jax.errors import UserError
from rearec_jax.run.callbacks import Callback, Start, Update, scalars

PROJECT = "rearec_jax"
MLFLOW_RUN = "mlflow_run.txt"  # in the work directory: the run that goes on
_PARAMETERS = 100  # that MLflow takes at once


class WandB(Callback):
    """A run of Weights & Biases, kept in the work directory unless WANDB_MODE says otherwise."""

    def on_start(self, start: Start) -> None:
        wandb = _required("wandb")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=start.workdir.name,
            dir=str(start.workdir),
            config=dict(start.options),
            mode=os.environ.get("WANDB_MODE", "offline"),
        )

    def on_update(self, update: Update) -> None:
        if update.is_logged:
            self.on_epoch(update.event)

    def on_epoch(self, event: Mapping[str, Any]) -> None:
        self._run.log(dict(scalars(event)), step=event["step"])

    def on_end(self, summary: Mapping[str, Any]) -> None:
        self._run.summary.update(dict(scalars(summary)))

    def close(self) -> None:
        if run := vars(self).pop("_run", None):
            run.finish()


class MLflow(Callback):
    """A run of MLflow, in the store of MLFLOW_TRACKING_URI or in `mlruns` beside the directory."""

    def on_start(self, start: Start) -> None:
        mlflow = _required("mlflow")
        self._entities = mlflow.entities
        store = os.environ.get("MLFLOW_TRACKING_URI")
        if not store:
            # Files need no server and no database; MLflow 3 wants this to be said.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            store = (start.workdir.absolute().parent / "mlruns").as_uri()
        self._client = mlflow.MlflowClient(store)
        self._status = "KILLED"
        known = start.workdir / MLFLOW_RUN
        if start.step and known.exists():
            self._id = known.read_text().strip()
            self._client.update_run(self._id, "RUNNING")
        else:
            self._id = self._new_run(start)
            known.write_text(self._id)

    def on_update(self, update: Update) -> None:
        if update.is_logged:
            self.on_epoch(update.event)

    def on_epoch(self, event: Mapping[str, Any]) -> None:
        self._log(event, event["step"])

    def on_end(self, summary: Mapping[str, Any]) -> None:
        self._log(summary, 0)
        self._status = "FINISHED"

    def close(self) -> None:
        if client := vars(self).pop("_client", None):
            client.set_terminated(self._id, self._status)

    def _new_run(self, start: Start) -> str:
        client = self._client
        experiment = client.get_experiment_by_name(PROJECT)
        number = experiment.experiment_id if experiment else client.create_experiment(PROJECT)
        made = client.create_run(number, run_name=start.workdir.name).info.run_id
        options = [self._entities.Param(name, str(v)) for name, v in start.options.items()]
        for first in range(0, len(options), _PARAMETERS):
            client.log_batch(made, params=options[first : first + _PARAMETERS])
        return made

    def _log(self, event: Mapping[str, Any], step: int) -> None:
        now = int(1000 * time.time())
        metric = self._entities.Metric
        metrics = [metric(name, value, now, step) for name, value in scalars(event)]
        self._client.log_batch(self._id, metrics=metrics)


def _required(package: str) -> Any:
    """Imports a package of an extra. Raises UserError where it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"train.callbacks={package} needs the package: pip install -e '.[{package}]' in"
            " the project's clone"
        ) from error
