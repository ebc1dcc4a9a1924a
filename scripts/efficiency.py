"""How much fewer photos cost: accuracy against the number of training photos a class.

Draws some of the training photos of each class at random and runs scratch.py,
bottleneck.py and best.py on them, as if there were no others; the validation photos stay
as they are. A draw's smaller sets are parts of its larger ones, and the draw's number is
the runs' seed, too. VGG16's features of all photos, if bottleneck.py and best.py have left
them in weights/, are used again. Adds a line for each run to
weights/label_efficiency.jsonl; the runs with all photos are those of runs.jsonl.
Interrupted, it goes on where it was when started again.
"""

import shutil
from pathlib import Path

from common import cli, folders, parsers, recipes

# The experiments, and whose features of VGG16 they train on.
EXPERIMENTS = {"best": "pooled_features", "bottleneck": "bottleneck_features", "scratch": None}
PHOTOS_PER_CLASS = (25, 50, 100, 250, 500)
DRAWS = 3


def parse(argv=None):
    """The command line's options, or those of `argv`; see also folders.settle()."""
    parser = parsers.experiment(__doc__, recipes.EPOCHS, recipes.BATCH_SIZE)
    parsers.add_vgg16(parser)
    parser.add_argument(
        "--draws",
        type=cli.positive,
        default=DRAWS,
        metavar="N",
        help="sets of photos of each size, from --seed on (default: %(default)s)",
    )
    return folders.settle(parser.parse_args(argv))


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    arguments = cli.run(parse)

from common import backend  # noqa: F401  first, it sets Keras up
import numpy as np

from common import features, images, kernel, parts, records, runs, tables, vgg16
from common.cli import InputError


def draw(generator, photos_per_class, seed):
    """That many photos of each class, {class: [(name, path), ...]}, as parts.link() takes.

    The same seed draws more photos by adding to the fewer.
    """
    drawn = {}
    random = np.random.default_rng(seed)
    for name, number in generator.class_indices.items():
        members = random.permutation(np.flatnonzero(generator.classes == number))
        if len(members) < photos_per_class:
            raise InputError(
                f"{generator.directory}: {len(members)} photos of {name}, "
                f"where {photos_per_class} are to be drawn"
            )
        drawn[name] = parts.named(generator, members[:photos_per_class])
    return drawn


def hand_over_features(name, weights, folder, generators, everything, photos):
    """Put the drawn photos' rows of all photos' features where the experiment looks for them.

    name: the files' name but for their split. weights: the folder with those of all
    photos. folder: the experiment's, with the drawn photos in data/. generators, everything:
    {split: ...} of all photos, and what images.describe() says of these. photos: what it will
    say of those drawn. The experiment checks, as always, that the features are what it needs,
    and makes them itself if not.
    """
    for split, generator in generators.items():
        path = weights / f"{name}_{split}.npy"
        source = features.read_source(path)
        if source is None or source["photos"] != everything[split]:
            continue
        number = {Path(path).resolve(): n for n, path in enumerate(generator.filepaths)}
        drawn = images.in_order_generator(folder / "data" / split, parts.ANY_SIZE, 1)
        rows = [number[Path(path).resolve()] for path in drawn.filepaths]
        source["photos"] = photos[split]
        features.store_features(folder / path.name, np.load(path)[rows], source)


def main(arguments):
    """Run the script with the options that parse() returned."""
    path = arguments.weights / "label_efficiency.jsonl"
    generators = {
        split: images.in_order_generator(arguments.photos / split, parts.ANY_SIZE, 1)
        for split in ("train", "validation")
    }
    train, validation = generators.values()
    everything = images.describe(train, validation)
    vgg16_weights = vgg16.weights_file(arguments.vgg16_weights, arguments.weights)
    base = vgg16.convolutional_base(vgg16_weights, parts.ANY_SIZE)
    vgg16_description = vgg16.describe(base, vgg16_weights)
    tested = {
        name: parts.named(validation, np.flatnonzero(validation.classes == number))
        for name, number in validation.class_indices.items()
    }
    draw(train, max(PHOTOS_PER_CLASS), arguments.seed)  # too few are better noticed now
    digests = {
        Path(path).absolute(): digest
        for generator in generators.values()
        for path, digest in zip(generator.filepaths, generator.digests(), strict=True)
    }
    done = []
    for seed in range(arguments.seed, arguments.seed + arguments.draws):
        for photos_per_class in PHOTOS_PER_CLASS:
            for experiment, stored in EXPERIMENTS.items():
                what = {
                    "experiment": experiment,
                    "photos_per_class": photos_per_class,
                    "seed": seed,
                    "drawn_from": everything,
                    "precision": arguments.precision or runs.fastest_precision(),
                    "versions": runs.versions(),
                }
                if experiment == "best":
                    what |= {
                        "image_size": list(kernel.IMAGE_SIZE),
                        "preprocessing": kernel.PREPROCESSING,
                        "pooled_layers": list(kernel.POOLED_LAYERS),
                        "gamma": kernel.GAMMA,
                        "ridge": kernel.RIDGE,
                    }
                else:
                    what |= {
                        "recipe": arguments.recipe,
                        "epochs": arguments.epochs,
                        "batch_size": arguments.batch_size,
                    }
                if experiment != "scratch":
                    what |= vgg16_description
                earlier = [r for r in records.read(path) if r.items() >= what.items()]
                if not earlier:
                    print(f"\n{experiment}, {photos_per_class} photos a class", flush=True)
                    # One folder for all of an experiment's runs, which share the validation
                    # photos' features.
                    folder = arguments.weights / "label_efficiency" / experiment
                    photos = draw(train, photos_per_class, seed)
                    parts.link([photos, tested], 1, folder / "data")
                    if stored:
                        hand_over_features(
                            stored,
                            arguments.weights,
                            folder,
                            generators,
                            everything,
                            parts.describe([photos, tested], 1, digests),
                        )
                    earlier = [parts.run_scripts(arguments, experiment, folder, seed) | what]
                    records.append(path, earlier[0])
                done.append(earlier[-1])
    shutil.rmtree(arguments.weights / "label_efficiency", ignore_errors=True)
    print(f"\n{tables.label_efficiency_table(tables.by_photos(done))}")


if __name__ == "__main__":
    cli.run(main, arguments)
