# -*- coding: utf-8 -*-
"""The article's experiments in Keras 1.0.4 on Theano 0.8.2, as in June 2016. For Python 2.7.

    python train.py scratch    DATA OUTPUT SEED EPOCHS
    python train.py bottleneck FEATURES OUTPUT SEED EPOCHS
    python train.py step       DATA OUTPUT SEED BATCHES

DATA holds train/CLASS/ and validation/CLASS/. FEATURES is a folder with
bottleneck_features_{train,validation}.npy, float32 of shape (photos, 4, 4, 512), cats first.
"step" times fine-tuning's gradient step. Prints and appends to OUTPUT one JSON object; after
each epoch of scratch, OUTPUT.checkpoint has what it takes to go on. scripts/original.py, for
today's Python, sets up what it needs and starts it.
"""

from __future__ import print_function

import json
import os
import pickle
import sys
import time

os.environ["KERAS_BACKEND"] = "theano"

import numpy as np
from keras import backend as K
from keras.layers import Activation, Convolution2D, Dense, Dropout, Flatten, MaxPooling2D
from keras.layers import ZeroPadding2D
from keras.models import Sequential
from keras.optimizers import SGD
from keras.preprocessing.image import ImageDataGenerator

BATCH_SIZE = 32
SIZE = 150


def scratch_model():
    model = Sequential()
    model.add(Convolution2D(32, 3, 3, input_shape=(3, SIZE, SIZE)))
    model.add(Activation("relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))

    model.add(Convolution2D(32, 3, 3))
    model.add(Activation("relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))

    model.add(Convolution2D(64, 3, 3))
    model.add(Activation("relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))

    model.add(Flatten())
    model.add(Dense(64))
    model.add(Activation("relu"))
    model.add(Dropout(0.5))
    model.add(Dense(1))
    model.add(Activation("sigmoid"))
    model.compile(loss="binary_crossentropy", optimizer="rmsprop", metrics=["accuracy"])
    return model


def batches(data, split, augmented):
    if augmented:
        datagen = ImageDataGenerator(
            rescale=1.0 / 255, shear_range=0.2, zoom_range=0.2, horizontal_flip=True
        )
    else:
        datagen = ImageDataGenerator(rescale=1.0 / 255)
    return datagen.flow_from_directory(
        os.path.join(data, split),
        target_size=(SIZE, SIZE),
        batch_size=BATCH_SIZE,
        class_mode="binary",
    )


def scratch(data, output, seed, epochs):
    np.random.seed(seed)
    model = scratch_model()
    history, seconds = {}, []
    checkpoint = output + ".checkpoint"
    if os.path.exists(checkpoint):
        with open(checkpoint, "rb") as file:
            history, seconds, weights, state = pickle.load(file)
        model.model._make_train_function()  # the optimizer gets its weights at the first step
        model.set_weights(weights)
        K.batch_set_value(list(zip(model.optimizer.weights, state)))
    validation = batches(data, "validation", augmented=False)
    for epoch in range(len(seconds), epochs):
        np.random.seed(1000 * (seed + 1) + epoch)
        train = batches(data, "train", augmented=True)
        started = time.time()
        done = model.fit_generator(
            train,
            samples_per_epoch=train.N,
            nb_epoch=1,
            validation_data=validation,
            nb_val_samples=validation.N,
            verbose=2,
        )
        seconds.append(round(time.time() - started, 1))
        for name, values in done.history.items():
            history.setdefault(name, []).extend(float(value) for value in values)
        state = K.batch_get_value(model.optimizer.weights)
        with open(checkpoint + ".partial", "wb") as file:
            pickle.dump((history, seconds, model.get_weights(), state), file, 2)
        os.rename(checkpoint + ".partial", checkpoint)
        print(epoch + 1, history["val_acc"][-1])
        sys.stdout.flush()
    os.remove(checkpoint)
    return history, seconds


def bottleneck(folder, output, seed, epochs):
    np.random.seed(seed)
    data = {}
    for split in "train", "validation":
        features = np.load(os.path.join(folder, "bottleneck_features_%s.npy" % split))
        half = len(features) // 2
        data[split] = (features.transpose(0, 3, 1, 2).copy(), np.array([0] * half + [1] * half))
    train_data, train_labels = data["train"]
    model = Sequential()
    model.add(Flatten(input_shape=train_data.shape[1:]))
    model.add(Dense(256, activation="relu"))
    model.add(Dropout(0.5))
    model.add(Dense(1, activation="sigmoid"))
    model.compile(optimizer="rmsprop", loss="binary_crossentropy", metrics=["accuracy"])
    started = time.time()
    done = model.fit(
        train_data,
        train_labels,
        nb_epoch=epochs,
        batch_size=BATCH_SIZE,
        validation_data=data["validation"],
        verbose=2,
    )
    seconds = [round((time.time() - started) / epochs, 2)] * epochs
    history = {name: [float(v) for v in values] for name, values in done.history.items()}
    return history, seconds


def vgg16_with_top():
    model = Sequential()
    for block, (convolutions, filters) in enumerate([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]):
        for number in range(convolutions):
            first = {"input_shape": (3, SIZE, SIZE)} if block == number == 0 else {}
            model.add(ZeroPadding2D((1, 1), **first))
            model.add(Convolution2D(filters, 3, 3, activation="relu"))
        model.add(MaxPooling2D((2, 2), strides=(2, 2)))
    top = Sequential()
    top.add(Flatten(input_shape=model.output_shape[1:]))
    top.add(Dense(256, activation="relu"))
    top.add(Dropout(0.5))
    top.add(Dense(1, activation="sigmoid"))
    model.add(top)
    for layer in model.layers[:25]:
        layer.trainable = False
    model.compile(
        loss="binary_crossentropy", optimizer=SGD(lr=1e-4, momentum=0.9), metrics=["accuracy"]
    )
    return model


def step(data, output, seed, count):
    """Seconds of fine-tuning's gradient steps and of its validation steps, random weights."""
    np.random.seed(seed)
    model, train = vgg16_with_top(), batches(data, "train", augmented=True)
    seconds = {"train": [], "validation": []}
    for _ in range(count + 1):
        x, y = next(train)
        for name, function in ("train", model.train_on_batch), ("validation", model.test_on_batch):
            started = time.time()
            function(x, y)
            seconds[name].append(round(time.time() - started, 2))
    return {name: values[1:] for name, values in seconds.items()}, []


if __name__ == "__main__":
    experiment, data, output, seed, count = sys.argv[1:]
    function = {"scratch": scratch, "bottleneck": bottleneck, "step": step}[experiment]
    began = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    history, seconds = function(data, output, int(seed), int(count))
    record = {
        "experiment": experiment,
        "seed": int(seed),
        "epochs": int(count),
        "started": began,
        "history": history,
        "seconds_per_epoch": seconds,
    }
    with open(output, "a") as file:
        file.write(json.dumps(record) + "\n")
    print(json.dumps(record)[-200:])
