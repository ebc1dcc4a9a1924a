"""Class activation maps: which parts of a photo speak for a class, for all models here.

Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via
Gradient-based Localization" (2017), arXiv 1610.02391.
"""

import keras
import matplotlib
import numpy as np
import tensorflow as tf
from keras import layers
from PIL import Image


def split(network):
    """Two models: from pixels to the last convolution's maps, and from these to the scores.

    The maps are those after the ReLU; the scores, those before the sigmoid or softmax, whose
    gradient vanishes where the network is sure. The second model is a copy, so that the network
    itself is not changed.
    """
    is_convolution = [isinstance(layer, layers.Conv2D) for layer in network.layers]
    end = np.flatnonzero(is_convolution)[-1] + 1
    # best.py's model next averages these maps and the mirror image's
    while isinstance(network.layers[end], (layers.Activation, layers.Average)):
        end += 1
    if isinstance(network, keras.Sequential):  # the layers' outputs may be of another graph
        maps = keras.Sequential([keras.Input(network.input_shape[1:]), *network.layers[:end]])
        rest = keras.Sequential([keras.Input(maps.output_shape[1:]), *network.layers[end:]])
    else:
        maps = keras.Model(network.input, network.layers[end - 1].output)
        rest = keras.Model(maps.output, network.output)
    scores = keras.models.clone_model(rest)
    scores.set_weights(rest.get_weights())
    layer = scores
    while hasattr(layer, "layers"):  # the classifier on VGG16 is a nested model
        layer = layer.layers[-1]
    layer.activation = keras.activations.linear
    return maps, scores


def class_activation_map(maps, scores, pixels, number):
    """Where on a photo the features are that speak for class `number`.

    maps, scores: what split() returned. pixels: float32 of shape (1, height, width, 3).
    Returns float32 of the maps' shape (rows, columns), in 0..1; all 0 if nothing speaks for the
    class. Each feature is weighted by the mean of its gradient over all places, so the map does
    not show what a dense layer makes of each place.
    """
    features = maps(pixels, training=False)
    with tf.GradientTape() as tape:
        tape.watch(features)
        answer = scores(features, training=False)
        if answer.shape[1] == 1:  # the log odds of class 1
            answer = tf.concat([-answer, answer], axis=1)
        score = answer[0, number]
    weights = tf.reduce_mean(tf.cast(tape.gradient(score, features), tf.float32), axis=(1, 2))
    heat = tf.einsum("nhwf,nf->nhw", tf.cast(features, tf.float32), weights)
    heat = tf.nn.relu(heat)[0].numpy()
    return heat / heat.max() if heat.max() > 0 else heat


def overlay(photo, heat):
    """The photo with its map on top, red to yellow; unchanged where the map is 0.

    photo: uint8 of shape (height, width, 3). heat: what class_activation_map() returned.
    Returns uint8 of the photo's shape.
    """
    height, width, _ = photo.shape
    heat = np.asarray(Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR))
    colours = 255 * matplotlib.colormaps["autumn"](heat)[..., :3]
    share = 0.7 * heat[..., np.newaxis]
    return np.round((1 - share) * photo + share * colours).astype(np.uint8)
