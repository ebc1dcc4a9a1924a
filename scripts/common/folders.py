"""Where photos and outputs go: each data set has its own folder of weights."""

import contextlib
import json
import os
import re
import shutil
import sys
from pathlib import Path

from common import cli, division, files
from common.cli import InputError

DATA, WEIGHTS = files.ROOT / "data", files.ROOT / "weights"  # of the article's photos
NOTE = "photos.txt"  # in a folder of weights: the path of the photos
OUTPUTS = (".h5", ".npy", ".jsonl")  # models and a link to VGG16's, features, records
VGG16 = "vgg16.h5"  # in a folder of weights: a link to the VGG16 weights file used last

TF_CONFIG = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'


def photos_and_weights(data, weights=None, distribute=False):
    """Choose the folder with train/CLASS/ and validation/CLASS/, and the folder of weights.

    Returns `data`, or a folder of links to its photos, and `weights`, or default_weights().
    Notes in the folder of weights which photos it belongs to. Of several workers, only the
    chief does so. Raises InputError if there are no photos, if it is in doubt what the classes
    are, or if the folder of weights is among the photos or belongs to others.
    """
    if data.exists() and not data.is_dir():
        raise InputError(f"{data}: is a file; unpack it, and give the folder")
    if not data.is_dir():
        raise InputError(f"{data}: {division.NO_FOLDER}")
    weights = weights or default_weights(data)
    if weights.resolve().is_relative_to(data.resolve()):
        raise InputError(
            f"{weights}: is inside the photos' folder, where it might be taken for a class; give "
            "--weights (make: WEIGHTS) a folder elsewhere"
        )
    parts, unused = division.find_parts(data)
    if not distribute or workers()[1]:
        files.make_writable_folder(weights)
        lock(weights)
        if check_owner(weights, data) != data.resolve():
            with files.replacing(weights / NOTE) as note:
                note.write_text(f"{data.resolve()}\n", encoding="utf-8", errors="surrogateescape")
    if files.has_photos(data):
        print(f"{data}: photos that are in no class folder are not used")
    if unused:
        print(f"{data}: not used: {', '.join(path.name for path in unused)}")
    if parts == {split: data / split for split in ("train", "validation")}:
        return data, weights
    if distribute:  # the other workers would not wait for the links
        raise InputError(f"{data}: --distribute takes folders with train/ and validation/ only")
    if "validation" in parts:
        print(f"Training on {parts['train']}, validating on {parts['validation']}.")
        there = weights / "split"
        division.link({there / split: folder for split, folder in parts.items()}, there)
    else:
        if parts["train"] != data:
            names = ", ".join(path.name for path in files.class_folders(parts["train"]))
            print(f"{data}: the classes in {parts['train']}, {names}; a fifth to validate on.")
        division.split_photos(parts["train"], weights / "split")
    return weights / "split", weights


def workers():
    """The number of workers in TF_CONFIG, chief included, and whether this one is the chief.

    The chief, which writes the files, is the task of that type, else the first worker.
    Without TF_CONFIG, (1, True). Raises InputError for an unusable TF_CONFIG.
    """
    text = os.environ.get("TF_CONFIG")
    if text is None:
        return 1, True
    try:
        config = json.loads(text)
        counts = {job: len(addresses) for job, addresses in config["cluster"].items()}
        job, index = config["task"]["type"], config["task"]["index"]
        if counts.keys() <= {"chief", "worker"} and index in range(counts[job]):
            chief = ("chief" if "chief" in counts else "worker", 0)
            return sum(counts.values()), (job, index) == chief
    except (ValueError, LookupError, TypeError, AttributeError):
        pass
    raise InputError(f"TF_CONFIG: expected {TF_CONFIG}, found {text}")


def default_weights(data):
    """weights/ for data/, and weights/NAME for another data set."""
    data = data.resolve()
    if data == DATA:
        return WEIGHTS
    return WEIGHTS / re.sub(r"[^\w.-]", "_", data.name)


def check_owner(weights, data):
    """The data folder that a folder of weights belongs to, see owner().

    Raises InputError if it is not `data`. If it no longer exists, it was perhaps moved: assumes
    that `data` is the same data set, and says so.
    """
    whose, data = owner(weights), data.resolve()
    if whose not in (None, data):
        has = f"{weights}: has the outputs for the photos in {whose}"
        if whose.is_dir():
            raise InputError(
                f"{has}, not for {data}; give --weights (make: WEIGHTS) another folder"
            )
        print(
            f"{has}, which no longer exists; assuming {data} is the same data set", file=sys.stderr
        )
    return whose


def owner(weights):
    """The data folder named in the note in a folder of weights; None without outputs or note."""
    if weights.resolve() == WEIGHTS:
        return DATA
    if not any(path.suffix in OUTPUTS for path in weights.glob("*")):
        return None  # of a run that was refused
    try:
        text = (weights / NOTE).read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None
    return Path(text.rstrip("\n"))


def vgg16_weights(given, weights):
    """VGG16's weights: those given, else the file used last, else "imagenet".

    given: a file's path, "imagenet", "random", or None. weights: the folder of weights; other
    data sets also use the file last used in weights/. Raises InputError if there is no such file.
    """
    if given in ("imagenet", "random"):
        return given
    if given is not None:
        file = cli.path(str(given)).resolve()
        if not file.is_file():
            raise InputError(f"{file}: no such file; VGG16's weights are expected there")
        return str(file)
    for link in weights / VGG16, WEIGHTS / VGG16:
        if link.is_symlink():
            if not link.is_file():
                raise InputError(
                    f"{link}: the VGG16 weights used last, {link.resolve()}, no longer exist; give "
                    '--vgg16-weights (make: VGG16_WEIGHTS) a file, or "imagenet" to download them'
                )
            return str(link.resolve())
    return "imagenet"


def remember_vgg16(given, weights):
    """Link to a VGG16 weights file that has proved usable, for the next run."""
    file = vgg16_weights(given, weights)
    if file not in ("imagenet", "random"):
        temporary = weights / f".partial-{os.getpid()}-{VGG16}"
        with contextlib.suppress(OSError):  # no links on this file system: not remembered
            temporary.symlink_to(file)
            temporary.replace(weights / VGG16)


_locked = {}  # by this process: {path: open file}


def lock(folder):
    """Lock the folder until this process ends; raises InputError if another one holds it."""
    path = folder.resolve() / ".lock"
    if path in _locked:
        return
    file = path.open("a")  # stays open: closing it would release the lock
    try:
        files.lock(file, or_fail=True)
    except BlockingIOError as error:
        file.close()
        raise InputError(
            f"{folder}: another run is writing there; wait for its end, or give --weights "
            "(make: WEIGHTS) another folder"
        ) from error
    _locked[path] = file
    for partial in folder.glob(".partial-*"):  # left by a killed run
        if partial.is_dir() and not partial.is_symlink():
            shutil.rmtree(partial)
        else:
            partial.unlink()
