"""The article's preview of its augmentation: 20 random versions of one photo.

Writes them to preview/, with preview/contact_sheet.jpg to see them all at once.
"""

import re
import shutil

from PIL import Image, ImageOps

from common import cli, files, parsers
from common.cli import InputError


PICTURES = 20  # as many as the article says; its code, with `i > 20`, makes 21

# The article's ranges, stronger than those it trains with. In 2016 the rotation was in
# degrees already, so 0.2 turns nothing that one could see; the shear was in radians.
ROTATION_RANGE = 0.2
SHIFT_RANGE = 0.2  # of width and height
SHEAR_RANGE = 0.2
ZOOM_RANGE = 0.2

COLUMNS, THUMBNAIL = 5, (240, 200)  # of the contact sheet; width and height in pixels


def parse(argv=None):
    """The command line's options, and the photo, a whole one."""
    parser = cli.ArgumentParser(__doc__)
    parser.add_argument(
        "photo",
        type=cli.path,
        nargs="?",
        default=files.ROOT / "data" / "train",
        metavar="PHOTO",
        help="the photo to augment, or a folder whose first photo it shall be "
        "(default: data/train, and so the article's cats/cat.0.jpg)",
    )
    parser.add_argument(
        "--output",
        type=cli.path,
        default=files.ROOT / "preview",
        metavar="FOLDER",
        help="folder for the pictures; an earlier preview in it is replaced (default: preview)",
    )
    parser.add_argument("--seed", type=cli.seed, default=0, metavar="N", help="(default: 0)")
    parsers.add_recipe(parser)
    arguments = parser.parse_args(argv)
    photo = arguments.photo
    if photo.is_dir():
        photo = next(iter(files.photos_below(photo)), photo)
    if not photo.is_file():
        raise InputError(f"{photo}: no photo there; run `make data`, or name one")
    files.photo_digests([photo])  # is it a photo?
    output = arguments.output
    if output.exists() and not is_preview(output):
        raise InputError(f"{output}: exists and is not just a preview; name another folder")
    files.make_writable_folder(output.parent)
    return arguments, photo


def is_preview(folder):
    """Whether a folder holds a preview and nothing else, so that it may be replaced."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    others = {name for name in names if not re.fullmatch(r".+_\d\d\.jpg", name)}
    return others == {"contact_sheet.jpg"}


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    command = cli.run(parse)

from common import backend  # noqa: F401  first, it sets Keras up
import keras
import numpy as np

from common import recipes, transform


def preview(photo, folder, recipe, seed):
    """Write PICTURES augmented versions of a photo to a folder. Returns their paths."""
    datagen = transform.ImageDataGenerator(
        **recipes.augmentation(
            recipe,
            shear_range=SHEAR_RANGE,
            rotation_range=ROTATION_RANGE,
            width_shift_range=SHIFT_RANGE,
            height_shift_range=SHIFT_RANGE,
            zoom_range=ZOOM_RANGE,
            horizontal_flip=True,
        )
    )
    keras.utils.set_random_seed(seed)
    x = keras.utils.img_to_array(keras.utils.load_img(photo))  # shape (height, width, 3)
    # .flow() would save the pictures itself, under random names that can coincide
    batches = datagen.flow(x[np.newaxis], batch_size=1)
    paths = [folder / f"{photo.stem}_{number:02}.jpg" for number in range(1, PICTURES + 1)]
    for path, (picture,) in zip(paths, batches, strict=False):  # batches never end
        keras.utils.array_to_img(picture, scale=False).save(path, quality=95)
    return paths


def contact_sheet(paths):
    """One picture of all these pictures, in rows of COLUMNS."""
    width, height = THUMBNAIL
    rows = -(-len(paths) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width, rows * height), "white")
    for number, path in enumerate(paths):
        with Image.open(path) as picture:
            thumbnail = ImageOps.pad(picture, (width - 8, height - 8), color="white")
        corner = (number % COLUMNS * width + 4, number // COLUMNS * height + 4)
        sheet.paste(thumbnail, corner)
    return sheet


def main(arguments, photo):
    """Run the script with what parse() returned."""
    output = arguments.output
    partial = output.with_name(f".partial-{output.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    paths = preview(photo, partial, arguments.recipe, arguments.seed)
    contact_sheet(paths).save(partial / "contact_sheet.jpg", quality=90)
    shutil.rmtree(output, ignore_errors=True)
    partial.rename(output)
    print(f"{len(paths)} pictures, and all on one sheet: {output / 'contact_sheet.jpg'}")


if __name__ == "__main__":
    cli.run(main, *command, after_interrupt="nothing was replaced")
