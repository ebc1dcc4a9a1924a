# -*- coding: utf-8 -*-
"""The article's experiments in Keras 1.0.4 on Theano 0.8.2, as in June 2016. For Python 2.7.

    python train.py scratch    DATA OUTPUT SEED EPOCHS
    python train.py bottleneck FEATURES OUTPUT SEED EPOCHS
    python train.py finetune   DATA OUTPUT SEED EPOCHS FEATURES VGG16
    python train.py step       DATA OUTPUT SEED BATCHES FEATURES VGG16
    python train.py features   DATA OUTPUT SEED PHOTOS FEATURES VGG16

DATA holds train/CLASS/ and validation/CLASS/. FEATURES is a folder with
bottleneck_features_{train,validation}.npy, float32 of shape (photos, 4, 4, 512), cats first.
VGG16 is an .npz of the base's 26 tensors. "step" times fine-tuning's gradient step; "features"
compares some photos' features with FEATURES. Writes one JSON object to OUTPUT, complete or not
at all. After each epoch on photos, OUTPUT.checkpoint has all it takes to resume (except the
state of dropout's random numbers). scripts/original.py, for today's Python, sets up what this
needs and starts it.
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
from keras.layers import Convolution2D, Dense, Dropout, Flatten, MaxPooling2D, ZeroPadding2D
from keras.models import Sequential
from keras.optimizers import SGD
from keras.preprocessing.image import ImageDataGenerator, img_to_array, load_img

BATCH_SIZE = 32
SIZE = 150
TOP_EPOCHS = 50  # of the classifier that fine-tuning starts from


def batches(data, split, augmented):
    folder = os.path.join(data, split)
    augmentation = {"shear_range": 0.2, "zoom_range": 0.2, "horizontal_flip": True}
    datagen = ImageDataGenerator(rescale=1.0 / 255, **(augmentation if augmented else {}))
    return datagen.flow_from_directory(
        folder,
        target_size=(SIZE, SIZE),
        # By default they come in the file system's order, and dogs could be 0.
        classes=sorted(os.listdir(folder)),
        batch_size=BATCH_SIZE,
        class_mode="binary",
    )


def train_by_epoch(model, data, output, seed, epochs):
    """Train on augmented photos, resumably. Returns the history and each epoch's seconds."""
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
    return history, seconds


def scratch(data, output, seed, epochs):
    np.random.seed(seed)
    layers = [
        Convolution2D(32, 3, 3, activation="relu", input_shape=(3, SIZE, SIZE)),
        MaxPooling2D(),
        Convolution2D(32, 3, 3, activation="relu"),
        MaxPooling2D(),
        Convolution2D(64, 3, 3, activation="relu"),
        MaxPooling2D(),
        Flatten(),
        Dense(64, activation="relu"),
        Dropout(0.5),
        Dense(1, activation="sigmoid"),
    ]
    model = Sequential(layers)
    model.compile(loss="binary_crossentropy", optimizer="rmsprop", metrics=["accuracy"])
    return train_by_epoch(model, data, output, seed, epochs)


def bottleneck(folder, seed, epochs):
    """Returns the trained classifier, its history and each epoch's seconds."""
    np.random.seed(seed)
    data = {}
    for split in "train", "validation":
        features = np.load(os.path.join(folder, "bottleneck_features_%s.npy" % split))
        labels = np.repeat([0, 1], len(features) // 2)
        data[split] = (features.transpose(0, 3, 1, 2).copy(), labels)
    photos, labels = data["train"]
    layers = [
        Flatten(input_shape=photos.shape[1:]),
        Dense(256, activation="relu"),
        Dropout(0.5),
        Dense(1, activation="sigmoid"),
    ]
    model = Sequential(layers)
    model.compile(loss="binary_crossentropy", optimizer="rmsprop", metrics=["accuracy"])
    started = time.time()
    done = model.fit(
        photos,
        labels,
        nb_epoch=epochs,
        batch_size=BATCH_SIZE,
        validation_data=data["validation"],
        verbose=2,
    )
    seconds = [round((time.time() - started) / epochs, 2)] * epochs
    history = {name: [float(v) for v in values] for name, values in done.history.items()}
    return model, history, seconds


def vgg16(file):
    """The base. file: an .npz with its kernels and biases in Theano's layout, in their order."""
    model = Sequential()
    for block, (convolutions, filters) in enumerate([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]):
        for number in range(convolutions):
            first = {"input_shape": (3, SIZE, SIZE)} if block == number == 0 else {}
            model.add(ZeroPadding2D((1, 1), **first))
            model.add(Convolution2D(filters, 3, 3, activation="relu"))
        model.add(MaxPooling2D((2, 2), strides=(2, 2)))
    with np.load(file) as tensors:
        model.set_weights([tensors["arr_%d" % number] for number in range(26)])
    return model


def model_to_finetune(folder, file, seed, top_epochs):
    """VGG16 with a classifier that is trained first, as in the article."""
    top, _, _ = bottleneck(folder, seed, top_epochs)
    model = vgg16(file)
    model.add(top)
    for layer in model.layers[:25]:
        layer.trainable = False
    model.compile(
        loss="binary_crossentropy", optimizer=SGD(lr=1e-4, momentum=0.9), metrics=["accuracy"]
    )
    return model


def finetune(data, output, seed, epochs, folder, file):
    model = model_to_finetune(folder, file, seed, TOP_EPOCHS)
    return train_by_epoch(model, data, output, seed, epochs)


def step(data, output, seed, count, folder, file):
    """Seconds per gradient step and per validation step of fine-tuning."""
    model = model_to_finetune(folder, file, seed, 1)
    train = batches(data, "train", augmented=True)
    seconds = {"train": [], "validation": []}
    for _ in range(count + 1):
        x, y = next(train)
        for name, function in ("train", model.train_on_batch), ("validation", model.test_on_batch):
            started = time.time()
            function(x, y)
            seconds[name].append(round(time.time() - started, 2))
    return {name: values[1:] for name, values in seconds.items()}, []


def features(data, output, seed, count, folder, file):
    """Largest difference between this VGG16's features of `count` photos and the folder's."""
    names = sorted(batches(data, "validation", augmented=False).filenames)
    numbers = np.linspace(0, len(names) - 1, count).astype(int)
    paths = [os.path.join(data, "validation", names[number]) for number in numbers]
    x = np.array([img_to_array(load_img(path, target_size=(SIZE, SIZE))) for path in paths])
    stored = np.load(os.path.join(folder, "bottleneck_features_validation.npy"))
    stored = stored[numbers].transpose(0, 3, 1, 2)
    model = vgg16(file)
    model.compile("sgd", "mse")
    here = model.predict(x * (1.0 / 255))
    return {
        "largest_difference": [float(abs(here - stored).max())],
        "largest_feature": [float(stored.max())],
    }, []


if __name__ == "__main__":
    experiment, source, output, seed, count = sys.argv[1:6]
    seed, count = int(seed), int(count)
    began = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    if experiment == "bottleneck":
        _, history, seconds = bottleneck(source, seed, count)
    else:
        function = {"scratch": scratch, "finetune": finetune, "step": step, "features": features}
        history, seconds = function[experiment](source, output, seed, count, *sys.argv[6:])
    record = {
        "experiment": experiment,
        "seed": seed,
        "epochs": count,
        "started": began,
        "history": history,
        "seconds_per_epoch": seconds,
    }
    with open(output + ".partial", "w") as file:
        json.dump(record, file)
    os.rename(output + ".partial", output)
    if os.path.exists(output + ".checkpoint"):
        os.remove(output + ".checkpoint")
    print(json.dumps(record)[-200:])
