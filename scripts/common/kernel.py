"""A Gaussian-kernel classifier on VGG16's pooled feature maps, computed in closed form."""

import keras
import numpy as np
from keras import layers
from scipy.optimize import minimize
from scipy.special import expit, logsumexp, softmax

from common import recipes

IMAGE_SIZE = (384, 384)  # height and width in pixels; larger ones were not tried
# VGG16's own; bilinear, so that resizing uses every pixel of a photo.
PREPROCESSING = {**recipes.PREPROCESSING, **recipes.IMAGENET, "interpolation": "bilinear"}
POOLED_LAYERS = ("block5_conv3",)
GAMMA = 2.0  # of the kernel exp(-gamma |x - y|²); two photos are at most sqrt(2) apart
RIDGE = 0.01  # added to the kernel matrix's diagonal; more is smoother


def build_feature_model(base, pooled_layers):
    """VGG16 up to one unit vector per photo: the layers' feature maps, globally pooled.

    Each map's average says how much of its feature there is, its maximum whether there is any.
    All layers and both poolings have the same weight.
    """
    pooled = []
    for name in pooled_layers:
        maps = base.get_layer(name).output
        for pooling in layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D:
            vector = pooling(dtype="float32")(maps)
            pooled.append(layers.UnitNormalization(dtype="float32")(vector))
    vector = layers.Concatenate(dtype="float32")(pooled)
    return keras.Model(base.input, layers.UnitNormalization(dtype="float32")(vector))


def similarity(x, y, gamma):
    """The Gaussian kernel exp(-gamma |x - y|²) of unit vectors, for which |x - y|² = 2 - 2 x·y.

    x, y: shapes (n, features) and (m, features). Returns shape (n, m), in 0..1.
    """
    return np.exp(2 * gamma * (x.astype(float) @ y.T.astype(float) - 1))


def kernel_ridge(features, labels, gamma, ridge):
    """Kernel ridge regression on the targets -1 and 1.

    features: unit vectors, shape (photos, features). labels: 0 or 1, shape (photos,) for
    two classes, (photos, classes) for more.
    Returns the coefficients and the leave-one-out predictions, both of the labels' shape. The
    latter have a closed form (Rasmussen and Williams, Gaussian Processes for Machine Learning,
    2006, 5.4.2).
    """
    targets = 2.0 * labels - 1
    matrix = similarity(features, features, gamma)
    matrix[np.diag_indices_from(matrix)] += ridge
    inverse = np.linalg.inv(matrix)
    coefficients = inverse @ targets
    return coefficients, targets - (coefficients.T / np.diag(inverse)).T


def platt_scaling(scores, labels):
    """The slope and bias for which sigmoid(slope * score + bias) is the probability of class 1.

    With Platt's targets, which stay off 0 and 1 ("Probabilistic outputs for support vector
    machines", 1999). scores: leave-one-out predictions, shape (photos,), as labels.
    """
    positive, negative = np.sum(labels == 1), np.sum(labels == 0)
    targets = np.where(labels == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))

    def loss(parameters):
        logits = parameters[0] * scores + parameters[1]
        return np.mean(np.logaddexp(0, logits) - targets * logits)

    def gradient(parameters):
        error = expit(parameters[0] * scores + parameters[1]) - targets
        return np.array([np.mean(error * scores), np.mean(error)])

    return minimize(loss, [1.0, 0.0], jac=gradient).x


def softmax_scaling(scores, labels):
    """platt_scaling() for more classes: softmax(slope * scores + biases) are the probabilities.

    scores, labels: shape (photos, classes). Returns the slope, and the biases, shape (classes,).
    """
    photos, classes = labels.sum(axis=0), labels.shape[1]
    targets = labels @ ((np.eye(classes) * photos + 1) / (photos + classes)[:, np.newaxis])

    def loss(parameters):
        logits = parameters[0] * scores + parameters[1:]
        return np.mean(logsumexp(logits, axis=1) - np.sum(targets * logits, axis=1))

    def gradient(parameters):
        error = softmax(parameters[0] * scores + parameters[1:], axis=1) - targets
        return np.append(np.mean(np.sum(error * scores, axis=1)), np.mean(error, axis=0))

    slope, *biases = minimize(loss, [1.0, *np.zeros(classes)], jac=gradient).x
    return slope, np.array(biases)


def build_classifier(features, labels, gamma, ridge):
    """The kernel classifier as two dense layers: similarity to each training photo, weighted.

    features, labels, gamma, ridge: see kernel_ridge().
    """
    coefficients, left_out = kernel_ridge(features, labels, gamma, ridge)
    if labels.ndim == 1:
        activation, (slope, bias) = "sigmoid", platt_scaling(left_out, labels)
    else:
        activation, (slope, bias) = "softmax", softmax_scaling(left_out, labels)
    coefficients = coefficients.reshape(len(features), -1)
    # exp(2 gamma (x·y - 1)) for every training photo y
    similarities = layers.Dense(len(features), activation="exponential", dtype="float32")
    answer = layers.Dense(coefficients.shape[1], activation=activation, dtype="float32")
    classifier = keras.Sequential()
    classifier.add(keras.Input(features.shape[1:]))
    classifier.add(similarities)
    classifier.add(answer)
    similarities.set_weights([2 * gamma * features.T, np.full(len(features), -2 * gamma)])
    answer.set_weights([slope * coefficients, np.atleast_1d(bias)])
    return classifier


def measure(probabilities, labels):
    """{"accuracy": ..., "loss": cross-entropy} of predictions.

    probabilities: shape (photos, classes). labels: the classes' numbers, shape (photos,).
    """
    right = probabilities[np.arange(len(labels)), labels].astype(float)
    return {
        "accuracy": float(np.mean(probabilities.argmax(axis=1) == labels)),
        "loss": float(-np.mean(np.log(np.maximum(right, 1e-7)))),  # as Keras clips it
    }
