"""Predict the classes of photos, with any model that the scripts wrote.

Prints a line for each photo: its path, its class and the probability of that class. The
model's own record has the names of its classes, the size of the photos and how to prepare
their pixels. Unreadable photos are named on standard error and skipped; the exit status is
then 1.
"""

import csv
import sys

from common import cli, files, parsers
from common.cli import InputError


def parse(argv=None):
    """The command line's options, the photos that it names, and the model to use."""
    parser = parsers.model(__doc__)
    parser.add_argument(
        "photos", type=cli.path, nargs="+", metavar="PHOTO", help="photos, or folders of photos"
    )
    parser.add_argument(
        "--top",
        type=cli.positive,
        default=1,
        metavar="N",
        help="print the N most probable classes of each photo (default: %(default)s)",
    )
    parser.add_argument(
        "--csv",
        type=cli.path,
        metavar="FILE",
        help="also write them to this file, with the columns path, class, probability",
    )
    arguments = parser.parse_args(argv)
    if arguments.csv:
        files.check_output(arguments.csv)
        if files.is_photo(arguments.csv.name):
            raise InputError(f"{arguments.csv}: the table would be taken for a photo; rename it")
    return arguments, find_photos(arguments.photos), parsers.find_models(arguments)[0]


def find_photos(paths):
    """The photos in these files and folders; folders with their subfolders, in order.

    Raises InputError for missing files and for folders without photos.
    """
    photos = []
    for path in paths:
        found = files.photos_below(path) if path.is_dir() else [path]
        if not found:
            endings = ", ".join(files.PHOTO_ENDINGS)
            raise InputError(f"{path}: no photos ({endings}) in this folder")
        if not path.exists() and not path.is_symlink():
            raise InputError(f"{path}: no such photo or folder")
        photos += found
    return photos


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    command = cli.run(parse)

from common import backend  # noqa: F401  first, it sets Keras up
import numpy as np
from tqdm import tqdm

from common import networks


def main(arguments, photos, path):
    """Run the script with what parse() returned."""
    model, record = networks.load(path, arguments.vgg16_weights)
    names = networks.class_names(record)
    print(f"{path}: {record['experiment']}, {', '.join(names)}", file=sys.stderr)

    rows, unreadable = [], 0
    # No bar if the answers go to the same terminal: they show the progress.
    silent = sys.stdout.isatty() or not sys.stderr.isatty()
    answers = networks.predict(model, record, photos)
    for photo, answer, problem in tqdm(answers, total=len(photos), unit="photo", disable=silent):
        if problem:
            unreadable += 1
            tqdm.write(f"{photo}: can't be read ({problem})", file=sys.stderr)
            continue
        best = np.argsort(-answer, kind="stable")[: arguments.top]
        rows += [(photo, names[number], f"{answer[number]:.6f}") for number in best]
        print(photo, *(f"{names[number]}\t{answer[number]:.4f}" for number in best), sep="\t")
    if arguments.csv:
        with (
            files.replacing(arguments.csv) as temporary,
            open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            csv.writer(file).writerows([("path", "class", "probability"), *rows])
    if unreadable:
        print(f"{unreadable} of {len(photos)} photos could not be read", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main, *command, after_interrupt="nothing was written")
