"""Whether a model is up to date: asked of its own record. Needs no TensorFlow."""

import hashlib
import importlib.metadata
import json
import platform

import h5py

from common import files, fingerprints, folders, records

PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "pillow", "h5py")
# The libraries that decide what a run gives, beside the script itself.
LIBRARIES = ("features", "images", "keras2016", "kernel", "recipes", "transform", "vgg16")
# Options that don't, and two that are compared by themselves.
NOT_COMPARED = ("data", "weights", "unless", "is_recorded", "epochs", "batch_size")
LISTING = ".listing.json"  # in a folder of weights: its photos' sizes, times and digests


def versions():
    """{package: version} of Python and of the packages that decide what a run gives."""
    return {"python": platform.python_version()} | {
        package: importlib.metadata.version(package) for package in PACKAGES
    }


def made_with(experiment, arguments, weights, digests):
    """A digest of all that decides what a run gives, but for its epochs and batch size.

    digests: SHA-256 of the photos to train and to validate on, see fingerprints.data_set_digest().
    """
    options = {name: v for name, v in vars(arguments).items() if name not in NOT_COMPARED}
    if "vgg16_weights" in options:
        file = folders.vgg16_weights(arguments.vgg16_weights, weights)
        options["vgg16_weights"] = [file, files.size_and_time(file)]
    folder = files.ROOT / "scripts"
    paths = [folder / f"{experiment}.py", *(folder / f"common/{name}.py" for name in LIBRARIES)]
    code = [files.sha256(path) for path in paths]
    text = json.dumps([options, digests, versions(), code], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def is_made(experiment, model, arguments, photos, weights):
    """Whether there is a model of these photos and options, versions and this code.

    With --unless usable, whatever its epochs and batch size. Fine-tuning's classifier must be
    the one that is there now.
    """
    record = read_record(weights / model)
    if record is None or record.get("made_with") != _now(experiment, arguments, photos, weights):
        return False
    if "top_model" in record:
        top = read_record(weights / "bottleneck_fc_model.weights.h5") or {}
        if any(top.get(name) != record["top_model"][name] for name in ("epochs", "val_accuracy")):
            return False
    return arguments.unless == "usable" or _steps(record) == _steps(vars(arguments))


def is_recorded(experiment, arguments, photos, weights):
    """Whether such a run is in runs.jsonl; fine-tuning from a classifier of as many epochs."""
    now = _now(experiment, arguments, photos, weights)
    return any(
        record.get("made_with") == now
        and _steps(record) == _steps(vars(arguments))
        and records.classifier_epochs(record) in (None, arguments.epochs)
        for record in records.read(weights / records.RUNS)
    )


def read_record(path):
    """The record in a model's file; None if there is no such file, or no record in it."""
    try:
        with h5py.File(path, "r") as file:
            return json.loads(file["about/record"][()])
    except (OSError, KeyError, ValueError):
        return None


def note(listed, weights, digests):
    """Remember the photos' digests for as long as no file's size or time changes.

    listed: what listing() said before they were read.
    """
    files.write_json(weights / LISTING, {"listing": listed, "digests": digests})


def listing(photos):
    """A digest of the names, sizes and times of the photos in a folder with train/CLASS/ etc."""
    return _listing(_photos(photos))


def _now(experiment, arguments, photos, weights):
    """What made_with() would say today. The photos are read only if one has changed."""
    there = _photos(photos)
    listed = _listing(there)
    try:
        known = json.loads((weights / LISTING).read_text())
        if known["listing"] == listed:
            return made_with(experiment, arguments, weights, known["digests"])
    except (OSError, ValueError, KeyError):
        pass
    digests = []
    for split, paths in there.items():
        names = [path.relative_to(photos / split).as_posix() for path in paths]
        try:
            found = [files.sha256(path) for path in paths]
        except OSError:  # the training will name it
            return None
        digests.append(fingerprints.data_set_digest(names, found))
    note(listed, weights, digests)
    return made_with(experiment, arguments, weights, digests)


def _photos(photos):
    """{"train": paths, "validation": paths} of the photos in the folders of the classes."""
    return {
        split: files.photos_of_classes(photos / split, quiet=True)
        for split in ("train", "validation")
        if (photos / split).is_dir()
    }


def _listing(there):
    lines = [[str(path), files.size_and_time(path)] for paths in there.values() for path in paths]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def _steps(record):
    return record["epochs"], record["batch_size"]
