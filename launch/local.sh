#!/usr/bin/env bash
# Sets up .venv where needed, then runs the program: on the generated demo, or on what --config names.
#
#   bash launch/local.sh
#   bash launch/local.sh --config=configs/software.py --workdir=runs/software
#   REAREC_EXTRAS=cuda bash launch/local.sh      # on an NVIDIA GPU (tpu: on a TPU host)
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

# shellcheck disable=SC2119
set_up
config=(--config="$root/configs/demo.py")
for argument; do
  case $argument in --config | --config=*) config=() ;; esac
done
# What reads a run finds its configuration there.
reads_a_run=' --mode[= ](evaluate|analyse|compare|report|recommend|export|serve) '
[[ " $* " =~ $reads_a_run ]] && config=()
exec "$python" -m rearec_jax.main ${config+"${config[@]}"} "$@"
