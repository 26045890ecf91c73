#!/usr/bin/env bash
# Sets up .venv where needed, then runs a grid of experiments: data sets x backbones x methods x seeds.
# It skips what is done, continues what was interrupted, and ends with the table of the results.
#
#   bash launch/grid.sh                            # the paper's: 5 data sets, 4 backbones, base, erl, prl
#   bash launch/grid.sh --configs=configs/beauty.py,configs/toys.py --backbones=sasrec --seeds=0,1,2 \
#     --data=beauty=Beauty.txt --data=toys=Toys_and_Games.txt --root=runs/amazon
#   bash launch/grid.sh --root=runs/amazon --table --markdown=amazon.md
#   bash launch/grid.sh --help                     # all flags; --dry_run shows the commands
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

# shellcheck disable=SC2119
set_up
exec "$python" -m rearec_jax.studies.grid "$@"
