#!/usr/bin/env bash
# tools/demo.sh PYTHON FLAG...: trains on the built-in shapes, then draws on held-out images. The run is named
# after the environment, so each lane has its own. After a kill the same command resumes it; a finished run
# is evaluated and drawn again; FRESH=1 starts again.
set -euo pipefail
python=$1; shift
name=demo-$(basename "${python%/bin/python}")
run=runs/$name

step() { printf '\n+ python %s\n' "$*"; "$python" "$@"; }

if [ -n "${FRESH:-}" ]; then rm -rf "$run"; fi
step train.py "$@" "--name=$name"
images=(runs/data/shapes-*/JPEGImages/val_0000?.jpg)      # the same in every set, however large
step detect.py "--model=$run/saved_model/1" "--output=$run/drawn" "${images[@]:0:10}"

cat <<EOF

Files in $run:
  drawn/                    held-out images with the boxes found
  report.html               one page: scores, curves, errors, what to try next
  evaluation/, curves.png   scores and curves of the best checkpoint
  saved_model/1/            ready to serve
  events/                   $python -m tensorboard.main --logdir $run/events
EOF
