"""RMSprop, the loss and max-pooling's gradient as in Keras 1.0.4 of June 2016, on Theano.

Source: optimizers.py, objectives.py and backend/theano_backend.py of keras-team/keras, tag
1.0.4. For what changed about the photos, see transform.py.
"""

import keras
import tensorflow as tf
from keras import ops
from keras.src import backend as keras_backend

from common import recipes

EPSILON = 1e-7  # Keras 1.0.4's, written 10e-8


class RMSprop(keras.optimizers.RMSprop):
    """Keras's, but it divides by sqrt(a) + epsilon, not by sqrt(a + epsilon)."""

    def get_config(self):
        """Keras's configuration, and the denominator."""
        return {**super().get_config(), "denominator": "sqrt(a) + epsilon"}

    def update_step(self, gradient, variable, learning_rate):
        """Update the variable; gradient of the same shape."""
        average = self._velocities[self._get_variable_index(variable)]
        rate, gradient = (ops.cast(x, variable.dtype) for x in (learning_rate, gradient))
        self.assign(average, self.rho * average + (1 - self.rho) * ops.square(gradient))
        step = rate * gradient / (ops.sqrt(average) + self.epsilon)
        self.assign_sub(variable, step)


RMSprop.__module__ = "keras2016"  # as in the model digests of earlier records


def _clipped(probabilities):
    """Clipped to 1e-7..1 - 1e-7. As in Theano, no gradient beyond or at the bounds."""
    clipped = ops.clip(probabilities, EPSILON, 1 - EPSILON)
    inside = ops.logical_and(probabilities > EPSILON, probabilities < 1 - EPSILON)
    return ops.where(inside, probabilities, ops.stop_gradient(clipped))


def binary_crossentropy(targets, probabilities):
    """The loss of clipped probabilities. Today's uses the sigmoid's input and never clips.

    targets, probabilities: shape (photos, 1), in 0..1. Returns the losses, shape (photos,).
    """
    p = _clipped(probabilities)
    targets = ops.cast(targets, p.dtype)
    return ops.mean(-targets * ops.log(p) - (1 - targets) * ops.log(1 - p), axis=-1)


def categorical_crossentropy(targets, probabilities):
    """The same for more classes: shape (photos, classes); each row is scaled to add up to 1."""
    p = _clipped(probabilities / ops.sum(probabilities, axis=-1, keepdims=True))
    return -ops.sum(ops.cast(targets, p.dtype) * ops.log(p), axis=-1)


_max_pool = keras_backend.nn.max_pool


def _max_pool_of_2016(inputs, pool_size, strides=None, padding="valid", data_format=None):
    """Keras's max_pool() of windows that don't overlap, with Theano's gradient."""
    rows, columns = pool_size

    @tf.custom_gradient
    def pool(x):
        maxima = _max_pool(x, pool_size, strides, padding, data_format)

        def gradient(upstream):
            height, width, channels = maxima.shape[1:]
            inside = x[:, : height * rows, : width * columns]
            windows = tf.reshape(inside, (-1, height, rows, width, columns, channels))
            shared = windows == maxima[:, :, None, :, None]
            passed = tf.where(shared, upstream[:, :, None, :, None], tf.zeros([], x.dtype))
            passed = tf.reshape(passed, (-1, height * rows, width * columns, channels))
            rest = (x.shape[1] - height * rows, x.shape[2] - width * columns)
            return tf.pad(passed, [(0, 0), (0, rest[0]), (0, rest[1]), (0, 0)])

        return maxima, gradient

    return pool(inputs)


def set_pooling(recipe):
    """Have max-pooling in this process pass back its gradients as the recipe does.

    In Theano, they go to all places that share the maximum, in TensorFlow to one of them. In the
    even areas of photos, and where their edges are repeated, most places do. Returns what the
    record says of it.
    """
    restored = recipes.pooling_gradient(recipe)
    keras_backend.nn.max_pool = _max_pool_of_2016 if restored else _max_pool
    return restored


def rmsprop(recipe):
    """The recipe's RMSprop, with Keras's default learning rate, the same then and now."""
    meaning = recipes.rmsprop(recipe)
    of_2016 = meaning["denominator"] == "sqrt(a) + epsilon"
    return (RMSprop if of_2016 else keras.optimizers.RMSprop)(epsilon=meaning["epsilon"])


def loss(recipe, classes):
    """The recipe's loss for a network that ends in images.output()."""
    name = "binary_crossentropy" if classes == 2 else "categorical_crossentropy"
    return globals()[name] if recipes.loss_clipped(recipe) else name
