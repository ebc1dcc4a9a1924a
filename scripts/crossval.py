"""Cross-validation of an experiment over all photos, which the article recommends.

Takes the photos of data/train and data/validation together, divides those of each class
at random into folds, and for each fold trains on the others and tests on it, by the
experiment's own script. Adds a line for each fold to weights/crossval.jsonl and ends
with their table. Interrupted, it goes on where it was when started again.
"""

import shutil

from common import cli, folders, parsers, recipes
from common.cli import InputError

FOLDS = 5


def parse(argv=None):
    """The command line's options, or those of `argv`; see also folders.settle()."""
    parser = parsers.experiment(__doc__, recipes.EPOCHS, recipes.BATCH_SIZE)
    parser.add_argument(
        "experiment",
        nargs="?",
        choices=("scratch", "bottleneck", "finetune"),
        default="bottleneck",
        help="which one: scratch, bottleneck or finetune (default: bottleneck)",
    )
    parser.add_argument(
        "--folds", type=cli.positive, default=FOLDS, metavar="N", help="(default: %(default)s)"
    )
    parsers.add_vgg16(parser)
    arguments = parser.parse_args(argv)
    if arguments.folds < 2:
        raise InputError("--folds 1 leaves nothing to train on; 2 or more, please")
    return folders.settle(arguments)


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    arguments = cli.run(parse)

from common import backend  # noqa: F401  first, it sets Keras up
import numpy as np

from common import files, fingerprints, images, parts, records, runs, tables


def divide(data, folds, seed):
    """The photos of each fold, {class: [(name, path), ...]}; a photo's name tells its split.

    Photos of a class that show the same picture are in one fold. Raises InputError for what the
    experiments would refuse, and where a class is too small.
    """
    photos = {}
    for split in "train", "validation":
        generator = images.in_order_generator(data / split, parts.ANY_SIZE, recipes.BATCH_SIZE)
        for name, label in generator.class_indices.items():
            of_class = parts.named(generator, np.flatnonzero(generator.classes == label))
            photos.setdefault(name, []).extend(
                (f"{split}-{photo}", path) for photo, path in of_class
            )
    random = np.random.default_rng(seed)
    divided = [{} for _ in range(folds)]
    for name, of_class in photos.items():
        if len(of_class) < folds:
            raise InputError(f"{data}: {len(of_class)} photos of {name} make no {folds} folds")
        fold_of = np.empty(len(of_class), int)
        shuffled = np.array_split(random.permutation(len(of_class)), folds)
        for number, indices in enumerate(shuffled):
            fold_of[indices] = number
        prints = fingerprints.fingerprints([path for _, path in of_class])
        _, first, group = np.unique(fingerprints.groups(prints), True, True)
        fold_of = fold_of[first][group]
        for number, fold in enumerate(divided):
            fold[name] = [of_class[index] for index in np.flatnonzero(fold_of == number)]
            if not fold[name]:
                raise InputError(f"{data}: photos of {name} that differ make no {folds} folds")
    return divided


def main(arguments):
    """Run the script with the options that parse() returned."""
    path = arguments.weights / "crossval.jsonl"
    folds = divide(arguments.photos, arguments.folds, arguments.seed)
    paths = [path for fold in folds for photos in fold.values() for _, path in photos]
    digests = dict(zip(paths, files.photo_digests(paths), strict=True))
    data = arguments.photos.absolute()
    everything = fingerprints.data_set_digest(
        [p.relative_to(data).as_posix() for p in paths], digests.values()
    )
    done = []
    for number in range(arguments.folds):
        fold = {
            "experiment": arguments.experiment,
            "recipe": arguments.recipe,
            "seed": arguments.seed,
            "epochs": arguments.epochs,
            "batch_size": arguments.batch_size,
            "precision": arguments.precision or runs.fastest_precision(),
            "fold": number,
            "folds": arguments.folds,
            "all_photos_sha256": everything,
            "versions": runs.versions(),
        }
        photos = parts.describe(folds, number, digests)
        earlier = [
            record
            for record in records.read(path)
            if record.items() >= fold.items() and record["data"].items() >= photos.items()
        ]
        if not earlier:
            print(f"\nFold {number + 1} of {arguments.folds}", flush=True)
            folder = place(arguments, number)
            parts.link(folds, number, folder / "data")
            earlier = [
                parts.run_scripts(arguments, arguments.experiment, folder, arguments.seed) | fold
            ]
            records.append(path, earlier[0])
            shutil.rmtree(folder)
        done.append(earlier[-1])
    print(f"\n{tables.crossvalidation(done)}")


def place(arguments, number):
    """The folder of a fold: its photos' links, its weights and its record, until it is done."""
    name = f"{arguments.experiment}-{arguments.recipe}-{arguments.seed}"
    return arguments.weights / "crossval" / f"{name}-{number}-of-{arguments.folds}"


if __name__ == "__main__":
    cli.run(main, arguments)
