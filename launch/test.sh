#!/usr/bin/env bash
# Sets up .venv with the development tools where needed, then runs the tests.
#
#   bash launch/test.sh
#   bash launch/test.sh tests/test_imports.py -k report     # any arguments of pytest
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

set_up dev
cd "$root"
# All of them: in two processes, each with whole files, because tests of a file share what they train.
# In the order of tests/conftest.py: xdist's own would begin with the files of the most tests.
[[ $# -gt 0 ]] || set -- --numprocesses=2 --dist=loadfile --no-loadscope-reorder
code=0
"$python" -m pytest "$@" || code=$?
if ((code > 128 && code != 130)); then
  say "pytest ended by signal $((code - 128)); it keeps what is printed: run again with --capture=no to see the reason."
fi
exit "$code"
