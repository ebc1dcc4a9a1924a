"""Batches of photos from folders, as in 2016, with ImageDataGenerator.flow_from_directory.

The batches are those of Keras 1.0.4 or of today's, as the recipe says, bit for bit, and so
are the random numbers behind them; only the work is done in another way, several times as
fast: see transform.py.

A data folder holds `train/CLASS/` and `validation/CLASS/`. Batches are float32
arrays of shape (batch, height, width, 3), RGB × 1/255, so in 0..1, unless another
preprocessing is asked for; labels are the classes' positions in alphabetical
order: cats 0, dogs 1; for more than two classes, rows with a 1 at that position.
"""

import functools
import sys
from pathlib import Path

import keras
import numpy as np

from common import files, fingerprints, recipes
from common.cli import InputError
from common.transform import ImageDataGenerator

FEW_PHOTOS = 10  # of a class; with fewer, a note is printed


def training_generator(
    folder, image_size, batch_size, augmentation, preprocessing=recipes.PREPROCESSING
):
    """Shuffled, augmented batches (photos, labels); the last one of an epoch may be smaller.

    folder: holds one subfolder a class. image_size: (height, width) in pixels.
    augmentation: what recipes.augmentation() returned.
    preprocessing: what recipes.preprocessing() returned.
    Raises InputError for a bad folder.
    """
    generator = _flow(folder, image_size, batch_size, preprocessing, augmentation, shuffle=True)
    generator.settings["augmentation"] = augmentation
    return generator


def validation_generator(folder, image_size, batch_size, preprocessing=recipes.PREPROCESSING):
    """Batches (photos, labels) in the order of the folder, not augmented."""
    return _flow(folder, image_size, batch_size, preprocessing)


def in_order_generator(folder, image_size, batch_size, preprocessing=recipes.PREPROCESSING):
    """Batches of photos without labels, in the order of the folder, not augmented.

    The labels in the same order are the generator's `targets`.
    """
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
    folder, image_size, batch_size, preprocessing, augmentation=(), labelled=True, shuffle=False
):
    """A generator, with the `settings` that a run's record tells of it."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; run `make data`, or give --data a folder "
            "that holds train/CLASS/ and validation/CLASS/, or CLASS/ alone"
        )
    classes = [path.name for path in files.class_folders(folder)]
    if len(classes) < 2:
        raise InputError(
            f"{folder}: the experiments need at least two classes, that is two subfolders; "
            f"found {len(classes)}{': ' + ', '.join(classes) if classes else ''}"
        )
    generator = _datagen(preprocessing, **dict(augmentation)).flow_from_directory(
        folder,
        target_size=image_size,
        batch_size=batch_size,
        classes=classes,
        class_mode=("binary" if len(classes) == 2 else "categorical") if labelled else None,
        shuffle=shuffle,
        color_mode=preprocessing["color_mode"],
        interpolation=preprocessing["interpolation"],
        keep_aspect_ratio=preprocessing["keep_aspect_ratio"],
    )
    photos = np.bincount(generator.classes, minlength=len(classes))
    for name, count in zip(classes, photos, strict=True):
        if count == 0:
            raise InputError(f"{folder / name}: no photos (.jpg, .png, ...) in this class folder")
    generator.settings = {"image_size": list(image_size), "preprocessing": preprocessing}
    return generator


def output(classes):
    """The last layer's units and activation; for two classes, the article's."""
    return (1, "sigmoid") if classes == 2 else (classes, "softmax")


def imbalance(generator):
    """For a record, if not all classes have as many photos: how many, and the largest's share."""
    count = np.bincount(generator.classes)
    if len(set(count)) == 1:
        return {}
    return {
        "validation_photos": dict(zip(generator.class_indices, count.tolist(), strict=True)),
        "majority_accuracy": float(max(count) / sum(count)),
    }


def describe(train_generator, validation_generator):
    """What a run's record says of its photos, after decoding each of them once.

    Returns what fingerprints.describe() says of them, and warns of pictures in both folders.
    Raises InputError for unreadable photos, or where the folders' classes differ.
    """
    train_classes = train_generator.class_indices
    if train_classes != validation_generator.class_indices:
        raise InputError(
            f"{train_generator.directory} has the classes {', '.join(train_classes)}, but "
            f"{validation_generator.directory} has {', '.join(validation_generator.class_indices)}"
            "; name the subfolders alike"
        )
    photos, few = {}, []
    for split, generator in ("train", train_generator), ("validation", validation_generator):
        names = [Path(name).as_posix() for name in generator.filenames]
        photos[split] = (names, generator.filepaths, generator.digests())
        few += [
            f"{split}/{name} ({count})"
            for name, count in zip(train_classes, np.bincount(generator.classes), strict=True)
            if count < FEW_PHOTOS
        ]
    if few:
        print(f"Note: few photos in {', '.join(few)}; the result will be mostly noise.")
    description, both = fingerprints.describe(photos)
    # That one picture is in both parts of the article's own, the README says.
    if both and not fingerprints.are_the_articles(description, fingerprints.read_manifest()):
        named = ", ".join(f"{tested} = {trained}" for tested, trained in both[:3])
        print(
            f"warning: {len(both)} validation photos show the picture of a training photo, and "
            f"inflate the result: {named}{', ...' if len(both) > 3 else ''}",
            file=sys.stderr,
        )
    return description


def standardize(photos, preprocessing):
    """Photos as decode() returns them, as the network takes them: float32, the same shape."""
    return _datagen(preprocessing).standardize(photos.astype(np.float32))
