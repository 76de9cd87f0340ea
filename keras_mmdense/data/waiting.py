"""How long training waits for data: the time a step blocks on the next batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf


def measure_waiting(data: tf.data.Dataset) -> tuple[tf.data.Dataset, tf.Variable]:
    """Return the same data set, and a variable that adds up the seconds spent waiting for it.

    A batch that lies ready costs nothing; one that must still be made costs the time until it is
    there. Set the variable to 0 to begin anew.

    Args:
        data: Any data set, prefetched.

    Returns:
        The data set and the seconds, a float64 variable.

    Example:
        >>> import tensorflow as tf
        >>> data, seconds = measure_waiting(tf.data.Dataset.range(3).prefetch(1))
        >>> len(list(data)), float(seconds) < 1
        (3, True)
    """
    import tensorflow as tf

    with tf.device("CPU:0"):
        seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)
    # zip asks its parts in order: first the clock, at the request, then the data, which may block
    clock = tf.data.Dataset.counter().map(lambda _: tf.timestamp())

    def account(requested: Any, batch: Any) -> Any:
        with tf.control_dependencies([seconds.assign_add(tf.timestamp() - requested)]):
            return tf.nest.map_structure(tf.identity, batch)

    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False  # it would ask ahead of the step
    return tf.data.Dataset.zip((clock, data)).map(account).with_options(options), seconds
