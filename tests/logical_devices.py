"""Splits this process's CPU into two devices, for tests of what several replicas do. Import it before any computation."""
import tensorflow as tf

CPU, = tf.config.list_physical_devices('CPU')
tf.config.set_logical_device_configuration(CPU, [tf.config.LogicalDeviceConfiguration()] * 2)


def two():
    """A strategy of two replicas."""
    return tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])
