"""Distributed training with TensorFlow's strategies: the devices of one machine, or workers on several machines.

    none         one device
    mirrored     all GPUs of this machine, or its logical CPU devices
    multiworker  all devices of all workers that TF_CONFIG names
    auto         multiworker where TF_CONFIG names workers, mirrored where there are several GPUs, else none

Every worker runs the same script with the same flags and data. Only the chief (worker 0) reads and writes the
run's folder and sends the others what they need (``Distribution.by_chief``), so the workers need no shared disk.
"""
from __future__ import annotations

import contextlib
import functools
import json
import os
import re
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple

import numpy as np
import tensorflow as tf

from yolov3_tf.choices import choose
from yolov3_tf.errors import InputError

TRY_AGAIN = 75      # exit status of a worker that lost another one: EX_TEMPFAIL, so that a supervisor starts it again


class PeerLost(RuntimeError):
    """The connection to another worker is lost, and with it their common step."""


class Distribution(NamedTuple):
    """Attributes:
      strategy: variables are created in its scope; None for one device.
      workers: number of processes that train together.
      worker: number of this process, from 0.
    """
    strategy: Any = None
    workers: int = 1
    worker: int = 0

    @property
    def chief(self) -> bool:
        """Whether this process reads and writes the run's folder."""
        return self.worker == 0

    @property
    def replicas(self) -> int:
        """Number of devices that share a batch, over all workers."""
        return self.strategy.num_replicas_in_sync if self.strategy else 1

    def describe(self) -> str:
        """A description for the log."""
        if self.workers > 1:
            return f'worker {self.worker} of {self.workers}, {self.replicas} replicas'
        return f'{self.replicas} replicas' if self.strategy else 'one device'

    def scope(self):
        """The context to create variables in."""
        return (self.strategy or tf.distribute.get_strategy()).scope()

    def by_chief(self, work: Callable[[], Any]):
        """Calls ``work()`` on the chief only, and returns its result, a JSON value, on every worker.

        Raises:
          InputError: on every worker, where ``work()`` raises it on the chief.
        """
        if self.workers == 1:
            return work()
        answer, error = {}, None
        if self.chief:
            try:
                answer = {'result': work()}
            except (InputError, OSError) as caught:
                answer, error = {'error': str(caught)}, caught
        answer = self._send_json(answer)
        if 'error' in answer:
            raise error or InputError(f'worker 0: {answer["error"]}')
        return answer['result']

    def check_alike(self, what: str, text: str):
        """Raises InputError on every worker if the text of one differs from that of the chief."""
        other = np.zeros(self.workers, np.int32)
        other[self.worker] = self._send_json(text) != text
        different = np.flatnonzero(self._sum(other))
        if different.size:
            raise InputError(f'worker {", ".join(map(str, different))} has other {what} than worker 0: start all '
                             'workers with the same flags, data, precision and versions')

    def send(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the chief's named arrays on every worker; the arguments of the others are ignored."""
        if self.workers == 1:
            return arrays
        table = self._send_json([[name, array.dtype.str, array.shape] for name, array in arrays.items()])
        sent = {}
        for kind in sorted({kind for _, kind, _ in table}):         # all arrays of a type at once
            named = [(name, shape) for name, other, shape in table if other == kind]
            ends = np.cumsum([np.prod(shape, dtype=int) for _, shape in named])
            flat = (np.concatenate([arrays[name].ravel() for name, _ in named]) if self.chief
                    else np.zeros(ends[-1], kind))
            parts = np.split(self._sum(flat), ends[:-1])
            sent.update({name: part.reshape(shape) for (name, shape), part in zip(named, parts)})
        return sent

    def send_variables(self, variables: Sequence[Any]):
        """Assigns to the variables the values that they have on the chief."""
        names = [str(number) for number in range(len(variables))]
        sent = self.send(dict(zip(names, (variable.numpy() for variable in variables))))
        for name, variable in zip(names, variables):
            variable.assign(sent[name])

    def _send_json(self, value):
        """Returns the chief's JSON value on every worker."""
        content = json.dumps(value).encode() if self.chief else b''
        length, = self._sum(np.array([len(content)], np.int32))
        codes = np.frombuffer(content, np.uint8).astype(np.int32) if self.chief else np.zeros(length, np.int32)
        return json.loads(bytes(self._sum(codes).astype(np.uint8)))

    def _sum(self, vector):
        """Sum over the workers of vectors of numbers."""
        return _sums(self.strategy, vector.dtype.str)(tf.constant(vector)).numpy()


ALONE = Distribution()


# Errors that always mean a lost worker, and errors that mean it only if their text matches.
LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)
LOST_BY_TEXT = (tf.errors.InternalError, tf.errors.FailedPreconditionError)
_LOST_TEXT = re.compile(r'connect|socket|peer|collective|\brpc\b|heartbeat|coordination|barrier', re.IGNORECASE)


@contextlib.contextmanager
def watched(distribution: Distribution):
    """Raises PeerLost for TensorFlow's errors of a connection to another worker."""
    try:
        yield
    except (*LOST, *LOST_BY_TEXT) as error:
        message = str(error.message)
        if distribution.workers == 1 or (isinstance(error, LOST_BY_TEXT) and not _LOST_TEXT.search(message)):
            raise
        reason = message.strip().splitlines()[0][:300] if message.strip() else 'no reason given'
        raise PeerLost(f'worker {distribution.worker} lost another worker: start all workers again with the same '
                       f'command, and they go on from the last checkpoint ({type(error).__name__}: {reason})'
                       ) from error


@functools.cache
def _sums(strategy, kind):
    def replica(values):
        context = tf.distribute.get_replica_context()
        here = len(strategy.extended.worker_devices)
        first = context.replica_id_in_sync_group % here == 0        # one device of each worker sends its values
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.where(first, values, tf.zeros_like(values)))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.as_dtype(np.dtype(kind)))], autograph=False)
    def everywhere(values):
        return strategy.experimental_local_results(strategy.run(replica, args=(values,)))[0]
    return everywhere


def start(name: str = 'auto', logical_devices: int = 1) -> Distribution:
    """Sets up the devices and workers; must be called before TensorFlow does anything else.

    Args:
      name: one of ``STRATEGIES``.
      logical_devices: number of devices that a machine without GPU is split into, to try strategies on it.

    Raises:
      InputError: this machine or TF_CONFIG does not allow the strategy, or it would not use the logical devices.
    """
    choose(STRATEGIES, name, 'strategy')
    workers, worker = read_cluster(os.environ.get('TF_CONFIG', ''))
    gpus = tf.config.list_physical_devices('GPU')
    if name == 'auto':
        name = 'multiworker' if workers > 1 else 'mirrored' if max(len(gpus), logical_devices) > 1 else 'none'
    if workers > 1 and name != 'multiworker':
        raise InputError(f'--strategy={name} while TF_CONFIG names {workers} workers: each would train the whole run '
                         'by itself. Use --strategy=multiworker or auto, or unset TF_CONFIG')
    if name == 'multiworker' and not os.environ.get('TF_CONFIG'):
        raise InputError('--strategy=multiworker needs the environment variable TF_CONFIG, which names the workers: '
                         'see docs/DISTRIBUTED.md')
    if logical_devices > 1:
        _split_processors(name, len(gpus), logical_devices)
    if name == 'none':
        return ALONE
    if name == 'multiworker':
        return Distribution(tf.distribute.MultiWorkerMirroredStrategy(), workers, worker)
    devices = tf.config.list_logical_devices('GPU' if gpus else 'CPU')
    return Distribution(tf.distribute.MirroredStrategy([device.name for device in devices]))


def _split_processors(name, gpus, count):
    if name == 'none' or gpus:
        why = f'this machine has {gpus} GPUs, which are used instead' if gpus else '--strategy=none uses one'
        raise InputError(f'--logical_devices={count} splits the processors, but {why}: leave it out')
    cpu, = tf.config.list_physical_devices('CPU')
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)


STRATEGIES = {'auto': 'by the machine and TF_CONFIG', 'none': 'one device', 'mirrored': 'all devices of this machine',
              'multiworker': 'all devices of all workers that TF_CONFIG names'}


def read_cluster(text: str):
    """(number of workers, number of this one) from a TF_CONFIG; (1, 0) for an empty one.

    Raises:
      InputError: it is not {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}.
    """
    if not text:
        return 1, 0
    try:
        config = json.loads(text)
        cluster, task = config['cluster'], config['task']
        kinds, kind, index = set(cluster), task['type'], int(task['index'])
        first, others = list(cluster.get('chief', [])), list(cluster.get('worker', []))
        here = {'chief': first, 'worker': others}[kind][index]
        whole = kinds <= {'chief', 'worker'} and len(first) < 2 and index >= 0 and ':' in here
    except (ValueError, KeyError, IndexError, TypeError):
        whole = False
    if not whole:
        raise InputError('TF_CONFIG: expected {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", '
                         f'"index": N}}}} with the number N of this process, from 0, got {text[:200]}')
    return len(first) + len(others), index + (len(first) if kind == 'worker' else 0)
