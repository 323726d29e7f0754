#!/usr/bin/env bash
# Creates .venv/pyXYZ from the lock file for the Python that is found (PYTHON= chooses it) and prints its interpreter.
# Returns at once if it exists already; starts again if the lock has changed, if its Python is gone, or
# if an earlier run did not finish: the stamp, a checksum of the lock, is written last.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
say() { printf '%s\n' "$*" >&2; }

python=$(tools/find_python.sh 3.11 3.12 3.10 3.13 3.9)
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $version in
  3.9 | 3.10 | 3.11) lock=requirements/keras2.lock ;;
  *) lock=requirements/keras3.lock ;;
esac
environment=.venv/py${version/./}
stamp=$environment/stamp
log=$environment.log
wanted=$("$python" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$lock")

ready() { [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && "$environment/bin/python" -c '' 2>/dev/null; }

install() {
  rm -rf "$environment"
  "$python" -m venv "$environment" &&
    "$environment/bin/python" -m pip --disable-pip-version-check install --require-hashes \
      --only-binary :all: -r "$lock"
}

if ! ready; then
  mkdir -p .venv
  exec 9>"$environment.busy"
  if command -v flock >/dev/null && ! flock -n 9; then
    say "Another set-up of $environment is running; waiting for it ..."
    flock 9
  fi
  if ! ready; then
    say "Setting up $environment from $lock (about 2 GB; to watch: tail -f $log) ..."
    if ! install >"$log" 2>&1; then
      say "error: could not install $lock into $environment:" \
        "$(grep -i error "$log" | tail -n 1) (all of it: $log)." \
        "Check the network and the disk, then run the same command again."
      exit 2
    fi
    printf '%s\n' "$wanted" >"$stamp.new" && mv "$stamp.new" "$stamp"
    say "$environment is ready after $SECONDS s."
  fi
fi
printf '%s\n' "$environment/bin/python"
