"""Training on several devices, with TensorFlow's strategies.

Every gradient step is that of one device: each batch is split evenly between the replicas, one
per device, and their gradients are averaged. All workers draw the same random numbers, so that
they agree on every batch, and each takes its own share of it.
"""

import hashlib
import os

import tensorflow as tf

from common import folders
from common.cli import InputError


class _ForKeras:
    """Two means that Keras 3 asks for and TensorFlow can't give (keras-team/keras#20585).

    Before an epoch, that of the replicas' first shares, for their shape; after a step, that of
    the replicas' metrics, for the progress bar. The first fails for shares of different sizes,
    both with several workers. This worker's first replica stands in for both. An epoch's
    metrics are sums over all replicas.
    """

    def reduce(self, reduce_op, value, axis):
        if reduce_op == "MEAN":
            return self.experimental_local_results(value)[0]
        return super().reduce(reduce_op, value, axis)


class MirroredStrategy(_ForKeras, tf.distribute.MirroredStrategy):
    """Several devices of one machine."""


class MultiWorkerMirroredStrategy(_ForKeras, tf.distribute.MultiWorkerMirroredStrategy):
    """Several processes, the workers, on one machine or several."""


def strategy(arguments, photos, validation_photos):
    """The tf.distribute.Strategy in whose scope() to build and compile the model.

    Without --distribute, TensorFlow's default one, which changes nothing. Call it before doing
    anything else with TensorFlow; it waits for the other workers. Raises InputError for an
    unusable TF_CONFIG, and if photos or batches can't be split evenly: the mean of the replicas'
    gradients would then not be the mean over the photos.
    """
    if not getattr(arguments, "distribute", False):
        return tf.distribute.get_strategy()
    if "TF_CONFIG" in os.environ:
        count, _ = folders.workers()
        print(f"Waiting for all {count} workers of TF_CONFIG.", flush=True)
        try:
            strategy = MultiWorkerMirroredStrategy()
        except (ValueError, TypeError, RuntimeError, tf.errors.OpError) as error:
            raise InputError(f"TF_CONFIG: can't start this worker ({error})") from error
    else:
        strategy = MirroredStrategy()
    replicas = strategy.num_replicas_in_sync
    for count, what in (
        (arguments.batch_size, f"--batch-size: a batch of {arguments.batch_size} photos"),
        (photos, f"the {photos} photos to train on"),
    ):
        if count % replicas:
            raise InputError(f"{what} can't be divided evenly between {replicas} replicas")
    # TensorFlow adds up unequal shares correctly, but fails if a replica gets no photo.
    last = validation_photos % arguments.batch_size
    if 0 < last < replicas:
        raise InputError(
            f"--batch-size: of {validation_photos} photos to validate on, the last batch would "
            f"have {last}, fewer than the {replicas} replicas; choose another"
        )
    return strategy


def describe(strategy):
    """What a run's record says of its strategy: {"distributed": ...}, or {} for the default."""
    if not isinstance(strategy, _ForKeras):
        return {}
    return {
        "distributed": {
            "strategy": type(strategy).__name__,
            "replicas": strategy.num_replicas_in_sync,
            "workers": _workers(strategy)[0],
        }
    }


def _workers(strategy):
    """folders.workers(); without --distribute, TF_CONFIG does not matter."""
    together = isinstance(strategy, MultiWorkerMirroredStrategy)
    return folders.workers() if together else (1, True)


def is_chief(strategy):
    """Whether this worker writes the files, see folders.workers()."""
    return _workers(strategy)[1]


def all_equal(strategy, text):
    """Whether all workers call this with the same text; waits for them."""
    if _workers(strategy)[0] == 1:
        return True
    digest = int(hashlib.sha256(text.encode()).hexdigest()[:15], 16)

    @tf.function
    def gather():
        return strategy.gather(strategy.run(lambda: tf.constant([digest], tf.int64)), axis=0)

    return bool(tf.reduce_all(gather() == digest))
