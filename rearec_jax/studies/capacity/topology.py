"""Makes the devices of a TPU slice that is not there: one can compile for them and not run."""

from collections.abc import Sequence
import importlib
import importlib.util
import math
import os
import sys

import jax
from jax.experimental import topologies

from rearec_jax.errors import UserError
from rearec_jax.studies.capacity.chips import chip_of

# A copy beside the environment's packages: every JAX program would load an installed one and warn.
BESIDE = os.path.join("libtpu", "libtpu", "libtpu.so")
HOSTS_CHIPS = 4  # the chips of a host at most; smaller slices have one host


def devices_of(topology: str) -> Sequence[jax.Device]:
    """Returns the devices of a slice such as v5e:2x4, in libtpu's order.

    Raises:
        UserError: there is no such slice, or libtpu is not installed.
    """
    chip = chip_of(topology)
    sizes = [int(size) for size in topology.partition(":")[2].split("x")]
    sizes += [1] * (3 - len(sizes))
    host = [2, 2, 1] if math.prod(sizes) >= HOSTS_CHIPS else sizes
    _prepare_libtpu()
    try:
        found = topologies.get_topology_desc(
            platform="tpu", topology_name=topology, chips_per_host_bounds=host
        )
    except (RuntimeError, NotImplementedError) as error:
        raise UserError(
            f"--topology={topology} is none that libtpu knows: {str(error).splitlines()[0]}"
        ) from error
    devices = found.devices
    if len(devices) != math.prod(sizes):
        raise UserError(
            f"--topology={topology}: libtpu makes {len(devices)} devices of {math.prod(sizes)}"
            f" {chip.name} chips; this program plans for one a chip"
        )
    return devices


def _prepare_libtpu() -> None:
    """Sets the environment that libtpu reads when it is loaded.

    It must not ask a cloud's server for the machine's TPU, nor lock it.
    """
    for name, value in {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",  # of this machine, were it one; any will do
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_WORKER_ID": "0",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }.items():
        os.environ.setdefault(name, value)
    library = libtpu_path()
    if library is None:
        raise UserError(
            "libtpu, the TPU's compiler, is not here (it needs no TPU): see docs/plan.md, or name a"
            " copy of libtpu.so with TPU_LIBRARY_PATH"
        )
    os.environ["TPU_LIBRARY_PATH"] = library


def libtpu_path() -> str | None:
    """Returns the path of libtpu.so, the TPU's compiler; None where it is not found.

    It is the one that TPU_LIBRARY_PATH names, the one beside the environment's packages, or the one
    installed among them.
    """
    named = os.environ.get("TPU_LIBRARY_PATH")
    if named is not None:
        return named if os.path.isfile(named) else None
    beside = os.path.join(sys.prefix, BESIDE)
    if os.path.isfile(beside):
        return beside
    if importlib.util.find_spec("libtpu") is None:
        return None
    return importlib.import_module("libtpu").get_library_path()
