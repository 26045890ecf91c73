"""What a training needs of a slice of TPUs, without one: memory, FLOPs, traffic, time, cost.

python launch/plan.py --config=configs/yelp.py --items=11484 --topology=v5e:2x4

Compiles the training update and the evaluation of the configuration for the slice, ahead of time;
needs libtpu and no TPU. `--help` lists the flags; docs/plan.md explains.
"""

from pathlib import Path
import runpy
import sys

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # the package need not be installed
    runpy.run_module("rearec_jax.studies.capacity", run_name="__main__")
