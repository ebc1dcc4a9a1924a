"""A Gaussian-kernel classifier on VGG16's pooled feature maps, computed in closed form."""

import keras
import numpy as np
from keras import layers, ops
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.special import expit, logsumexp, softmax

from common import files, fingerprints, networks, recipes

IMAGE_SIZE = (384, 384)  # height and width in pixels; larger ones do worse
# VGG16's own; bilinear, so that resizing uses every pixel of a photo.
PREPROCESSING = {**recipes.PREPROCESSING, **recipes.IMAGENET, "interpolation": "bilinear"}
POOLED_LAYERS = ("block5_conv3",)
MIRRORED = True  # pooled is the mean of a photo's maps and its mirror image's, turned back
GAMMA = 2.0  # of the kernel exp(-gamma |x - y|²); two photos are at most sqrt(2) apart
RIDGE = 0.01  # added to the kernel matrix's diagonal; more is smoother

# With more photos than EXACT, whose matrices would take 34 bytes × photos², the kernel functions
# are those of some photos, the LANDMARKS, though all photos still decide. Memory then grows by
# 12 kB a photo: 20,000 take 1.6 GB, most of it for TensorFlow and the photos' features.
EXACT, LANDMARKS = 5000, 4000
DRAWS = 3  # of a part of the photos, for the learning curve
ROWS = 1000  # of the kernel matrix, computed at a time


def preprocessing(folder):
    """PREPROCESSING, and turned as EXIF says. Not the article's photos: as stored, as in 2016.

    folder: holds the classes to train on.
    """
    paths = files.photos_of_classes(folder, quiet=True)
    return PREPROCESSING | ({} if fingerprints.are_of_the_article(paths) else {"upright": True})


def build_feature_model(base, pooled_layers, mirrored):
    """VGG16 up to one unit vector per photo: the layers' feature maps, globally pooled.

    Each map's average says how much of its feature there is, its maximum whether there is any.
    All layers and both poolings have the same weight. mirrored: the maps are the mean of a photo's
    and its mirror image's, turned back.
    """
    pooled, mirror_image = [], {}
    if mirrored:  # VGG16 is a chain of layers
        x = ops.flip(base.input, axis=2)
        mirror_image = {layer.name: (x := layer(x)) for layer in base.layers[1:]}
    for name in pooled_layers:
        maps = base.get_layer(name).output
        if mirrored:
            maps = layers.Average(dtype="float32")([maps, ops.flip(mirror_image[name], axis=2)])
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


def landmark_ridge(features, landmarks, labels, gamma, ridge):
    """kernel_ridge() with the kernel functions of the landmarks alone.

    What these can't tell of a photo counts as noise of its own, so that the others decide where
    there are few landmarks near. landmarks: of the features, shape (landmarks, features). Returns
    the coefficients, of shape (landmarks,) or (landmarks, classes), and the leave-one-out
    predictions, of the labels'. If all photos are landmarks, they are those of kernel_ridge().
    Source: Snelson and Ghahramani, "Sparse Gaussian Processes using Pseudo-inputs" (2005); known
    as FITC, in the form of Rasmussen and Williams 2006, 8.3.
    """
    targets = 2.0 * labels - 1
    parts = [slice(start, start + ROWS) for start in range(0, len(features), ROWS)]
    near = similarity(landmarks, landmarks, gamma)
    near[np.diag_indices_from(near)] += 1e-8  # for the last digits
    factor = cholesky(near, lower=True, check_finite=False)

    def rows(part):
        """The landmarks' whitened functions at these photos, (landmarks, photos), and weights."""
        here = similarity(landmarks, features[part], gamma)
        white = solve_triangular(factor, here, lower=True, check_finite=False)
        own_noise = np.maximum(1 - np.sum(white**2, axis=0), 0)
        return white, 1 / (ridge + own_noise)

    whole, right = np.eye(len(landmarks)), np.zeros((len(landmarks), *targets.shape[1:]))
    for part in parts:
        white, weight = rows(part)
        whole += (white * weight) @ white.T
        right += white @ (targets[part].T * weight).T
    whole = cholesky(whole, lower=True, overwrite_a=True, check_finite=False)
    solved = cho_solve((whole, True), right, check_finite=False)
    left_out = np.empty(targets.shape)
    for part in parts:
        white, weight = rows(part)
        half = solve_triangular(whole, white, lower=True, check_finite=False)
        error = targets[part] - white.T @ solved
        left_out[part] = targets[part] - (error.T / (1 - weight * np.sum(half**2, axis=0))).T
    return solve_triangular(factor, solved, lower=True, trans=1, check_finite=False), left_out


def fit(features, labels, gamma, ridge, photos=None):
    """The photos whose kernel functions are used, and what kernel_ridge() returns for them.

    Up to EXACT photos, these are all; beyond, LANDMARKS of them, drawn at random, always the same.
    photos: how many there are, where the features are only those of a part.
    """
    if (photos or len(features)) <= EXACT:
        return features, *kernel_ridge(features, labels, gamma, ridge)
    count = min(LANDMARKS, len(features))
    drawn = np.random.default_rng(0).choice(len(features), count, replace=False)
    landmarks = features[np.sort(drawn)]
    return landmarks, *landmark_ridge(features, landmarks, labels, gamma, ridge)


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


def build_classifier(features, labels, gamma, ridge, photos=None):
    """The kernel classifier as two dense layers: similarity to each photo of fit(), weighted.

    features, labels, gamma, ridge, photos: see fit().
    """
    near, coefficients, left_out = fit(features, labels, gamma, ridge, photos)
    if labels.ndim == 1:
        activation, (slope, bias) = "sigmoid", platt_scaling(left_out, labels)
    else:
        activation, (slope, bias) = "softmax", softmax_scaling(left_out, labels)
    coefficients = coefficients.reshape(len(near), -1)
    # exp(2 gamma (x·y - 1)) for every such photo y
    similarities = layers.Dense(len(near), activation="exponential", dtype="float32")
    answer = layers.Dense(coefficients.shape[1], activation=activation, dtype="float32")
    classifier = keras.Sequential()
    classifier.add(keras.Input(features.shape[1:]))
    classifier.add(similarities)
    classifier.add(answer)
    similarities.set_weights([2 * gamma * near.T, np.full(len(near), -2 * gamma)])
    answer.set_weights([slope * coefficients, np.atleast_1d(bias)])
    return classifier


def learning_curve(features, labels, tested, tested_labels):
    """The accuracies after training on a quarter and on a half of the photos, as a list.

    features, labels: to train on, see kernel_ridge(). tested, tested_labels: features and the
    classes' numbers. Mean of DRAWS draws, from each class its share.
    """
    numbers = labels if labels.ndim == 1 else labels.argmax(axis=1)
    members = [np.flatnonzero(numbers == number) for number in np.unique(numbers)]
    accuracies = []
    for share in 4, 2:
        right = []
        for seed in range(DRAWS):
            random = np.random.default_rng(seed)
            drawn = [random.permutation(some)[: -(-len(some) // share)] for some in members]
            drawn = np.sort(np.concatenate(drawn))
            part = features[drawn], labels[drawn]
            classifier = build_classifier(*part, GAMMA, RIDGE, photos=len(features))
            answers = networks.class_probabilities(keras.ops.convert_to_numpy(classifier(tested)))
            right.append(measure(answers, tested_labels)["accuracy"])
        accuracies.append(float(np.mean(right)))
    return accuracies


def measure(probabilities, labels):
    """{"accuracy": ..., "loss": cross-entropy} of predictions.

    probabilities: shape (photos, classes). labels: the classes' numbers, shape (photos,).
    """
    right = probabilities[np.arange(len(labels)), labels].astype(float)
    return {
        "accuracy": float(np.mean(probabilities.argmax(axis=1) == labels)),
        "loss": float(-np.mean(np.log(np.maximum(right, 1e-7)))),  # as Keras clips it
    }
