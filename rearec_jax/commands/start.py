"""Parses the command line and starts the mode that it names."""

from collections.abc import Sequence
from logging import getLogger
import os

from absl import app, flags, logging
import jax

from rearec_jax.commands import (
    analyse,
    compare,
    encode_items,
    evaluate,
    export,
    profile,
    recommend,
    report,
    serve,
    train,
    tune,
)
from rearec_jax.commands.given import given
from rearec_jax.config import command_line
from rearec_jax.devices import hosts
from rearec_jax.errors import UserError
from rearec_jax.ops.huge_pages import compute_in_first_thread
from rearec_jax.run import front_door
from rearec_jax.run.files import user_cache

MODES = {  # the module of each --mode, with `run` and, for --help, `HELP`
    "train": train,
    "evaluate": evaluate,
    "analyse": analyse,
    "compare": compare,
    "report": report,
    "encode_items": encode_items,
    "profile": profile,
    "recommend": recommend,
    "export": export,
    "tune": tune,
    "serve": serve,
}
_HELP = {"help", "helpshort", "helpfull", "helpxml", "?"}
ALONE = ("recommend", "export", "serve")  # these run on one host

_MODE = flags.DEFINE_enum(
    "mode", "train", list(MODES), "; ".join(f"{name}: {file.HELP}" for name, file in MODES.items())
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator",
    None,
    "Several hosts: HOST:PORT where process 0 listens, the same for all; auto: as a Cloud TPU,"
    " Slurm or Open MPI says.",
)
_PROCESSES = flags.DEFINE_integer("processes", None, "Several hosts: how many processes in all.")
_PROCESS = flags.DEFINE_integer("process", None, "Several hosts: which of them this is, from 0.")


def run(started: float) -> None:
    """Runs the mode that ``sys.argv`` names.

    Raises:
        UserError: the command line, an option, data or a directory is wrong.
        KeyboardInterrupt: it is stopped by a signal.
    """
    logging.set_verbosity(logging.ERROR)

    def main(arguments: Sequence[str]) -> None:
        # Not before: wrong options of --config get a better message than a log line.
        logging.set_verbosity(logging.WARNING)
        getLogger("rearec_jax").setLevel("INFO")  # what this program says, without others' chat
        if len(arguments) > 1:
            raise UserError(f"unexpected argument {arguments[1]!r}; options start with --")
        front_door.unwind_from_here()
        compute_in_first_thread()
        _use_compilation_cache()
        if _MODE.value not in ALONE:
            hosts.start(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
        MODES[_MODE.value].run(given(_MODE.value, started))

    app.run(main, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
    """Parses the flags; --help ends the program with 0, where absl has 1."""
    try:
        return command_line.parse(argv)
    except SystemExit:
        if any(one.lstrip("-").partition("=")[0] in _HELP for one in argv[1:]):
            raise SystemExit(0) from None
        raise


def _use_compilation_cache() -> None:
    """Keeps compiled programs between runs, unless JAX_COMPILATION_CACHE_DIR says otherwise."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(user_cache() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
