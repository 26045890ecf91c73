#!/usr/bin/env bash
# Sets up .venv with the documentation tools where needed, then builds the pages of docs/ and the API reference as a
# site in build/site. A warning, such as a link to nowhere, is an error.
#
#   bash launch/docs.sh          # open build/site/index.html
#   bash launch/docs.sh serve    # shows it at localhost:8000 and follows changes; more arguments go to mkdocs
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

set_up docs
cd "$root"
export NO_MKDOCS_2_WARNING=1 # a notice of the theme, not of these pages
exec "$python" -m mkdocs "${1:-build}" --strict "${@:2}"
