"""VGG16's convolutional base, its weights, and the classifier on top.

Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition" (2014), arXiv 1409.1556.
"""

import hashlib
import sys
import textwrap
import warnings

import keras
from keras import layers

from common import folders, images
from common.cli import InputError

# digest() of the ImageNet weights behind the README's numbers.
IMAGENET_SHA256 = "d9a27cc1fc7f975ef8cff49180e794ccd7c4bc868ebb49740803b3bbaa8dbefd"


def load(given, weights, image_size, classifier=None, remember=True):
    """VGG16's base, and what a run's record says of it.

    given, weights: see folders.vgg16_weights(). image_size: see convolutional_base().
    classifier: (path, record) of a model on top of it; raises InputError if it was trained on
    the features of other weights. remember: the file that was given, for the next time. Warns
    on standard error if the weights are not those behind the README's numbers.
    """
    file = folders.vgg16_weights(given, weights)
    base = convolutional_base(file, image_size)
    sha256 = digest(base)
    if classifier and classifier[1]["vgg16_sha256"] != sha256:
        raise InputError(
            f"{classifier[0]}: trained on the features of other VGG16 weights than {file}; "
            "name those with --vgg16-weights (make: VGG16_WEIGHTS), or train it anew"
        )
    if remember:
        folders.remember_vgg16(file, weights)
    kind = "imagenet" if sha256 == IMAGENET_SHA256 else "random" if file == "random" else "other"
    if kind == "other":
        print(
            f"warning: {file}: VGG16's shape, but not the ImageNet weights behind the "
            "README's numbers; expect other accuracies",
            file=sys.stderr,
        )
    return base, {"vgg16_weights": kind, "vgg16_sha256": sha256}


def convolutional_base(weights, image_size):
    """VGG16 without its fully-connected layers: 13 convolutions in five blocks.

    weights: a file in the layout of Keras's vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5,
        or "imagenet" for that file as keras.applications downloads and caches it, or
        "random" for an untrained network, always the same.
    image_size: (height, width) in pixels, at least 32 each.
    Returns a model from (batch, height, width, 3) to (batch, height // 32, width // 32, 512).
    Raises InputError if the weights are not available or not VGG16's.
    """
    input_shape = (*image_size, 3)
    if weights == "random":
        base = keras.applications.VGG16(include_top=False, weights=None, input_shape=input_shape)
        for seed, layer in enumerate(base.layers):
            if layer.weights:
                # He's initialisation keeps the size of the activations through 13 ReLU layers;
                # Keras's default would shrink them a hundredfold.
                kernel, _ = layer.weights
                kernel.assign(keras.initializers.HeNormal(seed=seed)(kernel.shape))
        return base
    try:
        # Before refusing a file, Keras warns about every layer.
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            base = keras.applications.VGG16(
                include_top=False, weights=str(weights), input_shape=input_shape
            )
    # Keras raises a bare Exception for a failed download, and OSError, ValueError,
    # KeyError or TypeError for a wrong file.
    except Exception as error:
        if weights == "imagenet":
            raise InputError(
                f"can't download VGG16's weights ({error}); get the file "
                "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 by other means and name it: "
                "--vgg16-weights FILE, or make VGG16_WEIGHTS=FILE"
            ) from error
        raise InputError(
            f"{weights}: not the weights of VGG16 without its top "
            f"({textwrap.shorten(str(error), 200)}); expected "
            "Keras's vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
        ) from error
    return base


def build_top_model(input_shape, dropout, classes=2):
    """The classifier on VGG16's features: 256 dense units, dropout, and images.output()."""
    units, activation = images.output(classes)
    model = keras.Sequential()  # a list of layers would change the fine-tuned model's digest
    model.add(keras.Input(input_shape))
    model.add(layers.Flatten())
    model.add(layers.Dense(256, activation="relu"))
    model.add(layers.Dropout(dropout))
    model.add(layers.Dense(units, activation=activation, dtype="float32"))
    return model


def digest(base):
    """SHA-256 over the base's 26 tensors: kernel and bias by layer, float32, C order."""
    total = hashlib.sha256()
    for tensor in base.get_weights():
        total.update(tensor.astype("<f4").tobytes())
    return total.hexdigest()
