"""Keras's global policy for a while: the precision in which layers and their variables are built."""
from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def keras_policy(name: str) -> Iterator[None]:
    """Inside the context, Keras builds layers in this precision, for example ``mixed_bfloat16``."""
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
