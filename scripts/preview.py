"""The article's preview of its augmentation: 20 random versions of one photo.

Writes them to preview/, and all of them on one sheet to preview/contact_sheet.jpg.
"""

import shutil

from PIL import Image, ImageOps

from common import cli, division, files, parsers
from common.cli import InputError

PICTURES = 20  # as many as the article says; its code, with `i > 20`, makes 21

# The article's ranges, stronger than those it trains with. In 2016 the rotation was in
# degrees already, so 0.2 turns nothing visibly; the shear was in radians.
AUGMENTATION = {
    "rotation_range": 0.2,
    "width_shift_range": 0.2,
    "height_shift_range": 0.2,
    "shear_range": 0.2,
    "zoom_range": 0.2,
    "horizontal_flip": True,
}

# Of the contact sheet: pictures per row, and each one's width, height and margin in pixels.
COLUMNS, THUMBNAIL, MARGIN = 5, (232, 192), 4


def parse(argv=None):
    """The command line's options, and the photo, which is readable."""
    parser = cli.ArgumentParser(__doc__)
    parser.add_argument(
        "photo",
        type=cli.path,
        nargs="?",
        default=files.ROOT / "data",
        metavar="PHOTO",
        help="the photo to augment, or a folder, for the first photo in it or in its train/ "
        "(default: data, so the article's cats/cat.0.jpg)",
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
    photo, output = arguments.photo, arguments.output
    if photo.is_dir():
        folder = division.find_parts(photo)[0]["train"]
        found = files.photos_of_classes(folder) or files.photos_below(folder)
        photo = found[0] if found else folder
    if not photo.is_file():
        raise InputError(f"{photo}: no photo there; run `make data`, or name one")
    files.photo_digests([photo])  # raises InputError if it is unreadable
    preview = {*output.glob("?*_[0-9][0-9].jpg"), output / "contact_sheet.jpg"}
    if output.exists() and not (output.is_dir() and preview == set(output.iterdir())):
        raise InputError(f"{output}: exists and is not just a preview; name another folder")
    files.make_writable_folder(output.parent)
    return arguments, photo


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    command = cli.run(parse)

from common import backend  # noqa: F401  first, it sets Keras up
import keras
import numpy as np

from common import recipes, transform


def main(arguments, photo):
    """Run the script with what parse() returned."""
    output = arguments.output
    partial = output.with_name(f".partial-{output.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    datagen = transform.ImageDataGenerator(**recipes.augmentation(arguments.recipe, **AUGMENTATION))
    keras.utils.set_random_seed(arguments.seed)
    picture = files.open_picture(photo.read_bytes()).convert("RGB")
    x = np.asarray(picture, np.float32)  # shape (height, width, 3)
    # .flow() would save the pictures itself, under random names that can coincide
    batches = datagen.flow(x[np.newaxis], batch_size=1)
    thumbnails, numbers = [], range(1, PICTURES + 1)
    for number, (augmented,) in zip(numbers, batches, strict=False):  # batches never end
        path = partial / f"{photo.stem}_{number:02}.jpg"
        keras.utils.array_to_img(augmented, scale=False).save(path, quality=95)
        with Image.open(path) as picture:
            thumbnail = ImageOps.pad(picture, THUMBNAIL, color="white")
        thumbnails.append(ImageOps.expand(thumbnail, MARGIN, "white"))
    rows = [np.hstack(thumbnails[n : n + COLUMNS]) for n in range(0, PICTURES, COLUMNS)]
    Image.fromarray(np.vstack(rows)).save(partial / "contact_sheet.jpg", quality=90)
    shutil.rmtree(output, ignore_errors=True)
    partial.rename(output)
    print(f"{PICTURES} pictures, and all on one sheet: {output / 'contact_sheet.jpg'}")


if __name__ == "__main__":
    cli.run(main, *command, after_interrupt="nothing was replaced")
