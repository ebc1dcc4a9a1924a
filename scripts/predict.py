"""Tell the classes of photos, with any model that the scripts wrote.

Prints a line for each photo: its path, its class and the probability of that class. The
model's own record says what its classes are called, how large the photos have to be and how
the pixels are prepared. A photo that can't be read is named on standard error, the others
go on, and the exit status is 1 in the end.
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
        help="tell the N most probable classes of each photo (default: %(default)s)",
    )
    parser.add_argument(
        "--csv",
        type=cli.path,
        metavar="FILE",
        help="write them to this file, too, with the columns path, class, probability",
    )
    arguments = parser.parse_args(argv)
    if arguments.csv:
        files.check_output(arguments.csv)
    return arguments, find_photos(arguments.photos), parsers.find_models(arguments)[0]


def find_photos(paths):
    """The photos in these files and folders; folders with their subfolders, in order.

    Raises InputError for what is not there, and where a folder has no photos.
    """
    photos = []
    for path in paths:
        found = files.photos_below(path) if path.is_dir() else [path]
        if not found:
            endings = ", ".join(files.PHOTO_ENDINGS)
            raise InputError(f"{path}: no photos ({endings}) in this folder")
        if not path.is_dir() and not path.exists() and not path.is_symlink():
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

    rows, unread = [], 0
    # The bar only where the answers do not go to the same terminal, which tell the progress.
    silent = sys.stdout.isatty() or not sys.stderr.isatty()
    for photo, answer, problem in tqdm(
        networks.predict(model, record, photos), total=len(photos), unit="photo", disable=silent
    ):
        if problem:
            unread += 1
            tqdm.write(f"{photo}: can't be read ({problem})", file=sys.stderr)
            continue
        best = np.argsort(-answer, kind="stable")[: arguments.top]
        rows += [(photo, names[number], f"{answer[number]:.6f}") for number in best]
        told = "\t".join(f"{names[number]}\t{answer[number]:.4f}" for number in best)
        print(f"{photo}\t{told}")
    if arguments.csv:
        with (
            files.replacing(arguments.csv) as temporary,
            open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            csv.writer(file).writerows([("path", "class", "probability"), *rows])
    if unread:
        print(f"{unread} of {len(photos)} photos could not be read", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main, *command, after_interrupt="nothing was written")
