"""What a training needs of a slice of TPUs, without one: memory, FLOPs, traffic, time, cost.

python launch/plan.py --config=configs/yelp.py --items=11484 --topology=v5e:2x4

Compiles the training update and the evaluation of the configuration for the slice, ahead of time;
needs libtpu and no TPU. `--help` lists the flags; docs/plan.md explains.
"""

from pathlib import Path
import sys

sys.path[0] = str(Path(__file__).resolve().parents[1])  # the package need not be installed

from rearec_jax.studies.capacity.__main__ import run  # noqa: E402

if __name__ == "__main__":
    run()
