"""The faithful recipe computes what Keras 1.0.4 did; golden/README.md describes its results."""

import hashlib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from common import images, keras2016, recipes
from keras import layers, ops

GOLDEN = Path(__file__).parent / "golden"
SIZE = (70, 70)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "golden.npz") as file:
        return dict(file)


def generator(batch_size):
    ranges = {"shear_range": 0.2, "zoom_range": 0.2, "horizontal_flip": True}
    how = recipes.augmentation("faithful", **ranges), recipes.preprocessing("faithful")
    return images.training_generator(GOLDEN / "photos", SIZE, batch_size, *how)


def test_photos_are_resized_as_by_pillow_3_2(golden):
    photos = generator(1)
    assert photos.n == len(golden["resized"])
    for number, expected in enumerate(golden["resized"]):
        np.testing.assert_array_equal(photos.photo(number), expected)


def test_photos_are_augmented_as_by_keras_1_0_4(golden):
    photos = generator(1)
    datagen = photos.image_data_generator
    for number, expected in enumerate(golden["augmented"]):
        np.random.seed(number)
        parameters = datagen.get_random_transform((*SIZE, 3))
        photo = datagen.apply_transform(photos.photo(number), parameters).astype("float32")
        np.testing.assert_array_equal(datagen.standardize(photo), expected)


def test_an_epoch_equals_that_of_keras_1_0_4(golden):
    batches = generator(3)
    np.random.seed(0)
    batches.on_epoch_end()
    digests, labels = [], []
    for number in range(len(batches)):
        photos, targets = batches[number]
        digests.append(hashlib.sha256(photos.tobytes()).hexdigest())
        labels.extend(targets)
    np.testing.assert_array_equal(labels, golden["epoch_labels"])
    assert digests == golden["epoch_digests"].astype(str).tolist()


@pytest.mark.parametrize("name", ["rmsprop", "sgd"])
def test_optimizer_steps_are_those_of_keras_1_0_4(golden, name):
    """Up to float32's rounding of a weight as large as 1, over three steps."""
    sgd = keras.optimizers.SGD(learning_rate=1e-4, momentum=0.9)
    optimizer = sgd if name == "sgd" else keras2016.rmsprop("faithful")
    gradients = golden["gradients"]
    weights = keras.Variable(np.linspace(-1, 1, len(gradients), dtype="float32"))
    for sign, expected in zip((1, -1, 1), golden[name], strict=True):
        optimizer.apply([ops.convert_to_tensor(gradients[::sign])], [weights])
        np.testing.assert_allclose(weights.numpy(), expected, rtol=0, atol=3 * 1.2e-7)


def test_the_loss_and_its_gradient_are_those_of_keras_1_0_4(golden):
    loss = keras2016.loss("faithful", 2)
    for target in 0, 1:
        logits = tf.constant(golden["logits"][:, None])
        with tf.GradientTape() as tape:
            tape.watch(logits)
            values = loss(tf.fill(logits.shape, float(target)), keras.activations.sigmoid(logits))
        gradients = tape.gradient(values, logits)[:, 0]
        np.testing.assert_allclose(
            gradients, golden["loss_gradients"][target], rtol=1e-5, atol=1.2e-7
        )
        # Near 1, a probability's last bit, 6e-8, is large compared with its distance from 1.
        p = keras.activations.sigmoid(logits).numpy()[:, 0]
        last_bit = 6e-8 / np.maximum(1 - p, 1e-7)
        bound = np.where(np.abs(golden["logits"]) < 16, last_bit, 0) + 1e-6
        difference = np.abs(values - golden["losses"][target])
        assert (difference <= bound).all(), difference


def test_the_categorical_loss_of_two_classes_is_the_binary_one():
    p = np.array([[1e-12], [0.2], [0.9], [0.99]], "float32")
    labels = np.array([[1], [0], [1], [0]], "float32")
    two, classes = np.hstack([1 - p, p]), np.hstack([1 - labels, labels])
    categorical, binary = (keras2016.loss("faithful", n) for n in (3, 2))
    np.testing.assert_allclose(categorical(classes, two), binary(labels, p), rtol=1e-5)


def test_dropout_scales_as_in_keras_1_0_4(golden):
    for rate, expected in zip((0.5, 0.7), golden["dropout"], strict=True):
        found = np.unique(layers.Dropout(rate)(np.ones((1, 1000), "float32"), training=True))
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_poolings_gradient_is_that_of_keras_1_0_4(golden):
    """Also behind Keras's layer, and with today's again as the recipe says."""
    photos = tf.constant(golden["pooled"])
    for recipe in "faithful", "as-printed":
        assert keras2016.set_pooling(recipe) == recipes.pooling_gradient(recipe)
        with tf.GradientTape() as tape:
            tape.watch(photos)
            total = ops.sum(layers.MaxPooling2D((2, 2))(photos) * golden["pooling_weights"])
        gradient = tape.gradient(total, photos)
        same = np.isclose(gradient, golden["pooling_gradients"], atol=1e-7)
        assert same.all() == (recipe == "faithful")
