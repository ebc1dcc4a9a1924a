"""What fewer photos cost: accuracy against the number of training photos per class.

Draws some of the training photos of each class at random and runs scratch.py,
bottleneck.py and best.py on them, as if there were no others; the validation photos stay
as they are. A draw's smaller sets are parts of its larger ones, and the draw's number is
the runs' seed, too. VGG16's features of all photos, if bottleneck.py and best.py have left
them in weights/, are used again. Adds a line per run to weights/label_efficiency.jsonl;
the runs with all photos are those of runs.jsonl. Interrupted, it resumes where it was when
you rerun the command.
"""

import shutil
from pathlib import Path

from common import cli, parsers, recipes

EXPERIMENTS = ("best", "bottleneck", "scratch")
PHOTOS_PER_CLASS = (25, 50, 100, 250, 500)
DRAWS = 3


def parse(argv=None):
    """The command line's options, the folder of the photos, and that of the weights."""
    parser = parsers.experiment(__doc__, recipes.EPOCHS, recipes.BATCH_SIZE)
    parsers.add_vgg16(parser)
    parser.add_argument(
        "--experiment", choices=EXPERIMENTS, help="this one alone (default: all three)"
    )
    parser.add_argument(
        "--draws",
        type=cli.positive,
        default=DRAWS,
        metavar="N",
        help="sets of photos of each size, from --seed on (default: %(default)s)",
    )
    return parsers.parse(parser, argv)


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    command = cli.run(parse)

from common import backend  # noqa: F401  first, it sets Keras up
import numpy as np

from common import images, parts, selection, tables, vgg16
from common.cli import InputError


def draw(generator, photos_per_class, seed):
    """That many photos of each class, {class: [(name, path), ...]}, as parts.link() takes.

    The same seed draws more photos by adding to the fewer.
    """
    drawn = {}
    random = np.random.default_rng(seed)
    for name, of_class in parts.photos_by_class(generator).items():
        members = random.permutation(len(of_class))[:photos_per_class]
        if len(members) < photos_per_class:
            raise InputError(
                f"{generator.directory}: {len(of_class)} photos of {name}, "
                f"where {photos_per_class} are to be drawn"
            )
        drawn[name] = parts.subset(of_class, members)
    return drawn


def main(arguments, photos, weights):
    """Run the script with what parse() returned."""
    generators = {
        split: images.in_order_generator(photos / split, parts.ANY_SIZE, 1)
        for split in ("train", "validation")
    }
    train, validation = generators.values()
    everything = images.describe(train, validation)
    _, of_vgg16 = vgg16.load(arguments.vgg16_weights, weights, parts.ANY_SIZE)
    tested = parts.photos_by_class(validation)
    draw(train, max(PHOTOS_PER_CLASS), arguments.seed)  # too few are better noticed now
    digests = {
        Path(path).absolute(): digest
        for generator in generators.values()
        for path, digest in zip(generator.filepaths, generator.digests(), strict=True)
    }
    done = []
    for seed in range(arguments.seed, arguments.seed + arguments.draws):
        for count in PHOTOS_PER_CLASS:
            drawn = draw(train, count, seed)
            for experiment in [arguments.experiment] if arguments.experiment else EXPERIMENTS:
                print(f"\n{experiment}, {count} photos per class", flush=True)
                known = parts.settings(arguments, experiment, seed, photos)
                known |= {} if experiment == "scratch" else of_vgg16
                known |= {"photos_per_class": count, "drawn_from": everything}
                # One folder for all of an experiment's runs, which share the validation
                # photos' features.
                folder = weights / "label_efficiency" / experiment
                part = (known, [drawn, tested], 1, digests, folder, arguments, weights)
                path = weights / "label_efficiency.jsonl"
                done.append(parts.run(path, *part, generators, everything))
    shutil.rmtree(weights / "label_efficiency", ignore_errors=True)
    print(f"\n{tables.label_efficiency_table(selection.by_photos(done))}")


if __name__ == "__main__":
    cli.run(main, *command)
