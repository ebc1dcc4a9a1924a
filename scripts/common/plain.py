"""A plain port of the article's three scripts, the baseline for measuring the others.

What one would write today from the article: Keras's own ImageDataGenerator, fit() and
predict(), float32, the whole network for every photo in every epoch, TensorFlow's defaults. The
augmentation is that of the recipe `constants`, with which the others are measured.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # the only setting shared with backend.py

import keras
import numpy as np
from keras import layers
from tensorflow.keras.preprocessing.image import ImageDataGenerator

IMAGE_SIZE = (150, 150)
BATCH_SIZE = 32


def training_datagen():
    """The article's augmentation: shear in radians and the nearest pixel, as in 2016."""
    return ImageDataGenerator(
        rescale=1.0 / 255,
        shear_range=np.degrees(0.2),
        zoom_range=0.2,
        horizontal_flip=True,
        interpolation_order=0,
    )


def flow(datagen, folder, class_mode="binary", shuffle=True):
    """Batches of the photos in a folder."""
    return datagen.flow_from_directory(
        folder, IMAGE_SIZE, batch_size=BATCH_SIZE, class_mode=class_mode, shuffle=shuffle
    )


def small_convnet():
    """The compiled model of the article's first script."""
    model = keras.Sequential(
        [
            keras.Input((*IMAGE_SIZE, 3)),
            layers.Conv2D(32, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(32, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(64, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer="rmsprop", loss="binary_crossentropy", metrics=["accuracy"])
    return model


def fine_tuned_vgg16(base):
    """The compiled model of the article's third script, on VGG16's convolutional base."""
    x = layers.Flatten()(base.output)
    x = layers.Dense(256, activation="relu")(x)
    x = layers.Dropout(0.5)(x)
    model = keras.Model(base.input, layers.Dense(1, activation="sigmoid")(x))
    for layer in model.layers[:15]:
        layer.trainable = False
    optimizer = keras.optimizers.SGD(learning_rate=1e-4, momentum=0.9)
    model.compile(optimizer=optimizer, loss="binary_crossentropy", metrics=["accuracy"])
    return model


def train(model, data, epochs):
    """Fit on data/train with augmentation, validating on data/validation after each epoch."""
    model.fit(
        flow(training_datagen(), data / "train"),
        validation_data=flow(ImageDataGenerator(rescale=1.0 / 255), data / "validation"),
        epochs=epochs,
        verbose=2,
    )


def save_features(base, folder, path):
    """Store the base's features of a folder's photos."""
    datagen = ImageDataGenerator(rescale=1.0 / 255)
    np.save(path, base.predict(flow(datagen, folder, None, shuffle=False), verbose=2))
