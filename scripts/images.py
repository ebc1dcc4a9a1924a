"""Batches of photos from folders, as in 2016, with ImageDataGenerator.flow_from_directory.

A data folder holds `train/CLASS/` and `validation/CLASS/`. Batches are float32
arrays of shape (batch, height, width, 3), RGB × 1/255, so in 0..1; labels are
the classes' positions in alphabetical order: cats 0, dogs 1.
"""

from pathlib import Path

import numpy as np
from tensorflow.keras.preprocessing.image import ImageDataGenerator, Iterator

import files
from cli import InputError

# What every network here is fed with. Stored with the weights, so that a photo
# can be prepared in the same way wherever they are used.
PREPROCESSING = {
    "color_mode": "rgb",
    "rescale": 1.0 / 255,  # the article's choice, also for VGG16, which was trained otherwise
    "interpolation": "nearest",  # of the resizing; Keras's default, then and now
    "keep_aspect_ratio": False,
}

FILL_MODE = "nearest"  # ImageDataGenerator's default, then and now

# What the article's augmentation constants meant to Keras 1.0.4, and mean today.
AUGMENTATION = {
    "faithful": {
        # Then in radians, in degrees since Keras 2.1.3 (keras PR 8868). On a picture
        # 150 pixels high, 0.2 moved a corner by 14.8 pixels; now it moves it by 0.26.
        "shear_unit": "radians",
        # Then the affine transform took the nearest pixel, now it interpolates.
        "interpolation_order": 0,
    },
    "as-printed": {"shear_unit": "degrees", "interpolation_order": 1},
}


def add_recipe_option(parser):
    """The option that chooses between the two."""
    parser.add_argument(
        "--as-printed",
        dest="recipe",
        action="store_const",
        const="as-printed",
        default="faithful",
        help="give the article's constants today's meaning instead of that of 2016",
    )


def augmentation(recipe, shear_range, **ranges):
    """Arguments of ImageDataGenerator for the article's augmentation constants.

    recipe: "faithful" for what they meant in 2016, "as-printed" for what they mean today.
    shear_range: the article's number, in the recipe's unit.
    ranges: those whose meaning has not changed: zoom_range, horizontal_flip, ...
    """
    meaning = AUGMENTATION[recipe]
    if meaning["shear_unit"] == "radians":
        shear_range = float(np.degrees(shear_range))
    return {
        "shear_range": shear_range,
        "interpolation_order": meaning["interpolation_order"],
        "fill_mode": FILL_MODE,
        **ranges,
    }


def training_generator(folder, image_size, batch_size, augmentation):
    """Shuffled, augmented batches (photos, labels); the last one of an epoch may be smaller.

    folder: holds one subfolder a class. image_size: (height, width) in pixels.
    augmentation: what augmentation() returned. Raises InputError for a bad folder.
    """
    datagen = ImageDataGenerator(rescale=PREPROCESSING["rescale"], **augmentation)
    return _flow(datagen, folder, image_size, batch_size, class_mode="binary", shuffle=True)


def validation_generator(folder, image_size, batch_size):
    """Batches (photos, labels) in the order of the folder, only rescaled."""
    datagen = ImageDataGenerator(rescale=PREPROCESSING["rescale"])
    return _flow(datagen, folder, image_size, batch_size, class_mode="binary", shuffle=False)


def in_order_generator(folder, image_size, batch_size):
    """Batches of photos without labels, in the order of the folder, only rescaled.

    The labels in the same order are the generator's `classes`.
    """
    datagen = ImageDataGenerator(rescale=PREPROCESSING["rescale"])
    return _flow(datagen, folder, image_size, batch_size, class_mode=None, shuffle=False)


def _flow(datagen, folder, image_size, batch_size, class_mode, shuffle):
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; run `make data`, or give --data a folder "
            "that holds train/CLASS/ and validation/CLASS/"
        )
    generator = datagen.flow_from_directory(
        folder,
        target_size=image_size,
        batch_size=batch_size,
        class_mode=class_mode,
        shuffle=shuffle,
        color_mode=PREPROCESSING["color_mode"],
        interpolation=PREPROCESSING["interpolation"],
        keep_aspect_ratio=PREPROCESSING["keep_aspect_ratio"],
    )
    files_there = sum(p.is_file() and p.name[0] != "." for p in folder.glob("*/**/*"))
    if files_there > generator.n:
        endings = ", ".join(Iterator.white_list_formats)
        print(f"{folder}: {files_there - generator.n} files left out that are not {endings}")
    classes = list(generator.class_indices)
    if len(classes) != 2:
        raise InputError(
            f"{folder}: the experiments need two classes, that is two subfolders; "
            f"found {len(classes)}{': ' + ', '.join(classes) if classes else ''}"
        )
    photos = np.bincount(generator.classes, minlength=len(classes))
    for name, count in zip(classes, photos, strict=True):
        if count == 0:
            raise InputError(f"{folder / name}: no photos (.jpg, .png, ...) in this class folder")
    return generator


def describe(train_generator, validation_generator):
    """What a run's record says of its photos, after decoding each of them once.

    Returns {"train": {"photos": count, "sha256": digest}, "validation": {...}}. Raises
    InputError for unreadable photos, or where the two folders do not hold the same classes.
    """
    train_classes = train_generator.class_indices
    if train_classes != validation_generator.class_indices:
        raise InputError(
            f"{train_generator.directory} has the classes {', '.join(train_classes)}, but "
            f"{validation_generator.directory} has {', '.join(validation_generator.class_indices)}"
            "; name the subfolders alike"
        )
    description = {}
    for split, generator in ("train", train_generator), ("validation", validation_generator):
        digests = files.photo_digests(generator.filepaths)
        names = [Path(name).as_posix() for name in generator.filenames]
        description[split] = {
            "photos": len(names),
            "sha256": files.data_set_digest(names, digests),
        }
    return description


class ArrayIterator(Iterator):
    """Shuffled batches of arrays in memory, as flow_from_directory makes them of photos.

    Handing the arrays to fit() would do, but for a resumed training: fit()
    shuffles them with a state that can't be saved, while an Iterator draws each
    epoch's order from NumPy's generator, which runs.Run seeds anew each epoch.
    """

    def __init__(self, x, y, batch_size):
        super().__init__(len(x), batch_size, shuffle=True, seed=None)
        self.x, self.y = x, y

    def _get_batches_of_transformed_samples(self, index_array):
        return self.x[index_array], self.y[index_array]
