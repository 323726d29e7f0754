"""Hides TensorFlow's start-up lines, which have nothing to do with this program.

C++ code writes them to file descriptor 2 while tensorflow is imported and when devices are first listed, so no
Python logger can filter them. Only during these two, descriptor 2 is a pipe; a small process reads it and writes
every line that is not in ``KNOWN``. It is a process, so that the messages of a crash (for example an instruction that
the processor lacks) are still shown. If TF_CPP_MIN_LOG_LEVEL is set, nothing is hidden.
"""
from __future__ import annotations

import contextlib
import importlib.abc
import importlib.util
import os
import re
import signal
import sys
from collections.abc import Iterator
from typing import Any

LOG_LEVEL = 'TF_CPP_MIN_LOG_LEVEL'
# Lines of TensorFlow 2.15 to 2.21 that every machine without a GPU, or every machine, shows. 303: no CUDA library.
KNOWN = re.compile(
    rb'WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR'
    rb'|\] Unable to register cu(DNN|FFT|BLAS) factory: Attempting to register factory for plugin'
    rb'|\] failed call to cuInit: (.*\(303\)|.*CUDA_ERROR_NO_DEVICE)'
    rb'|\] oneDNN custom operations are on\. You may see slightly different numerical results'
    rb'|\] Could not find cuda drivers on your machine, GPU will not be used'
    rb'|\] This TensorFlow binary is optimized to use available CPU instructions'
    rb'|^To enable the following instructions: .* rebuild TensorFlow with the appropriate compiler flags\.'
    rb'|TF-TRT Warning: Could not find TensorRT')
_END = b'\0end of start-up\0'


def hide() -> None:
    """Makes the first import of tensorflow hide its start-up lines and the warnings of its C++ code."""
    if 'tensorflow' not in sys.modules and LOG_LEVEL not in os.environ:
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finds tensorflow like the standard import system, once, and wraps its execution."""

    def find_spec(self, name, path=None, target=None):  # noqa: ARG002, the import system gives them
        if name != 'tensorflow':
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        loader: Any = spec.loader       # a method of this one loader is replaced
        execute = loader.exec_module

        def quietly(module):
            os.environ[LOG_LEVEL] = '2'
            try:
                with filtered():
                    execute(module)
                    module.config.list_physical_devices()       # asks the driver, which also writes lines
            finally:
                del os.environ[LOG_LEVEL]       # it has been read; started processes filter by themselves

        loader.exec_module = quietly
        return spec


@contextlib.contextmanager
def filtered() -> Iterator[None]:
    """Inside this context, ``KNOWN`` lines written to descriptor 2 are dropped; without ``fork`` it does nothing."""
    try:
        output = os.dup(2)
    except OSError:
        output = -1
    if output < 0 or sys.stderr is None or not hasattr(os, 'fork'):
        yield
        return
    sys.stderr.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(writer)
        _pass_on(reader, output)
    os.close(reader)
    os.dup2(writer, 2)
    os.close(writer)
    try:
        yield
    finally:
        sys.stderr.flush()
        with contextlib.suppress(OSError):
            os.write(2, _END)
        os.dup2(output, 2)
        os.close(output)
        os.waitpid(child, 0)


def _pass_on(reader, output):
    """The small process, which runs until the end mark, or until the writer has ended."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)        # Ctrl-C is for the program, whose last lines must pass
        rest, ended = b'', False
        while not ended:
            block = os.read(reader, 65536)
            rest += block
            ended = not block or _END in rest
            *lines, rest = rest.replace(_END, b'').split(b'\n')
            for line in lines:
                if not KNOWN.search(line):
                    os.write(output, line + b'\n')
        os.write(output, rest)
    finally:
        os._exit(0)
