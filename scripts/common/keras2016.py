"""What Keras 1.0.4 of June 2016 computed in another way than today's Keras: RMSprop and the loss.

Source: optimizers.py, objectives.py and backend/theano_backend.py of keras-team/keras, tag
1.0.4. What has changed about the photos is in transform.py.
"""

import keras
from keras import ops

from common import recipes

EPSILON = 1e-7  # Keras 1.0.4's, written 10e-8


class RMSprop(keras.optimizers.RMSprop):
    """Keras's, but it divides by sqrt(a) + 1e-8, not by sqrt(a + epsilon)."""

    def get_config(self):
        """Keras's, and what it divides by."""
        return {**super().get_config(), "denominator": "sqrt(a) + epsilon"}

    def update_step(self, gradient, variable, learning_rate):
        """Change the variable by one step; all of the same shape and dtype."""
        average = self._velocities[self._get_variable_index(variable)]
        rate, gradient = (ops.cast(x, variable.dtype) for x in (learning_rate, gradient))
        self.assign(average, self.rho * average + (1 - self.rho) * ops.square(gradient))
        step = rate * gradient / (ops.sqrt(average) + self.epsilon)
        self.assign_sub(variable, step)


RMSprop.__module__ = "keras2016"  # as in the digests of the models in earlier records


def _clipped(probabilities):
    """Between 1e-7 and 1 - 1e-7; as in Theano, no gradient beyond nor on the bounds."""
    clipped = ops.clip(probabilities, EPSILON, 1 - EPSILON)
    inside = ops.logical_and(probabilities > EPSILON, probabilities < 1 - EPSILON)
    return ops.where(inside, probabilities, ops.stop_gradient(clipped))


def binary_crossentropy(targets, probabilities):
    """Of probabilities clipped to 1e-7 and 1 - 1e-7, with no gradient beyond.

    Today's loss of a sigmoid goes back to what it was made from and never clips.
    targets, probabilities: shape (photos, 1), in 0..1. Returns the losses, shape (photos,).
    """
    p = _clipped(probabilities)
    targets = ops.cast(targets, p.dtype)
    return ops.mean(-targets * ops.log(p) - (1 - targets) * ops.log(1 - p), axis=-1)


def categorical_crossentropy(targets, probabilities):
    """The same for more than two classes: shape (photos, classes), each row adding up to 1."""
    p = _clipped(probabilities / ops.sum(probabilities, axis=-1, keepdims=True))
    return -ops.sum(ops.cast(targets, p.dtype) * ops.log(p), axis=-1)


def rmsprop(recipe):
    """The recipe's RMSprop, with the learning rate that is Keras's default, then and now."""
    meaning = recipes.rmsprop(recipe)
    if meaning["denominator"] == "sqrt(a) + epsilon":
        return RMSprop(epsilon=meaning["epsilon"])
    return keras.optimizers.RMSprop(epsilon=meaning["epsilon"])


def loss(recipe, classes):
    """The recipe's loss of a network whose last layer is images.output()'s."""
    name = "binary_crossentropy" if classes == 2 else "categorical_crossentropy"
    return globals()[name] if recipes.loss_clipped(recipe) else name
