"""Batches of photos from folders, as in 2016, with ImageDataGenerator.flow_from_directory.

Bit for bit, batches and random numbers are those of Keras 1.0.4 or of today's, as the recipe
says, but made several times as fast: see transform.py.

A data folder holds `train/CLASS/` and `validation/CLASS/`. Batches are float32 arrays of shape
(batch, height, width, 3), RGB × 1/255 and so in 0..1, unless the preprocessing says otherwise.
Labels are the classes' numbers in alphabetical order (cats 0, dogs 1), or one-hot rows for more
than two classes.
"""

import functools
import sys
from pathlib import Path

import keras
import numpy as np

from common import division, files, fingerprints, recipes
from common.cli import InputError
from common.transform import ImageDataGenerator

FEW_PHOTOS = 10  # per class; with fewer, a note is printed


def training_generator(
    folder, image_size, batch_size, augmentation, preprocessing=recipes.PREPROCESSING
):
    """Shuffled, augmented batches (photos, labels); the last one of an epoch may be smaller.

    folder: holds one subfolder per class. image_size: (height, width) in pixels.
    augmentation, preprocessing: what the functions of these names in recipes.py returned.
    Raises InputError for a bad folder.
    """
    return _flow(folder, image_size, batch_size, preprocessing, augmentation, shuffle=True)


def validation_generator(folder, image_size, batch_size, preprocessing=recipes.PREPROCESSING):
    """Batches (photos, labels) in the folder's order, not augmented."""
    return _flow(folder, image_size, batch_size, preprocessing)


def in_order_generator(folder, image_size, batch_size, preprocessing=recipes.PREPROCESSING):
    """Batches of photos in the folder's order, not augmented; `targets` has the labels."""
    return _flow(folder, image_size, batch_size, preprocessing, labelled=False)


def _datagen(preprocessing, **augmentation):
    function = None
    if "mode" in preprocessing:
        function = functools.partial(
            keras.applications.imagenet_utils.preprocess_input,
            data_format="channels_last",
            mode=preprocessing["mode"],
        )
    return ImageDataGenerator(
        rescale=preprocessing["rescale"], preprocessing_function=function, **augmentation
    )


def _flow(
    folder, image_size, batch_size, preprocessing, augmentation=None, labelled=True, shuffle=False
):
    """A generator whose `settings` go into a run's record."""
    folder = Path(folder)
    classes = division.class_names(folder)
    generator = _datagen(preprocessing, **augmentation or {}).flow_from_directory(
        folder,
        target_size=image_size,
        batch_size=batch_size,
        classes=classes,
        class_mode=("binary" if len(classes) == 2 else "categorical") if labelled else None,
        shuffle=shuffle,
        color_mode=preprocessing["color_mode"],
        interpolation=preprocessing["interpolation"],
        keep_aspect_ratio=preprocessing["keep_aspect_ratio"],
        upright=preprocessing.get("upright", False),
    )
    for number, name in enumerate(classes):
        if number not in generator.classes:
            raise InputError(
                f"{folder / name}: no photos (.jpg, .png, ...) in this class folder; remove it, or "
                "put some there"
            )
    generator.settings = {"image_size": list(image_size), "preprocessing": preprocessing}
    if augmentation is not None:
        generator.settings["augmentation"] = augmentation
    return generator


def output(classes):
    """The output layer's units and activation; for two classes, the article's."""
    return (1, "sigmoid") if classes == 2 else (classes, "softmax")


def imbalance(generator):
    """For a record, if the classes differ in size: photos per class, and the largest's share."""
    count = np.bincount(generator.classes)
    if len(set(count)) == 1:
        return {}
    return {
        "validation_photos": dict(zip(generator.class_indices, count.tolist(), strict=True)),
        "majority_accuracy": float(max(count) / sum(count)),
    }


def describe(train_generator, validation_generator):
    """What fingerprints.describe_photos() says of a run's photos, after decoding each once.

    Warns of pictures in both folders. Raises InputError for unreadable photos, or if the
    folders' classes differ.
    """
    train_classes = train_generator.class_indices
    if train_classes != validation_generator.class_indices:
        here, there = (
            f"{Path(generator.directory).resolve()} has the classes "
            f"{', '.join(generator.class_indices)}"
            for generator in (train_generator, validation_generator)
        )
        form = "" if here.isascii() else ", in the same form of Unicode, too"
        raise InputError(f"{here}, but {there}; name the subfolders alike{form}")
    generators = {"train": train_generator, "validation": validation_generator}
    paths, looked = [], []
    for generator in generators.values():
        paths += generator.filepaths
        looked += generator.look()
    digests = files.refuse_broken(paths, looked)  # of both parts at once
    photos, few = {}, []
    for split, generator in generators.items():
        names = [Path(name).as_posix() for name in generator.filenames]
        start = len(digests) - validation_generator.n if split == "validation" else 0
        photos[split] = names, generator.filepaths, digests[start : start + generator.n]
        few += [
            f"{name} ({count} to {'train' if split == 'train' else 'validate'} on)"
            for name, count in zip(train_classes, np.bincount(generator.classes), strict=True)
            if count < FEW_PHOTOS
        ]
    if few:
        print(f"Note: few photos: {', '.join(few)}; the result will be mostly noise.")
    description, both = fingerprints.describe_photos(photos)
    # The article's photos have one picture in both, which the README mentions.
    if both and not fingerprints.are_the_articles(description, fingerprints.read_manifest()):
        print(
            f"warning: {len(both)} validation photos show the picture of a training photo, which "
            f"inflates the result: {fingerprints.name_pairs(both)}",
            file=sys.stderr,
        )
    return description


def standardize(photos, preprocessing):
    """What transform.decode() returned as network input: float32 of the same shape."""
    return _datagen(preprocessing).standardize(photos.astype(np.float32))
