"""Cross-validation of an experiment over all photos, which the article recommends.

Takes the photos of data/train and data/validation together, divides those of each class
at random into folds, and for each fold trains on the others and tests on it, by the
experiment's own script. VGG16's features of all photos, if bottleneck.py or best.py has
left them in weights/, are used again. Adds a line per fold to weights/crossval.jsonl and
ends with their table. Interrupted, it resumes where it was when you rerun the command.
"""

import shutil
from pathlib import Path

from common import cli, parsers, recipes
from common.cli import InputError

FOLDS = 5


def folds(text):
    """argparse type: a whole number of at least 2."""
    number = cli.positive(text)
    if number < 2:
        raise cli.argparse.ArgumentTypeError("1 fold leaves nothing to train on; 2 or more, please")
    return number


def parse(argv=None):
    """The command line's options, the folder of the photos, and that of the weights."""
    parser = parsers.experiment(__doc__, recipes.EPOCHS, recipes.BATCH_SIZE)
    parser.add_argument(
        "experiment",
        nargs="?",
        choices=(*recipes.ARTICLE, "best"),
        default="bottleneck",
        help="which one: scratch, bottleneck, finetune or best (default: bottleneck)",
    )
    parser.add_argument(
        "--folds", type=folds, default=FOLDS, metavar="N", help="(default: %(default)s)"
    )
    parsers.add_vgg16(parser)
    return parsers.parse(parser, argv)


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    command = cli.run(parse)

from common import backend  # noqa: F401  first, it sets Keras up
import numpy as np

from common import files, fingerprints, images, parts, tables


def divide(generators, folds, seed):
    """The photos of each fold, {class: [(name, path), ...]}; a photo's name tells its split.

    generators: {"train": of these photos, "validation": of those}.

    Photos of a class that show the same picture are in one fold. Raises InputError for what the
    experiments would refuse, and where a class is too small.
    """
    by_class = {}
    for split, generator in generators.items():
        for name, of_class in parts.photos_by_class(generator, f"{split}-").items():
            by_class.setdefault(name, []).extend(of_class)
    random = np.random.default_rng(seed)
    divided = [{} for _ in range(folds)]
    for name, of_class in by_class.items():
        fold_of = np.empty(len(of_class), int)
        shuffled = np.array_split(random.permutation(len(of_class)), folds)
        for number, indices in enumerate(shuffled):
            fold_of[indices] = number
        prints = fingerprints.fingerprints([path for _, path in of_class])
        fold_of, pictures = fingerprints.keep_together(fold_of, prints)
        for number, fold in enumerate(divided):
            fold[name] = parts.subset(of_class, np.flatnonzero(fold_of == number))
            if not fold[name]:
                raise InputError(
                    f"{len(of_class)} photos of {name}, {pictures} of which differ, make no "
                    f"{folds} folds"
                )
    return divided


def main(arguments, photos, weights):
    """Run the script with what parse() returned."""
    generators = {
        split: images.in_order_generator(photos / split, parts.ANY_SIZE, recipes.BATCH_SIZE)
        for split in ("train", "validation")
    }
    folds = divide(generators, arguments.folds, arguments.seed)
    paths = [path for fold in folds for of_class in fold.values() for _, path in of_class]
    digests = dict(zip(paths, files.photo_digests(paths), strict=True))
    names = [path.relative_to(photos.absolute()).as_posix() for path in paths]
    everything = {
        split: fingerprints.describe(
            [Path(name).as_posix() for name in generator.filenames],
            [digests[Path(path).absolute()] for path in generator.filepaths],
        )
        for split, generator in generators.items()
    }
    known = parts.settings(arguments, arguments.experiment, arguments.seed, photos)
    known["all_photos_sha256"] = fingerprints.data_set_digest(names, digests.values())
    known["folds"] = arguments.folds
    done = []
    for number in range(arguments.folds):
        print(f"\nFold {number + 1} of {arguments.folds}", flush=True)
        name = f"{arguments.experiment}-{arguments.recipe}-{arguments.seed}"
        folder = weights / "crossval" / f"{name}-{number}-of-{arguments.folds}"
        fold = (known | {"fold": number}, folds, number, digests, folder, arguments, weights)
        done.append(parts.run(weights / "crossval.jsonl", *fold, generators, everything))
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{tables.crossvalidation(done)}")


if __name__ == "__main__":
    cli.run(main, *command)
