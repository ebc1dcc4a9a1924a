"""Training on several devices, with TensorFlow's own strategies.

Every gradient step is that of one device: each batch is divided evenly between the
replicas, one a device, and their gradients are averaged. All workers draw the same random
numbers, so that they agree on every batch, and each takes its own share of it.
"""

import hashlib
import os

import tensorflow as tf

from common import folders
from common.cli import InputError


class _ForKeras:
    """What Keras 3 asks of strategies and TensorFlow's do not do (keras-team/keras#20585).

    Before an epoch it takes the mean of the replicas' first shares, to learn their shape;
    after a step that of the replicas' metrics, for the progress bar. The first fails for
    shares of different sizes, and both fail where there are several workers. The value of
    this worker's first replica does for both. An epoch's metrics are sums over all replicas.
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
    """The tf.distribute.Strategy in whose scope() the model is to be built and compiled.

    Without --distribute, TensorFlow's default one, which changes nothing. To be called before
    anything else is done with TensorFlow; waits for the other workers. Raises InputError for
    a TF_CONFIG that can't be used, and where photos or batches can't be divided evenly: the mean
    of the replicas' gradients would then not be the mean over the photos.
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
    # TensorFlow fails where a replica gets no photo; unequal shares it adds up right.
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
            "workers": workers(strategy),
        }
    }


def workers(strategy):
    """The number of processes that train together."""
    resolver = strategy.cluster_resolver
    return sum(map(len, resolver.cluster_spec().as_dict().values())) if resolver else 1


def is_chief(strategy):
    """Whether this is the worker that writes the files: the chief, else the first one."""
    resolver = strategy.cluster_resolver
    if not resolver:
        return True
    first = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
    return (resolver.task_type, resolver.task_id) == (first, 0)


def all_equal(strategy, text):
    """Whether all workers call this with the same text; waits for them."""
    if workers(strategy) == 1:
        return True
    digest = int(hashlib.sha256(text.encode()).hexdigest()[:15], 16)

    @tf.function
    def gather():
        return strategy.gather(strategy.run(lambda: tf.constant([digest], tf.int64)), axis=0)

    return bool(tf.reduce_all(gather() == digest))
