#!/usr/bin/env bash
# Resolves each lane's .in file for all its Pythons and systems at once: tools/lock.sh uv==VERSION [--upgrade]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
uv=$1; shift

python=$(tools/find_python.sh 3.11 3.12 3.10 3.13 3.9)
"$python" -m venv .venv/lock
.venv/lock/bin/python -m pip --disable-pip-version-check install --quiet "$uv"

compile() {
  .venv/lock/bin/python -m uv --quiet pip compile "requirements/$1.in" --output-file "requirements/$1.lock" \
    --python-version "$2" --universal --generate-hashes --no-emit-index-url \
    --custom-compile-command 'make lock' "${@:3}"
  echo "requirements/$1.lock: $(grep -c '^[a-z]' "requirements/$1.lock") pins"
}
compile keras2 3.9 "$@"
compile keras3 3.12 "$@"
