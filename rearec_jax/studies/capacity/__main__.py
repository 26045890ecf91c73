"""The command line of the capacity plan.

Exit codes: 0 where the training fits; 1 where it does not; 2 after a mistake of the user's, which
one sentence names; 130 after Ctrl-C.
"""

from collections.abc import Sequence
import json
import sys

from rearec_jax.run import front_door

if __name__ == "__main__":
    front_door.open_door()  # before the imports, which take seconds

import jax

from rearec_jax.studies import program
from rearec_jax.studies.capacity import chips, compiled, show, topology
from rearec_jax.studies.capacity.options import parse
from rearec_jax.studies.capacity.workload import workload

FITS, TOO_LARGE = 0, 1


def main(arguments: Sequence[str]) -> int:
    """Compiles the training, prints what it needs, and returns the exit code."""
    options = parse(arguments)
    chip = chips.chip_of(options.topology)
    devices = topology.devices_of(options.topology)
    work = workload(options, devices)
    program.note(f"compiling {options.name} for {options.topology}: half a minute or more")
    needs = compiled.compile_all(work, devices)
    result = show.Result(options, chip, work, needs)
    if options.as_json:
        print(json.dumps(show.as_dict(result), indent=2))
    else:
        show.show(result)
    return FITS if result.fits else TOO_LARGE


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")  # nothing runs on a device here
    front_door.run_process(lambda: main(sys.argv[1:]))
