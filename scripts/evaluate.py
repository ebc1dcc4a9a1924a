"""Evaluate a model on photos whose classes are known: those in CLASS/ subfolders.

Prints the accuracy with its 95 % interval, the log loss, the recall per class and what is taken
for what, and shows the worst mistakes on one sheet. Use photos that the model was not trained
on, data/validation for example. Unreadable photos are named on standard error and skipped; the
exit status is then 1.
"""

import os
import sys

from common import cli, division, files, folders, parsers
from common.cli import InputError


def parse(argv=None):
    """The command line's options, the model to use, and where the worst mistakes go."""
    parser = parsers.model(__doc__)
    parser.add_argument(
        "folder", type=cli.path, metavar="FOLDER", help="a folder with a subfolder per class"
    )
    parser.add_argument(
        "--sheet",
        type=cli.path,
        metavar="FILE",
        help=f"where to show the worst mistakes (default: {parsers.SHEET} beside the model)",
    )
    arguments = parser.parse_args(argv)
    if not arguments.folder.is_dir():
        what = "not a folder" if arguments.folder.exists() else "no such folder"
        raise InputError(f"{arguments.folder}: {what}; name one with a subfolder per class")
    model, *_ = parsers.find_models(arguments)
    sheet = arguments.sheet or model.parent / parsers.SHEET
    files.check_output(sheet)
    if sheet.suffix not in (".jpg", ".png"):
        raise InputError(f"{sheet}: the sheet must be a .jpg or .png file")
    if arguments.sheet and sheet.exists() and not files.is_plotted(sheet):
        raise InputError(f"{sheet}: exists and is not such a sheet; name another file")
    return arguments, model, sheet


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    command = cli.run(parse)

from common import backend  # noqa: F401  first, it sets Keras up
import numpy as np
from tqdm import tqdm

from common import answers, fingerprints, kernel, networks, tables


def find_photos(folder, names):
    """[(path, number of its class in `names`), ...] of the photos in the class subfolders.

    names: the model's classes. Raises InputError if there are no such folders, or others.
    """
    classes = files.class_folders(division.inside(folder, names))
    numbers = {files.same_form(name): number for number, name in enumerate(names)}
    unknown = [path.name for path in classes if files.same_form(path.name) not in numbers]
    if not classes or unknown:
        raise InputError(
            f"{folder}: the photos must be in subfolders named like the model's classes, "
            f"{', '.join(names)}; found {', '.join(unknown) or 'none'}"
        )
    photos = [
        (photo, numbers[files.same_form(path.name)])
        for path in classes
        for photo in files.photos_below(path)
    ]
    if not photos:
        raise InputError(f"{folder}: no photos in its class subfolders")
    return photos


def warn_of_training_photos(photos, weights):
    """Warn of photos that show what a model in this folder of weights was trained on.

    The very files, or the same pictures, also in another size or encoding.
    """
    owner, folder = folders.owner(weights), weights / "split" / "train"
    if owner and (owner / "train").is_dir() and (owner / "validation").is_dir():
        folder = owner / "train"  # what is split here is of folders without a division
    if not folder.is_dir():
        return
    trained_on = files.photos_of_classes(folder, quiet=True)
    real = {os.path.realpath(path): path for path in trained_on}
    both = {photo: real[path] for photo in photos if (path := os.path.realpath(photo)) in real}
    pairs = fingerprints.alike(*map(fingerprints.fingerprints, (trained_on, photos)))
    both |= {photos[here]: trained_on[there] for there, here in pairs}
    if both:
        print(
            "warning: pictures that the model was trained on inflate the result, "
            f"{len(both)} of these {len(photos)}: {fingerprints.name_pairs(both.items())}",
            file=sys.stderr,
        )


def main(arguments, path, sheet):
    """Run the script with what parse() returned."""
    model, record = networks.load(path, arguments.vgg16_weights)
    names = networks.class_names(record)
    photos = find_photos(arguments.folder, names)
    warn_of_training_photos([photo for photo, _ in photos], path.parent)

    predictions = networks.predict(model, record, [photo for photo, _ in photos])
    bar = tqdm(predictions, total=len(photos), unit="photo", disable=None)
    read = []
    for (photo, label), (_, answer, problem) in zip(photos, bar, strict=True):
        if problem:
            tqdm.write(f"{photo}: can't be read ({problem})", file=sys.stderr)
        else:
            read.append((photo, label, answer))
    if not read:
        raise InputError(f"{arguments.folder}: none of its {len(photos)} photos can be read")
    paths, labels, probabilities = zip(*read, strict=True)
    labels, probabilities = np.array(labels), np.stack(probabilities)
    measured = kernel.measure(probabilities, labels)
    majority = max(np.bincount(labels)) / len(labels)
    print(
        f"{path} ({record['experiment']}) on {len(labels)} photos in {arguments.folder}\n\n"
        f"Accuracy: {measured['accuracy']:.4f} "
        f"(95 %: {tables.interval(measured['accuracy'], len(labels))}; "
        f"always predicting the largest class: {majority:.4f})\n"
        f"Log loss: {measured['loss']:.4f}\n\n"
        f"{answers.table(labels, probabilities.argmax(axis=1), names)}"
    )

    answers.show_mistakes(paths, labels, probabilities, record, sheet)
    if len(read) < len(photos):
        print(
            f"{len(photos) - len(read)} of {len(photos)} photos could not be read", file=sys.stderr
        )
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main, *command, after_interrupt="nothing was written")
