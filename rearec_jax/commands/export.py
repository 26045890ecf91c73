"""Runs --mode=export: writes a model as a directory that needs no training code."""

from absl import flags

from rearec_jax.commands.given import OUTPUT, Given, required, say
from rearec_jax.run.files import expanded
from rearec_jax.run.interruption import interruptible

HELP = "the model in --workdir to --output"

_ONNX = flags.DEFINE_bool("onnx", False, "export: also write encode.onnx (the extra `onnx`).")


def run(given: Given) -> None:
    """Writes the best epoch of the run in --workdir to --output.

    Raises:
        UserError: there is no such run, or --output cannot be written.
    """
    from rearec_jax.recommend import export  # a training need not wait for its imports

    given.check_options()
    path = required(given.workdir, "workdir", "DIR, the directory of a finished run")
    output = expanded(required(OUTPUT.value, "output", "DIR to write"))
    with interruptible():
        target = export.export_run(path, output, _ONNX.value)
    say(f"written: {target}")
