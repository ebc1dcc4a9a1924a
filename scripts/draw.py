"""Draw cats and dogs, for trying the experiments on a machine without photos.

Fills FOLDER/train/{cats,dogs} and FOLDER/validation/{cats,dogs} with drawings of
different poses, colours and backgrounds. Cats have pointed ears, whiskers and thin
tails; dogs have hanging ears, a snout and, at times, a tongue. The same numbers and
seed give the same drawings. Accuracies on them say nothing about photos.
"""

import random
import shutil

from PIL import Image, ImageDraw, ImageFilter

from common import cli, files
from common.cli import InputError

CANVAS = 400  # pixels; drawn large, then reduced, which smooths the edges
UNIT = CANVAS / 100  # in pixels; all shapes are given in hundredths of the canvas
FURS = ["#2b2622", "#6b4a2f", "#a8733f", "#c9a26b", "#d9d2c5", "#8b8b8b", "#f0ede6", "#b5532a"]
EYES = ["#3f7d3a", "#c79a1b", "#3a6ea5", "#40291a"]


def ellipse(draw, x, y, radius_x, radius_y, fill):
    """Draw an ellipse around (x, y)."""
    box = (x - radius_x, y - radius_y, x + radius_x, y + radius_y)
    draw.ellipse([UNIT * value for value in box], fill=fill)


def polygon(draw, points, fill):
    """Draw a polygon through points (x, y)."""
    draw.polygon([(UNIT * x, UNIT * y) for x, y in points], fill=fill)


def line(draw, points, fill, width):
    """Draw a line through points (x, y)."""
    scaled = [(UNIT * x, UNIT * y) for x, y in points]
    draw.line(scaled, fill=fill, width=round(UNIT * width), joint="curve")


def random_colour(rng):
    return tuple(rng.randrange(40, 240) for _ in range(3))


def background(rng):
    """A room or a garden: two colours, some stripes, some blobs."""
    picture = Image.new("RGB", (CANVAS, CANVAS), random_colour(rng))
    draw = ImageDraw.Draw(picture)
    horizon = rng.randrange(40, 90)
    polygon(draw, [(0, horizon), (100, horizon), (100, 100), (0, 100)], random_colour(rng))
    for _ in range(rng.randrange(4)):
        x = rng.randrange(100)
        line(draw, [(x, 0), (x + rng.randrange(-30, 30), horizon)], random_colour(rng), 2)
    for _ in range(rng.randrange(8)):
        x, y = rng.randrange(100), rng.randrange(100)
        radius_x, radius_y = rng.randrange(2, 12), rng.randrange(2, 12)
        ellipse(draw, x, y, radius_x, radius_y, random_colour(rng))
    return picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 6)))


def animal(kind, rng):
    """A cat or a dog from the front, on a transparent canvas."""
    picture = Image.new("RGBA", (CANVAS, CANVAS))
    draw = ImageDraw.Draw(picture)
    fur, ear, eye = rng.choice(FURS), rng.choice(FURS), rng.choice(EYES)
    dark = "#1d1512"
    head_y = rng.uniform(36, 42)

    tail = 3 if kind == "cat" else 6
    side = rng.choice([-1, 1])
    line(draw, [(50, 85), (50 + side * 32, 78), (50 + side * 38, rng.uniform(45, 65))], fur, tail)
    ellipse(draw, 50, 75, rng.uniform(18, 25), rng.uniform(22, 28), fur)
    for x in 40, 60:
        ellipse(draw, x, 95, 6, 5, fur)

    if kind == "cat":
        tip = rng.uniform(8, 14)
        for s in -1, 1:
            polygon(draw, [(50 + s * 20, head_y), (50 + s * 19, tip), (50 + s * 3, 24)], fur)
            polygon(draw, [(50 + s * 17, 30), (50 + s * 17, tip + 5), (50 + s * 8, 26)], "#d99a94")
        ellipse(draw, 50, head_y, 20, 18, fur)
    else:
        ellipse(draw, 50, head_y, 19, 21, fur)
        droop = rng.uniform(12, 18)
        for s in -1, 1:
            ellipse(draw, 50 + s * 20, head_y + 2, 6, droop, ear)
        ellipse(draw, 50, head_y + 10, 10, 9, "#e4d8c4")

    for s in -1, 1:
        ellipse(draw, 50 + s * 8, head_y - 3, 3.5, 3.5, "white")
        ellipse(draw, 50 + s * 8, head_y - 3, 2.8, 2.8, eye)
        ellipse(draw, 50 + s * 8, head_y - 3, 0.8 if kind == "cat" else 1.8, 2.4, dark)

    if kind == "cat":
        polygon(draw, [(48, head_y + 5), (52, head_y + 5), (50, head_y + 8)], "#c77c78")
        for s in -1, 1:
            for rise in -3, 0, 3:
                whisker = [(50 + s * 5, head_y + 8), (50 + s * 26, head_y + 8 + rise * 1.5)]
                line(draw, whisker, "#f4f4f4", 0.6)
    else:
        ellipse(draw, 50, head_y + 6, 4, 3, dark)
        line(draw, [(50, head_y + 8), (50, head_y + 14)], dark, 0.8)
        if rng.random() < 0.5:
            ellipse(draw, 51, head_y + 19, 3, 5, "#d9606a")

    if rng.random() < 0.4:  # a spotted coat
        for _ in range(3):
            ellipse(draw, rng.uniform(40, 60), rng.uniform(65, 85), 3, 4, ear)
    return picture


def drawing(kind, rng):
    """One RGB picture of a "cat" or a "dog", of random size."""
    picture = background(rng)
    subject = animal(kind, rng)
    if rng.random() < 0.5:
        subject = subject.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    size = round(CANVAS * rng.uniform(0.6, 1.05))
    subject = subject.rotate(rng.uniform(-25, 25), Image.Resampling.BICUBIC).resize((size, size))
    room = CANVAS - size
    corner = (round(room * rng.random()), round(room * rng.random()))
    picture.paste(subject, corner, subject)
    return picture.resize((rng.randrange(170, 260), rng.randrange(170, 260)))


def draw_data_set(folder, photos, seed):
    """Fill train/ and validation/ of a new folder.

    photos: {"train": number per class, "validation": number per class}.
    """
    for split, count in photos.items():
        for kind in "cat", "dog":
            into = folder / split / f"{kind}s"
            into.mkdir(parents=True)
            for number in cli.progress(range(count), f"Drawing {split}/{kind}s"):
                rng = random.Random(f"{seed} {split} {kind} {number}")
                drawing(kind, rng).save(into / f"{kind}.{number}.jpg", quality=90)


def parse(argv=None):
    """The command line's options, or those of `argv`."""
    parser = cli.ArgumentParser(__doc__)
    parser.add_argument("folder", type=cli.path, metavar="FOLDER", help="a new folder")
    for split, count in {"train": 100, "validation": 50}.items():
        text = f"{split} drawings per class (default: {count})"
        parser.add_argument(f"--{split}", type=cli.positive, default=count, metavar="N", help=text)
    parser.add_argument(
        "--seed", type=cli.seed, default=0, metavar="N", help="of the drawings (default: 0)"
    )
    return parser.parse_args(argv)


def main(arguments):
    """Run the script with the options that parse() returned."""
    folder = arguments.folder
    if folder.exists():
        raise InputError(f"{folder}: exists already; name a new folder")
    files.make_writable_folder(folder.parent)
    partial = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    photos = {"train": arguments.train, "validation": arguments.validation}
    draw_data_set(partial, photos, arguments.seed)
    partial.rename(folder)
    print(f"{folder}: {2 * arguments.train} drawings to train on, {2 * arguments.validation} more.")


if __name__ == "__main__":
    cli.run(lambda: main(parse()), after_interrupt="nothing was replaced")
