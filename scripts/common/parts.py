"""Experiments on parts of the photos: folders of links to them, and the scripts run on these."""

import shutil
import subprocess
import sys
from pathlib import Path

from common import files, fingerprints, records, runs, vgg16

# What runs on each part. The classifier that fine-tuning starts from is the part's own.
SCRIPTS = {
    "scratch": ["scratch"],
    "bottleneck": ["bottleneck"],
    "finetune": ["bottleneck", "finetune"],
    "best": ["best"],
}
ANY_SIZE = (150, 150)  # of the photos; nothing is done with their pixels here


def named(generator, numbers):
    """(name, path) of the generator's photos of these numbers; names without their class."""
    return [
        (
            "-".join(Path(generator.filenames[number]).parts[1:]),
            Path(generator.filepaths[number]).absolute(),
        )
        for number in numbers
    ]


def link(folds, tested, folder):
    """A data folder of links: one fold in validation/, the others in train/."""
    shutil.rmtree(folder, ignore_errors=True)
    for number, fold in enumerate(folds):
        for name, photos in fold.items():
            target = folder / ("validation" if number == tested else "train") / name
            target.mkdir(parents=True, exist_ok=True)
            for link, path in photos:
                (target / link).symlink_to(path)


def describe(folds, tested, digests):
    """What images.describe() will say of the folder that link() makes."""
    listed = {"train": [], "validation": []}
    for number, fold in enumerate(folds):
        split = "validation" if number == tested else "train"
        for name, photos in fold.items():
            listed[split] += [(f"{name}/{link}", digests[path]) for link, path in photos]
    return {
        split: {
            "photos": len(pairs),
            "sha256": fingerprints.data_set_digest(*zip(*pairs, strict=True)),
        }
        for split, pairs in listed.items()
    }


def run_scripts(arguments, experiment, folder, seed):
    """Train and test on the photos in folder/data, everything else being in folder, too.

    Returns the run's record.
    """
    for script in SCRIPTS[experiment]:
        options = {
            "--data": folder / "data",
            "--weights": folder,
            "--seed": seed,
            "--precision": arguments.precision or runs.fastest_precision(),
        }
        if script != "best":  # which has no such options
            options["--recipe"] = arguments.recipe
            if script == experiment:
                options |= {"--epochs": arguments.epochs, "--batch-size": arguments.batch_size}
        if script != "scratch":
            options["--vgg16-weights"] = vgg16.weights_file(
                arguments.vgg16_weights, arguments.weights
            )
        command = [text for option in options.items() for text in map(str, option)]
        # In a process of its own, as if it were started by hand.
        done = subprocess.run([sys.executable, files.ROOT / "scripts" / f"{script}.py", *command])
        if done.returncode:
            sys.exit(done.returncode)  # it has said why
    return records.read(folder / "runs.jsonl")[-1]
