# Every target makes its environment first (tools/bootstrap.sh): .venv/pyXYZ, once per Python and lock.
#   make test PYTHON=python3.12     chooses the Python, 3.9 to 3.13; otherwise the first that runs

PYTHON ?=
export PYTHON

# The sentence of the README at a size that two cores finish in minutes.
DEMO_SENTENCE = --loss=giou --focal --ignore_thresh=0.45
DEMO_FLAGS = --recipe=quick

# A process a core, at most four (each holds a TensorFlow); SPREAD= for one, which also lets PYTEST_FLAGS=-s print.
SPREAD = --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
PYTEST_FLAGS =
# Not for the demo: the commands leave out TensorFlow's start-up lines themselves, unless this is set.
check test test-onednn test-slow test-wheel: export TF_CPP_MIN_LOG_LEVEL ?= 2
UV = uv==0.13.8

.PHONY: help demo check test test-onednn test-slow test-wheel lint lock clean

help:  ## this list (default)
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1	/p' Makefile

demo:  ## train, evaluate, export and draw on built-in images; again: goes on; FRESH=1: anew
	@python=$$(tools/bootstrap.sh) && tools/demo.sh "$$python" $(DEMO_SENTENCE) $(DEMO_FLAGS)

check: lint  ## in under a minute: lint, types, and the tests that need no TensorFlow
	@python=$$(tools/bootstrap.sh) && "$$python" -m pytest --pure -q -rfE --durations=3 $(PYTEST_FLAGS)

test:  ## the suite without the slow proofs
	@python=$$(tools/bootstrap.sh) && "$$python" -m pytest $(SPREAD) $(PYTEST_FLAGS)

# What oneDNN's kernels compute: exports, serving, darknet networks. TensorFlow turns it on by itself on newer processors.
ONEDNN_TESTS = tests/export/test_saved_model.py tests/export/test_formats.py tests/export/test_serving.py \
	tests/models/darknet/test_cfg_networks.py tests/models/darknet/test_parity_opencv.py

test-onednn:  ## exports, serving and darknet networks with oneDNN forced on
	@python=$$(tools/bootstrap.sh) && TF_ENABLE_ONEDNN_OPTS=1 "$$python" -m pytest $(SPREAD) $(PYTEST_FLAGS) $(ONEDNN_TESTS)

test-slow:  ## the slow proofs alone
	@python=$$(tools/bootstrap.sh) && "$$python" -m pytest -m slow $(PYTEST_FLAGS)

test-wheel:  ## sdist and wheel, installed away from the checkout: a line for each of the commands
	@python=$$(tools/bootstrap.sh) && "$$python" -m pytest -m slow -s $(PYTEST_FLAGS) tests/test_wheel.py

lint:  ## ruff and mypy
	@python=$$(tools/bootstrap.sh) && "$$python" -m ruff check . && "$$python" -m mypy

lock:  ## rewrite requirements/*.lock from the .in files; UPGRADE=1 moves every pin to the newest
	@tools/lock.sh "$(UV)" $(if $(UPGRADE),--upgrade)

clean:  ## remove environments, caches and builds; runs/ and weights/ stay
	rm -rf .venv build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis ./*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
