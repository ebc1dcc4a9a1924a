"""What fewer photos cost: accuracy against the number of training photos per class.

Draws some of the training photos of each class at random and runs scratch.py,
bottleneck.py and best.py on them, as if there were no others; the validation photos stay
as they are. A draw's smaller sets are parts of its larger ones, and the draw's number is
the runs' seed, too. VGG16's features of all photos, if bottleneck.py and best.py have left
them in weights/, are used again. Adds a line per run to weights/label_efficiency.jsonl;
the runs with all photos are those of runs.jsonl. Interrupted, it resumes where it was when
you rerun the command.
"""

import functools
import shutil
from pathlib import Path

from common import cli, parsers, recipes

# The experiments, and whose features of VGG16 they train on.
EXPERIMENTS = {"best": "pooled_features", "bottleneck": "bottleneck_features", "scratch": None}
PHOTOS_PER_CLASS = (25, 50, 100, 250, 500)
DRAWS = 3


def parse(argv=None):
    """The command line's options, the folder of the photos, and that of the weights."""
    parser = parsers.experiment(__doc__, recipes.EPOCHS, recipes.BATCH_SIZE)
    parsers.add_vgg16(parser)
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

from common import features, images, kernel, parts, tables, vgg16
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
    more = {
        "scratch": {},
        "bottleneck": of_vgg16,
        "best": {
            "image_size": list(kernel.IMAGE_SIZE),
            "preprocessing": kernel.preprocessing(photos / "train"),
            "pooled_layers": list(kernel.POOLED_LAYERS),
            "gamma": kernel.GAMMA,
            "ridge": kernel.RIDGE,
            **of_vgg16,
        },
    }
    done = []
    for seed in range(arguments.seed, arguments.seed + arguments.draws):
        for count in PHOTOS_PER_CLASS:
            drawn = draw(train, count, seed)
            for experiment, stored in EXPERIMENTS.items():
                print(f"\n{experiment}, {count} photos per class", flush=True)
                known = parts.settings(arguments, experiment, seed) | more[experiment]
                known |= {"photos_per_class": count, "drawn_from": everything}
                # One folder for all of an experiment's runs, which share the validation
                # photos' features.
                folder = weights / "label_efficiency" / experiment
                hand_over = functools.partial(
                    hand_over_features, stored, weights, folder, generators, everything
                )
                part = (known, [drawn, tested], 1, digests, folder, arguments, weights)
                path = weights / "label_efficiency.jsonl"
                done.append(parts.run(path, *part, hand_over if stored else None))
    shutil.rmtree(weights / "label_efficiency", ignore_errors=True)
    print(f"\n{tables.label_efficiency_table(tables.by_photos(done))}")


if __name__ == "__main__":
    cli.run(main, *command)
