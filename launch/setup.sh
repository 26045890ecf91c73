# shellcheck shell=bash
# Sourced by the other scripts: makes .venv and installs what is missing in it.
#
#   set_up [EXTRA ...]          then "$python" is .venv's Python with the project and these extras
#
#   PYTHON=/path/to/python3     the Python to make .venv with (default: the first that fits)
#   REAREC_VENV=/path/to/venv   another environment than .venv
#   REAREC_EXTRAS="cuda text"   further extras of pyproject.toml
#
# .venv/rearec_jax.stamp says that .venv is complete: line 1 what it was made for, line 2 the extras
# it has. While an install runs it says "installing": found later, .venv is half made.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
venv=${REAREC_VENV:-$root/.venv}
python=$venv/bin/python
stamp=$venv/rearec_jax.stamp
log=$venv/install.log

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "$(basename -- "$0"): $*"
  exit 2
}

set_up() {
  local wanted
  wanted=$(wanted_extras "$@") || exit
  if ! is_current "$wanted"; then
    lock
    is_current "$wanted" || install "$wanted" # while we waited, another set-up may have done it
    exec 9<&-
  fi
}

# The arguments and $REAREC_EXTRAS, in one line; all of them are in pyproject.toml.
wanted_extras() {
  local extra known wanted="$* ${REAREC_EXTRAS:-}"
  known=$(sed -n '/^\[project.optional-dep/,/^\[tool/s/^\([a-z0-9]*\) = .*/\1/p' "$root/pyproject.toml" | tr '\n' ' ')
  wanted=${wanted//,/ }
  for extra in $wanted; do
    [[ " $known " == *" $extra "* ]] || fail "REAREC_EXTRAS names \"$extra\", which is none of: ${known% }."
  done
  echo "$wanted"
}

is_current() {
  local key="" extras="" extra
  [[ -f $stamp ]] && { read -r key && read -r extras; } <"$stamp" || return 1
  [[ $key == "$(fingerprint)" ]] && is_chosen || return 1
  for extra in $1; do [[ " $extras " == *" $extra "* ]] || return 1; done
}

# Changes with all that .venv depends on, but the extras.
fingerprint() {
  { echo "$root" && python_version "$python" && cat "$root/requirements.txt" "$root/pyproject.toml"; } | cksum
}

# -I -S: a tenth of the time of a full start, and nobody's sitecustomize.
python_version() { "$1" -I -S -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null; }
is_recent() { "$1" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
is_chosen() { [[ -z ${PYTHON:-} || $(python_version "$PYTHON") == "$(python_version "$python")" ]]; }
makes_venvs() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

# Locks this file, which unlike .venv is always there. Without flock (macOS) there is no lock.
lock() {
  exec 9<"$root/launch/setup.sh"
  command -v flock >/dev/null || return 0
  flock -n 9 || { say "Waiting for another set-up of .venv to end." && flock 9; } || true
}

install() {
  local extras
  extras=$(union "$1")
  trap 'exit 130' INT TERM # and leave the stamp as it is: pip was stopped half-way
  if is_reusable; then
    [[ ! -f $stamp ]] || extras=$(union "$extras $(sed -n 2p "$stamp")")
    say "Updating .venv: seconds to a minute; details in .venv/install.log."
  else
    make_venv
  fi
  echo installing >"$stamp"
  if ! install_packages "${extras// /,}" >"$log" 2>&1; then
    rm -f "$stamp"
    fail "$(install_failure): see $log."
  fi
  printf '%s\n%s\n' "$(fingerprint)" "$extras" >"$stamp.new"
  mv "$stamp.new" "$stamp"
  trap - INT TERM
}

union() {
  local word words=""
  for word in $1; do [[ " $words " == *" $word "* ]] || words="$words${words:+ }$word"; done
  echo "$words"
}

is_reusable() {
  [[ -x $python ]] && is_recent "$python" && is_chosen && ! grep -qs installing "$stamp" &&
    { "$python" -m pip --version || command -v uv; } >/dev/null 2>&1
}

make_venv() {
  local base
  base=$(find_python) || exit
  say "Setting up .venv with Python $(python_version "$base"): 1-2 minutes the first time; details in .venv/install.log."
  rm -rf "$venv"
  mkdir "$venv"
  echo installing >"$stamp"
  "$base" -m venv "$venv" >"$log" 2>&1 || fail "$base cannot make a virtual environment: see $log."
}

# The first Python that is recent and can make virtual environments. A pyenv shim may exist and fail.
find_python() {
  local candidate without_venv=""
  for candidate in ${PYTHON:+"$PYTHON"} python3.14 python3.13 python3.12 python3.11 python3; do
    if ! is_recent "$candidate"; then
      [[ $candidate != "${PYTHON:-}" ]] || fail "PYTHON=$PYTHON is not a Python of version 3.11 or newer."
    elif makes_venvs "$candidate"; then
      echo "$candidate"
      return
    else
      without_venv=$candidate
    fi
  done
  [[ -z $without_venv ]] ||
    fail "$without_venv has no venv module: install it (Debian, Ubuntu: apt install python3-venv)."
  fail "no Python of version 3.11 or newer found: install one, or name it with PYTHON=/path/to/python3."
}

# The newest Python of all that are installed, on PATH or by pyenv, and can make environments.
newest_python() {
  local minor candidate
  for minor in 14 13 12 11; do
    for candidate in "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"3.$minor".*/bin/python3; do
      if is_recent "$candidate" && makes_venvs "$candidate"; then
        echo "$candidate"
        return
      fi
    done
  done
  find_python
}

# uv where there is one, for speed; pip also where uv fails, because mirrors are often known to pip only.
install_packages() (
  cd "$root" || exit
  if command -v uv >/dev/null && uv pip install --python "$python" -e ".${1:+[$1]}"; then exit; fi
  "$python" -m pip install --no-input --disable-pip-version-check -e ".${1:+[$1]}"
)

install_failure() {
  if grep -qiE 'connection|name resolution|unreachable|timed out|dns error' "$log"; then
    echo "the package index cannot be reached (no network?)"
  else
    echo "a package cannot be installed"
  fi
}
