"""How best.py's settings were chosen: by cross-validation inside the training photos.

For several photo sizes, with and without mirror images, and VGG16 fed in both ways,
pools the feature maps of two layers into weights/choice/, once. Then divides the photos
of each class at random into five folds, copies of a photo into the same one. For every
setting, also for two sizes together, tests the kernel classifier on each fold after
computing it from the other four. The validation photos are not looked at. Writes
weights/choice.json. Interrupted, it resumes at the size where it was when you rerun the
command.
"""

import itertools

from common import cli, parsers

FOLDS = 5
IMAGE_SIZES = (150, 224, 288, 384, 448)  # height and width; VGG16 was trained with 224
MIRRORED = (288, 384)  # those also tried with mirror images
TOGETHER = ((384, 288, False), (448, 384, False), (384, 288, True))  # two; whether mirrored
POOLED_LAYERS = ("block4_conv3", "block5_conv3")  # of these, the last one and both are tried
GAMMAS = (0.5, 1.0, 2.0, 4.0)
RIDGES = (0.01, 0.1, 1.0)
BATCH_SIZE = 8  # photos that go through VGG16 at once; see best.py


def parse(argv=None):
    """The command line's options, the folder of the photos, and that of the weights."""
    parser = parsers.experiment(__doc__, None, BATCH_SIZE)
    parsers.add_vgg16(parser)
    return parsers.parse(parser, argv)


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    command = cli.run(parse)

from common import backend  # noqa: F401  first, it sets Keras up
import numpy as np

from common import features, files, fingerprints, images, kernel, made, parts, recipes, runs
from common import tables, vgg16
from common.cli import InputError


def fold_numbers(labels, prints, folds, seed):
    """The number of each photo's fold, shape (photos,); every class is spread evenly.

    prints: what fingerprints.fingerprints() returned; photos of one picture are in one fold.
    Raises InputError where a class has too few for each fold.
    """
    random = np.random.default_rng(seed)
    fold = np.empty(len(labels), int)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        fold[members] = np.arange(len(members)) % folds
    fold, _ = fingerprints.keep_together(fold, prints)
    if any(len(np.unique(fold[labels == label])) < folds for label in np.unique(labels)):
        raise InputError(f"a class has too few different training photos to make {folds} folds")
    return fold


def cross_validate(features, labels, fold, gamma, ridge):
    """Accuracy and mean squared error, from -1 or 1, of scores for photos not trained on.

    Of all photos and, as lists, of each fold. labels: see kernel.kernel_ridge(). fold: each
    photo's number, shape (photos,).
    """
    scores = np.empty(labels.shape)
    for tested in range(fold.max() + 1):
        train, test = fold != tested, fold == tested
        near, coefficients, _ = kernel.fit(features[train], labels[train], gamma, ridge)
        scores[test] = kernel.similarity(features[test], near, gamma) @ coefficients
    if labels.ndim == 1:
        right = (scores > 0) == labels
    else:
        right = scores.argmax(axis=1) == labels.argmax(axis=1)
    errors = (scores - (2 * labels - 1)) ** 2
    folds = [fold == number for number in range(fold.max() + 1)]
    return {
        "accuracy": float(np.mean(right)),
        "mean_squared_error": float(np.mean(errors)),
        "accuracies": [float(np.mean(right[tested])) for tested in folds],
        "mean_squared_errors": [float(np.mean(errors[tested])) for tested in folds],
    }


def pooled_features(arguments, photos, described, weights, size, preprocessing, mirrored):
    """The training photos' features, and what a record says of these.

    described: what a record says of the photos. size: in pixels. mirrored: see
    kernel.build_feature_model().
    """
    generator = images.in_order_generator(
        photos / "train", (size, size), arguments.batch_size, preprocessing
    )
    base, description = vgg16.load(arguments.vgg16_weights, weights, (size, size))
    settings = {
        **generator.settings,
        "pooled_layers": list(POOLED_LAYERS),
        "mirrored": mirrored,
        "precision": runs.set_precision(arguments.precision),
        **description,
        "data": {"train": described},
    }
    way = "imagenet" if "mode" in preprocessing else "rescaled"
    way += "_mirrored" if mirrored else ""
    path = weights / "choice" / f"pooled_features_{size}_{way}.npy"
    model = kernel.build_feature_model(base, POOLED_LAYERS, mirrored)
    return features.save_bottleneck_features(model, generator, path, settings), settings


def of_layers(features, pooled_layers):
    """The part of the features that comes from these of POOLED_LAYERS, as unit vectors."""
    by_layer = np.split(features, len(POOLED_LAYERS), axis=1)
    kept = [by_layer[POOLED_LAYERS.index(name)] for name in pooled_layers]
    kept = np.concatenate(kept, axis=1)
    return kept / np.linalg.norm(kept, axis=1, keepdims=True)


def main(arguments, photos, weights):
    """Run the script with what parse() returned."""
    files.make_writable_folder(weights / "choice")
    runs.set_precision(arguments.precision)
    commit = runs.commit()  # of the code that runs; at the end it may be another

    imagenet = kernel.preprocessing(photos / "train")
    rescaled = imagenet | {"rescale": recipes.PREPROCESSING["rescale"]}
    del rescaled["mode"]
    sources = [(size, False, imagenet) for size in IMAGE_SIZES]
    sources += [(size, True, imagenet) for size in MIRRORED]
    sources += [(kernel.IMAGE_SIZE[0], False, rescaled)]
    last = POOLED_LAYERS[-1:]
    generator = images.in_order_generator(photos / "train", parts.ANY_SIZE, 1)
    digests = generator.digests()
    described = fingerprints.describe(generator.filenames, digests)
    prints = fingerprints.fingerprints(generator.filepaths, digests)
    fold = fold_numbers(generator.classes, prints, FOLDS, arguments.seed)
    seen, ways = [], []  # features; (what a record says, numbers of the features, their layers)
    for size, mirrored, preprocessing in sources:
        pooled, settings = pooled_features(
            arguments, photos, described, weights, size, preprocessing, mirrored
        )
        way = {"image_size": size, "mirrored": mirrored, "preprocessing": preprocessing}
        ways += [(way, [len(seen)], some) for some in (last, POOLED_LAYERS)]
        seen.append(pooled)
    for size, other, mirrored in TOGETHER:  # further than best goes
        both = [sources.index((some, mirrored, imagenet)) for some in (size, other)]
        way = {"image_size": size, "mirrored": mirrored, "preprocessing": imagenet}
        ways.append((way | {"with": f"{other} × {other}"}, both, last))

    choices = []
    for way, numbers, pooled_layers in cli.progress(ways, "settings"):
        way = way | {"pooled_layers": list(pooled_layers)}
        chosen = np.concatenate([of_layers(seen[n], pooled_layers) for n in numbers], axis=1)
        chosen /= np.sqrt(len(numbers))
        for gamma, ridge in itertools.product(GAMMAS, RIDGES):
            found = cross_validate(chosen, generator.targets, fold, gamma, ridge)
            choices.append({**way, "gamma": gamma, "ridge": ridge, **found})
    choice = {
        "folds": FOLDS,
        "seed": arguments.seed,
        **{name: settings[name] for name in ("precision", "vgg16_weights", "vgg16_sha256")},
        "photos": described,
        "versions": made.versions(),
        "commit": commit,
        "finished": runs.now(),
        "hardware": runs.hardware(),
        "compared_with": {  # what best uses
            "image_size": kernel.IMAGE_SIZE[0],
            "mirrored": kernel.MIRRORED,
            "pooled_layers": list(kernel.POOLED_LAYERS),
            "gamma": kernel.GAMMA,
            "ridge": kernel.RIDGE,
        },
        "choices": choices,
    }
    files.write_json(weights / "choice.json", choice)
    print(f"\n{tables.choice_table(choice)}")


if __name__ == "__main__":
    cli.run(main, *command)
