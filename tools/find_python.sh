#!/usr/bin/env bash
# Prints the first Python that runs, can create environments, and is one of the given versions,
# the preferred version first:    tools/find_python.sh 3.11 3.12
# With PYTHON set: that one or none. A name on PATH is not enough (pyenv has a shim there for every
# version, active or not), so each candidate is run.
set -euo pipefail

probe='import sys; print("%d.%d %s" % (sys.version_info[0], sys.version_info[1], sys.executable))
import ensurepip, venv'
tried=

# Prints the interpreter behind $1 and succeeds if its version is one of those after it.
fits() {
  local candidate=$1 found; shift
  command -v "$candidate" >/dev/null || return 1
  if ! found=$("$candidate" -c "$probe" 2>/dev/null </dev/null); then
    found=${found:+Python ${found%% *} without venv}
    tried="$tried $candidate (${found:-does not run});"
    return 1
  fi
  case " $* " in
    *" ${found%% *} "*) printf '%s\n' "${found#* }" ;;
    *) tried="$tried $candidate (Python ${found%% *});"; return 1 ;;
  esac
}

if [ -n "${PYTHON:-}" ]; then
  command -v "$PYTHON" >/dev/null || tried=" $PYTHON (no such program);"
  fits "$PYTHON" "$@" && exit
else
  for version in "$@"; do
    for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
      fits "$candidate" "$version" && exit
    done
  done
  for candidate in python3 python; do
    fits "$candidate" "$@" && exit
  done
fi

versions=$*
echo "error: expected Python ${versions// / or }, with venv; got:${tried:- none on PATH;}" \
  'install one, or name the one to use: make ... PYTHON=/path/to/python3.11' >&2
exit 2
