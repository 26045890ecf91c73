"""Command line: flags, start, dispatch on --mode. Intentionally short.

Exit codes: 0 done; 2 a mistake of the user's, said in one sentence; 130 stopped by Ctrl-C or
SIGTERM (within 20 seconds), all saved that can be, the same command continues; 1 anything else,
with a traceback.
"""

if __name__ == "__main__":  # before all else, which a restart would repeat
    from rearec_jax.huge_pages import restart_with_huge_pages

    restart_with_huge_pages()

import time

STARTED = time.perf_counter()  # before the imports: start-up is part of what a user waits for

import signal  # noqa: E402

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # during the imports: end, without a traceback

from collections.abc import Sequence  # noqa: E402
import os  # noqa: E402
import pathlib  # noqa: E402
import sys  # noqa: E402

from absl import app, flags, logging  # noqa: E402
import jax  # noqa: E402
from ml_collections import config_flags  # noqa: E402

from rearec_jax import command_line, encode_items, experiment, hosts  # noqa: E402
from rearec_jax import config as config_lib  # noqa: E402
from rearec_jax.analysis.analyse_run import analyse_run  # noqa: E402
from rearec_jax.analysis.compare_run import compare_runs  # noqa: E402
from rearec_jax.errors import UserError  # noqa: E402
from rearec_jax.huge_pages import compute_in_first_thread  # noqa: E402
from rearec_jax.inference import command as inference  # noqa: E402
from rearec_jax.interruption import deadline  # noqa: E402
from rearec_jax.report.report_run import report_runs  # noqa: E402
from rearec_jax.serve.command import serve_run  # noqa: E402
from rearec_jax.tune import command as tuning  # noqa: E402

_CONFIG = config_flags.DEFINE_config_file("config", None, "Python file that defines get_config().")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Directory of the run; runs/<data>-<backbone>-<method>-<hash> by default."
)
_MODE = flags.DEFINE_enum(
    "mode",
    "train",
    [
        *("train", "evaluate", "analyse", "compare", "report", "encode_items", "profile"),
        *("recommend", "export", "tune", "serve"),
    ],
    "train: train (or resume), then evaluate; evaluate: the best epoch of --workdir again;"
    " analyse: by step and group, states, lists, stories, to --workdir/analysis;"
    " compare: finished runs (--runs) side by side, with tests of significance;"
    " report: runs (--runs, or --workdir) and studies as one HTML page with figures;"
    " encode_items: write the vectors of the items' text to --workdir;"
    " profile: where the time of an update goes, to --workdir/profile;"
    " tune: search for the best options within --minutes, to --workdir/best.py;"
    " recommend: lists for the users of --input to --output; export: the model to --output;"
    " serve: the models in --workdir and --runs over HTTP.",
)
_RUNS = flags.DEFINE_list(
    "runs",
    [],
    "--mode=compare and report: work directories; the first is what the others are tested against."
    " --mode=serve: work directories or exports; the first is the default.",
)
_HOLM = flags.DEFINE_bool("holm", False, "--mode=compare: stars after Holm's correction.")

_COORDINATOR = flags.DEFINE_string(
    "coordinator",
    None,
    "Several hosts: HOST:PORT where process 0 listens, the same for all; auto: as a Cloud TPU,"
    " Slurm or Open MPI says.",
)
_PROCESSES = flags.DEFINE_integer("processes", None, "Several hosts: how many processes in all.")
_PROCESS = flags.DEFINE_integer("process", None, "Several hosts: which of them this is, from 0.")

MISTAKE, INTERRUPTED = 2, 130
GRACE_SECONDS = 15.0  # from SIGTERM to the end, also where an update or a save takes longer


def main(argv: Sequence[str]) -> None:
    """Runs one experiment."""
    logging.set_verbosity(logging.WARNING)  # only now: what config_flags warns of is said better
    if len(argv) > 1:
        raise UserError(f"unexpected argument {argv[1]!r}; options start with --")
    compute_in_first_thread()
    _use_compilation_cache()
    if _MODE.value in ("recommend", "export"):
        run = {"recommend": inference.recommend_run, "export": inference.export_run}[_MODE.value]
        run(_WORKDIR.value)
        return
    runs = command_line.rejoined(_RUNS.value)
    if _MODE.value == "serve":
        serve_run(_WORKDIR.value, runs)
        return
    hosts.start(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    options = _CONFIG.value
    if _MODE.value in ("evaluate", "analyse"):
        if _WORKDIR.value is None:
            raise UserError(
                f"--mode={_MODE.value} needs --workdir=DIR, the directory of a finished run"
            )
        again = {"evaluate": experiment.evaluate_run, "analyse": analyse_run}[_MODE.value]
        again(_WORKDIR.value, options and config_lib.resolve(options))
        return
    if _MODE.value == "compare":
        chosen = config_lib.resolve(options or {}).analysis
        compare_runs(runs, _WORKDIR.value, chosen, _HOLM.value)
        return
    if _MODE.value == "report":
        report_runs(runs, _WORKDIR.value, config_lib.resolve(options or {}).analysis)
        return
    if _MODE.value == "tune":
        tuning.tune_run(_WORKDIR.value, options, sys.argv[1:])
        return
    if options is None:
        raise UserError("--config=FILE is missing; try --config=configs/demo.py")
    config = config_lib.resolve(options)
    if _MODE.value == "encode_items":
        encode_items.encode_run(config, _WORKDIR.value)
        return
    workdir = _WORKDIR.value or experiment.default_workdir(config)
    if _MODE.value == "profile":
        experiment.profile_run(workdir, config)
        return
    experiment.train_run(workdir, config, name=_config_name(), started=STARTED)


def _config_name() -> str:
    return os.path.relpath(config_flags.get_config_filename(flags.FLAGS["config"]))


def _use_compilation_cache() -> None:
    """Keep compiled programs between runs, unless JAX_COMPILATION_CACHE_DIR says otherwise."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
        jax.config.update("jax_compilation_cache_dir", f"{base}/rearec_jax/xla")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def run() -> None:
    """Entry point: a user's mistake is one sentence and exit code 2."""
    logging.set_verbosity(logging.ERROR)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # raises KeyboardInterrupt
    try:
        with deadline(GRACE_SECONDS, INTERRUPTED):
            app.run(main, flags_parser=command_line.parse)
    except UserError as error:
        sys.exit(_say(f"error: {error}", MISTAKE))
    except KeyboardInterrupt:
        sys.exit(_say("interrupted; run the same command again to continue", INTERRUPTED))


def _say(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


if __name__ == "__main__":
    run()
