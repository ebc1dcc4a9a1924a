"""Make golden.npz: what Keras 1.0.4 on Theano 0.8.2 makes of the drawings in photos/.

For Python 2.7 with the packages of scripts/original/requirements.txt; see README.md.
"""

import hashlib
import os

os.environ["KERAS_BACKEND"] = "theano"

import keras
import numpy as np
import PIL
import scipy
import theano
from keras import backend as K
from keras import objectives, optimizers
from keras.preprocessing import image

HERE = os.path.dirname(os.path.abspath(__file__))
SIZE = (70, 70)  # 1.0.4 confuses height and width of others
BATCH_SIZE = 3

# The order in which 1.0.4 takes a folder's files is the file system's; here it is sorted.
listdir = os.listdir
os.listdir = lambda folder: sorted(listdir(folder))


def datagen():
    return image.ImageDataGenerator(
        rescale=1.0 / 255, shear_range=0.2, zoom_range=0.2, horizontal_flip=True, dim_ordering="th"
    )


def channels_last(x):
    return np.ascontiguousarray(np.moveaxis(x, -3, -1))


def pictures():
    """Resized photos, and each augmented with its number as the seed."""
    resized, augmented = [], []
    for kind in "cats", "dogs":
        folder = os.path.join(HERE, "photos", kind)
        for name in os.listdir(folder):
            photo = image.load_img(os.path.join(folder, name), target_size=SIZE)
            x = image.img_to_array(photo, dim_ordering="th")
            resized.append(channels_last(x).astype(np.uint8))
            np.random.seed(len(augmented))
            generator = datagen()
            augmented.append(channels_last(generator.standardize(generator.random_transform(x))))
    return {"resized": np.array(resized), "augmented": np.array(augmented, np.float32)}


def epoch():
    """A shuffled, augmented epoch: the SHA-256 of each batch in float32, and the labels."""
    batches = datagen().flow_from_directory(
        os.path.join(HERE, "photos"),
        target_size=SIZE,
        batch_size=BATCH_SIZE,
        class_mode="binary",
    )
    np.random.seed(0)
    digests, labels = [], []
    while len(labels) < batches.N:
        x, y = next(batches)
        x = channels_last(x).astype(np.float32)
        digests.append(hashlib.sha256(x.tobytes()).hexdigest())
        labels.extend(y)
    return {"epoch_digests": np.array(digests), "epoch_labels": np.array(labels, np.float32)}


GRADIENTS = np.array([0, 1e-12, -1e-9, 1e-8, -3e-8, 1e-7, 1e-5, -0.01, 1, 100], np.float32)


def steps(optimizer):
    """A weight for each of GRADIENTS, after each of three steps, the second in reverse."""
    weights = K.variable(np.linspace(-1, 1, len(GRADIENTS)))
    gradients = K.placeholder(ndim=1)
    updates = optimizer.get_updates([weights], {}, K.sum(weights * gradients))
    step = K.function([gradients], [], updates=updates)
    after = []
    for sign in 1, -1, 1:
        step([GRADIENTS[::sign]])
        after.append(K.get_value(weights))
    return np.array(after, np.float32)


LOGITS = np.array([-200, -40, -17, -16, -15, -3, 0, 0.5, 3, 15, 16, 17, 40, 200], np.float32)


def losses():
    """Of sigmoid(LOGITS) for targets of 0 and of 1, and the gradients of the logits."""
    logits, targets = K.placeholder(ndim=2), K.placeholder(ndim=2)
    loss = objectives.binary_crossentropy(targets, K.sigmoid(logits))
    gradient = theano.grad(loss.sum(), logits)
    function = K.function([logits, targets], [loss, gradient])
    found = [function([LOGITS[:, None], np.full((len(LOGITS), 1), t, np.float32)]) for t in (0, 1)]
    return {
        "losses": np.array([loss for loss, _ in found], np.float32),
        "loss_gradients": np.array([gradient[:, 0] for _, gradient in found], np.float32),
    }


def pooling():
    """Photos of few grey levels, what max-pooling passes back of weighted sums, and the weights."""
    random = np.random.RandomState(0)
    photos = random.randint(0, 3, (2, 3, 7, 9)).astype(np.float32)
    weights = random.uniform(-1, 1, (2, 3, 3, 4)).astype(np.float32)
    x, w = K.placeholder(ndim=4), K.placeholder(ndim=4)
    pooled = K.pool2d(x, (2, 2), strides=(2, 2), border_mode="valid", pool_mode="max")
    gradient = K.function([x, w], [theano.grad(K.sum(pooled * w), x)])([photos, weights])[0]
    found = {"pooled": photos, "pooling_weights": weights, "pooling_gradients": gradient}
    return {name: channels_last(value) for name, value in found.items()}


def dropout():
    """The values that dropout of 0.5 and of 0.7 make of a 1."""
    values = [
        np.unique(K.eval(K.dropout(K.variable(np.ones(1000)), p, seed=1))) for p in (0.5, 0.7)
    ]
    return {"dropout": np.array(values, np.float32)}


if __name__ == "__main__":
    assert keras.__version__ == "1.0.4", keras.__version__
    assert (PIL.PILLOW_VERSION, scipy.__version__) == ("3.2.0", "0.17.1")
    assert K.floatx() == "float32"
    np.savez_compressed(
        os.path.join(HERE, "golden.npz"),
        rmsprop=steps(optimizers.RMSprop()),
        sgd=steps(optimizers.SGD(lr=1e-4, momentum=0.9)),
        gradients=GRADIENTS,
        logits=LOGITS,
        **dict(pictures(), **dict(epoch(), **dict(losses(), **dict(dropout(), **pooling()))))
    )
