"""How well a model does on photos whose classes are known: those in CLASS/ subfolders.

Prints the accuracy with its 95 % interval, the log loss, the confusion matrix and the recall
of each class, and shows the worst mistakes on one sheet. The photos may be any that the
model was not trained on, data/validation for example. Photos that can't be read are named on
standard error and left out, and the exit status is 1 in the end.
"""

import sys

from common import cli, files, folders, parsers
from common.cli import InputError

SHEET = "mistakes.jpg"
MISTAKES = 20  # on the sheet
SHOWN = 300  # pixels of a photo's longer side there


def parse(argv=None):
    """The command line's options, the model to use, and where the worst mistakes go."""
    parser = parsers.model(__doc__)
    parser.add_argument(
        "folder", type=cli.path, metavar="FOLDER", help="a folder with a subfolder for each class"
    )
    parser.add_argument(
        "--sheet",
        type=cli.path,
        metavar="FILE",
        help=f"where to show the worst mistakes (default: {SHEET} beside the model)",
    )
    arguments = parser.parse_args(argv)
    if not arguments.folder.is_dir():
        raise InputError(f"{arguments.folder}: no such folder")
    model, *_ = parsers.find_models(arguments)
    sheet = arguments.sheet or model.parent / SHEET
    files.check_output(sheet)
    if sheet.suffix not in (".jpg", ".png"):
        raise InputError(f"{sheet}: the sheet must be a .jpg or .png file")
    return arguments, model, sheet


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    command = cli.run(parse)

from common import backend  # noqa: F401  first, it sets Keras up
import numpy as np
from tqdm import tqdm

from common import kernel, networks, tables


def find_photos(folder, names):
    """The photos in the class subfolders, and their classes' numbers in the model's answers.

    Raises InputError if there are no such folders, or others than the model's classes.
    """
    classes = files.class_folders(folder)
    unknown = [path.name for path in classes if path.name not in names]
    if not classes or unknown:
        found = f"found {', '.join(unknown)}" if classes else "found none"
        raise InputError(
            f"{folder}: the photos must be in subfolders named like the model's classes, "
            f"{', '.join(names)}; {found}"
        )
    photos, labels = [], []
    for of_class in classes:
        found = files.photos_below(of_class)
        photos += found
        labels += [names.index(of_class.name)] * len(found)
    if not photos:
        raise InputError(f"{folder}: no photos in its class subfolders")
    return photos, np.array(labels)


def was_trained_on(folder, weights):
    """Whether the folder is the one that the note in a folder of weights names, or its train/."""
    owner = folders.owner(weights)
    trained_on = [weights / "split" / "train"]
    if owner:
        trained_on += [owner, owner / "train"]
    return folder.resolve() in [path.resolve() for path in trained_on]


def confusion_table(labels, answers, names):
    """Markdown table: how many photos of each class (rows) were taken for which (columns)."""
    rows = [("is \\ taken for", *names, "recall")]
    for number, name in enumerate(names):
        taken = np.bincount(answers[labels == number], minlength=len(names))
        recall = f"{taken[number] / taken.sum():.3f}" if taken.sum() else ""
        rows.append((name, *map(str, taken), recall))
    return cli.markdown(rows)


def main(arguments, path, sheet):
    """Run the script with what parse() returned."""
    model, record = networks.load(path, arguments.vgg16_weights)
    names = networks.class_names(record)
    photos, labels = find_photos(arguments.folder, names)
    if was_trained_on(arguments.folder, path.parent):
        print(
            f"warning: the model was trained on photos in {arguments.folder}, which inflate the "
            "result",
            file=sys.stderr,
        )

    looks = tqdm(
        networks.predict(model, record, photos), total=len(photos), unit="photo", disable=None
    )
    probabilities, read = [], []
    for number, (photo, answer, problem) in enumerate(looks):
        if problem:
            tqdm.write(f"{photo}: can't be read ({problem})", file=sys.stderr)
        else:
            probabilities.append(answer)
            read.append(number)
    if not read:
        raise InputError(f"{arguments.folder}: none of its {len(photos)} photos can be read")
    probabilities, labels = np.stack(probabilities), labels[read]
    answers = probabilities.argmax(axis=1)
    measured = kernel.measure(probabilities, labels)
    majority = max(np.bincount(labels)) / len(labels)
    print(
        f"{path} ({record['experiment']}) on {len(labels)} photos in {arguments.folder}\n\n"
        f"Accuracy: {measured['accuracy']:.4f} "
        f"(95 %: {tables.interval(measured['accuracy'], len(labels))}; "
        f"always saying the largest class: {majority:.4f})\n"
        f"Log loss: {measured['loss']:.4f}\n\n{confusion_table(labels, answers, names)}"
    )

    wrong = np.flatnonzero(answers != labels)
    if wrong.size:
        worst = wrong[np.argsort(probabilities[wrong, labels[wrong]], kind="stable")][:MISTAKES]
        mistakes = []
        for number in worst:
            photo, answer = photos[read[number]], answers[number]
            caption = (
                f"{photo.name}\nis {names[labels[number]]}, taken for {names[answer]} "
                f"({probabilities[number, answer]:.2f})"
            )
            mistakes.append((networks.show(photo.read_bytes(), record, SHOWN), caption))
        from common import plots  # not above: matplotlib takes its time

        plots.sheet(mistakes, sheet)
        print(f"\nMistakes: {wrong.size}   The worst {len(worst)}: {sheet}")
    else:
        sheet.unlink(missing_ok=True)  # an earlier one would be taken for this one
        print("\nMistakes: 0")
    if len(read) < len(photos):
        print(f"{len(photos) - len(read)} photos could not be read", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main, *command, after_interrupt="nothing was written")
