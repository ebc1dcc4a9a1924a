"""Experiments on parts of the photos: folders of links to them, and the scripts run on these."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from common import division, features, files, fingerprints, folders, images, kernel, made
from common import records, runs

# What runs on each part. The classifier that fine-tuning starts from is the part's own.
SCRIPTS = {
    "scratch": ["scratch"],
    "bottleneck": ["bottleneck"],
    "finetune": ["bottleneck", "finetune"],
    "best": ["best"],
}
# Whose features of VGG16 they train on, of those that have been made for all photos.
FEATURES = {"best": "pooled_features", "bottleneck": "bottleneck_features"}
FEATURES["finetune"] = FEATURES["bottleneck"]
ANY_SIZE = (150, 150)  # of the photos; nothing is done with their pixels here


def photos_by_class(generator, prefix=""):
    """The generator's photos as {class: [(prefix and name, path), ...]}."""
    photos = {name: [] for name in generator.class_indices}
    for name, path in zip(generator.filenames, generator.filepaths, strict=True):
        of_class, *rest = Path(name).parts
        photos[of_class].append((prefix + "-".join(rest), Path(path).absolute()))
    return photos


def link(folds, tested, folder):
    """A data folder of links: the fold of that number in validation/, the others in train/.

    folds: what photos_by_class() returned, or parts of it.
    """
    links = {}
    for number, fold in enumerate(folds):
        part = folder / ("validation" if number == tested else "train")
        for name, photos in fold.items():
            links |= {part / name / link: path for link, path in photos}
    division.link(links, folder)


def describe(folds, tested, digests):
    """What images.describe() will say of the folder that link() makes. digests: {path: SHA-256}."""
    listed = {"train": [], "validation": []}
    for number, fold in enumerate(folds):
        split = "validation" if number == tested else "train"
        for name, photos in fold.items():
            listed[split] += [(f"{name}/{link}", digests[path]) for link, path in photos]
    return {
        split: fingerprints.describe(*zip(*pairs, strict=True)) for split, pairs in listed.items()
    }


def hand_over_features(name, weights, folder, generators, everything, photos):
    """Put these photos' rows of all photos' features where the experiment looks for them.

    name: the files' name but for their split. weights: the folder with those of all
    photos. folder: the experiment's, with its photos in data/. generators, everything:
    {split: ...} of all photos, and what images.describe() says of these. photos: what it will
    say of those in the folder. The experiment checks, as always, that the features are what it
    needs, and makes them itself if not.
    """
    rows, sources = {}, []
    for split, generator in generators.items():
        path = weights / f"{name}_{split}.npy"
        source = features.read_source(path)
        if source is None or source.pop("photos") != everything[split]:
            return
        sources.append(source)
        rows |= zip(map(os.path.realpath, generator.filepaths), np.load(path, "r"), strict=True)
    if any(source != sources[0] for source in sources):
        return
    for split, described in photos.items():
        generator = images.in_order_generator(folder / "data" / split, ANY_SIZE, 1)
        found = np.stack([rows[os.path.realpath(path)] for path in generator.filepaths])
        path = folder / f"{name}_{split}.npy"
        features.store_features(path, found, sources[0] | {"photos": described})


def settings(arguments, experiment, seed, photos):
    """Of a run's record, what the options and the folder of photos say; versions are, too."""
    if experiment == "best":
        own = {
            "image_size": list(kernel.IMAGE_SIZE),
            "preprocessing": kernel.preprocessing(photos / "train"),
            "pooled_layers": list(kernel.POOLED_LAYERS),
            "mirrored": kernel.MIRRORED,
            "gamma": kernel.GAMMA,
            "ridge": kernel.RIDGE,
        }
    else:
        own = {name: getattr(arguments, name) for name in ("recipe", "epochs", "batch_size")}
    return {
        "experiment": experiment,
        "seed": seed,
        **own,
        "precision": arguments.precision or runs.fastest_precision(),
        "versions": made.versions(),
    }


def run(path, known, folds, tested, digests, folder, arguments, weights, generators, everything):
    """The record of a run on these photos: the one in `path`, or a new one that is added to it.

    known: of the record, what settings() returned and more. folds, tested, digests: see link()
    and describe(). folder: the run's own, for the links, its weights and its record. weights:
    where VGG16's weights are looked for, and its features of all photos: see
    hand_over_features() for these and for generators and everything.
    """
    photos = describe(folds, tested, digests)
    for record in records.read(path)[::-1]:
        if record.items() >= known.items() and record["data"].items() >= photos.items():
            return record
    link(folds, tested, folder / "data")
    experiment = known["experiment"]
    if experiment in FEATURES:
        there = (FEATURES[experiment], weights, folder)
        hand_over_features(*there, generators, everything, photos)
    for script in SCRIPTS[experiment]:
        options = {
            "--data": folder / "data",
            "--weights": folder,
            "--seed": known["seed"],
            "--precision": known["precision"],
        }
        if script != "best":  # which has no such options
            options["--recipe"] = known["recipe"]
            if script == experiment:
                options |= {"--epochs": known["epochs"], "--batch-size": known["batch_size"]}
        if script != "scratch":
            options["--vgg16-weights"] = folders.vgg16_weights(arguments.vgg16_weights, weights)
        command = [text for option in options.items() for text in map(str, option)]
        # In a process of its own, as if it were started by hand.
        done = subprocess.run([sys.executable, files.ROOT / "scripts" / f"{script}.py", *command])
        if done.returncode:
            sys.exit(done.returncode)  # it has said why
    record = records.read(folder / records.RUNS)[-1] | known
    records.append(path, record)
    return record


def subset(of_class, numbers):
    """These of a class's photos."""
    return [of_class[number] for number in np.sort(numbers)]
