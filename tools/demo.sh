#!/usr/bin/env bash
# tools/demo.sh PYTHON FLAG...: the sentence, then drawn pictures. The run is named after the environment, so
# each lane has its own. Killed, the same command goes on where it was; finished, it says so and draws again;
# FRESH=1 begins anew.
set -euo pipefail
python=$1; shift
run=runs/demo-$(basename "${python%/bin/python}")

if [ -n "${FRESH:-}" ]; then rm -rf "$run"; fi
echo "+ python train.py $* --name=${run#runs/}"
"$python" train.py "$@" --name="${run#runs/}"
