"""Whose photos, and whose outputs: each data set has a folder of weights of its own.

A data set is a folder with train/CLASS/ and validation/CLASS/, or with CLASS/ alone; the
latter is divided here, by symbolic links.
"""

import collections
import fcntl
import hashlib
import itertools
import json
import os
import re
import shutil
import sys
from pathlib import Path

from common import files
from common.cli import InputError

DATA, WEIGHTS = files.ROOT / "data", files.ROOT / "weights"  # of the article's photos
NOTE = "photos.txt"  # in a folder of weights: the path of the photos
VGG16 = "vgg16.h5"  # there, too: a link to the file of VGG16's weights that was given last

VALIDATION_SHARE = 0.2  # of the photos of each class, where the folder does not say which
SPLIT_SEED = 0  # not the run's, so that runs with other seeds are tested on the same photos

# What TF_CONFIG looks like.
TF_CONFIG = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'


def settle(data, weights=None, distribute=False):
    """The folder that holds train/CLASS/ and validation/CLASS/, and that of the weights.

    The first is `data`, or links to its photos; the second `weights`, or default_weights(). Raises
    InputError where there are no photos, or where the weights are those of other photos. Of
    several workers, only the chief claims the folder of the weights.
    """
    if not data.is_dir():
        raise InputError(
            f"{data}: no such folder; run `make data`, or give --data a folder "
            "that holds train/CLASS/ and validation/CLASS/, or CLASS/ alone"
        )
    weights = weights or default_weights(data)
    if not distribute or workers()[1]:
        claim(weights, data)
    if any((data / split).exists() for split in ("train", "validation")):
        return data, weights
    if distribute:  # who reads the links would not wait for them
        raise InputError(f"{data}: --distribute takes folders with train/ and validation/ only")
    divide(data, weights / "split")
    return weights / "split", weights


def workers():
    """How many workers, the chief included, TF_CONFIG names, and whether this is the chief.

    The chief is the one that writes: the one of that name, else the first worker. Without
    TF_CONFIG, (1, True). Raises InputError for a TF_CONFIG that can't be used.
    """
    text = os.environ.get("TF_CONFIG")
    if text is None:
        return 1, True
    try:
        cluster, task = (json.loads(text)[name] for name in ("cluster", "task"))
        if cluster.keys() <= {"chief", "worker"} and task["index"] in range(
            len(cluster[task["type"]])
        ):
            first = ("chief" if "chief" in cluster else "worker", 0)
            count = sum(len(addresses) for addresses in cluster.values())
            return count, (task["type"], task["index"]) == first
    except (ValueError, LookupError, TypeError, AttributeError):
        pass
    raise InputError(f"TF_CONFIG: expected {TF_CONFIG}, found {text}")


def default_weights(data):
    """The folder of weights for a data set: weights/, or weights/NAME for another than data/.

    The Makefile does the same.
    """
    name = data.resolve().name
    if data.resolve() == DATA:
        return WEIGHTS
    return WEIGHTS / os.fsdecode(re.sub(rb"[^A-Za-z0-9._-]", b"_", os.fsencode(name)))


def claim(weights, data):
    """Note in the weights' folder whose outputs it has. Raises InputError if they are others'."""
    files.make_writable_folder(weights)
    lock(weights)
    owner, data = check_owner(weights, data), data.resolve()
    if owner != data:
        with files.replacing(weights / NOTE) as temporary:
            temporary.write_text(f"{data}\n", encoding="utf-8", errors="surrogateescape")


def check_owner(weights, data):
    """The data folder whose outputs the weights' folder has, see owner().

    Raises InputError if that is another than `data`. Where it is gone, moved perhaps, that is
    only said, and its outputs may be replaced.
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
    """The data folder that the note in a weights' folder names; None if there is no note."""
    if weights.resolve() == WEIGHTS:
        return DATA
    try:
        text = (weights / NOTE).read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None
    return Path(text.rstrip("\n"))


def vgg16_weights(given, weights):
    """VGG16's weights: those given, else the file given last, else "imagenet".

    given: a file's path, "imagenet", "random", or None. weights: the folder of weights; a link in
    weights/ counts for the data sets that have another one, too.
    """
    if given in ("imagenet", "random"):
        return given
    if given is None:
        links = (weights / VGG16, WEIGHTS / VGG16)
        return next((str(link.resolve()) for link in links if link.is_file()), "imagenet")
    return str(Path(given).expanduser().resolve())


def remember_vgg16(given, weights):
    """Link to a file of VGG16's weights that has proved good, for the next time."""
    file = vgg16_weights(given, weights)
    if file not in ("imagenet", "random"):
        temporary = weights / f".partial-{os.getpid()}-{VGG16}"
        temporary.symlink_to(file)
        temporary.replace(weights / VGG16)


_locked = {}  # by this process: {path: open file}


def lock(folder):
    """Keep the folder for this process until its end; raises InputError if another has it."""
    path = folder.resolve() / ".lock"
    if path in _locked:
        return
    file = path.open("a")  # stays open: closing it would release the lock
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise InputError(
            f"{folder}: another run is writing there; wait for its end, or give --weights "
            "(make: WEIGHTS) another folder"
        ) from error
    _locked[path] = file
    for partial in folder.glob(".partial-*"):  # what a killed run was writing
        if partial.is_dir() and not partial.is_symlink():
            shutil.rmtree(partial)
        else:
            partial.unlink()


def divide(data, folder):
    """Make `folder` a data folder of links to the photos in data/CLASS/, a fifth to validate on.

    Photos of the same picture stay together. Otherwise their names alone decide, so that
    photos added later move few others. An earlier division of the same photos stays. Raises
    InputError for a class too small for it.
    """
    from common import fingerprints  # not above: SciPy takes its time

    classes = files.class_folders(data)
    if len(classes) < 2:
        found = ", ".join(path.name for path in classes) or "none"
        fetch = "; `make data` fetches the article's" if data.resolve() == DATA else ""
        raise InputError(
            f"{data}: neither train/ and validation/ in there nor at least two classes, that is "
            f"two subfolders; found {found}{fetch}"
        )
    inside = {tuple(path.name for path in files.class_folders(folder)) for folder in classes}
    if len(inside) == 1 and len(inside.pop()) > 1:
        raise InputError(
            f"{data}: {', '.join(path.name for path in classes)} hold the same folders, so they "
            "are no classes; name them train and validation, or move their folders together"
        )
    photos = {}
    for of_class in classes:
        photos[of_class.name] = files.photos_below(of_class)
        if len(photos[of_class.name]) < 2:
            has = "one photo" if photos[of_class.name] else "no photos"
            raise InputError(
                f"{of_class}: {has}; to be divided into train and validation, a class needs two "
                "or more"
            )
    paths = list(itertools.chain.from_iterable(photos.values()))
    names = [path.relative_to(data).as_posix() for path in paths]
    stats = [path.stat() if path.exists() else None for path in paths]
    seen = [[name, s and [s.st_size, s.st_mtime_ns]] for name, s in zip(names, stats, strict=True)]
    note = folder / ".photos.json"  # of an earlier division
    try:
        earlier = json.loads(note.read_text())
    except (OSError, ValueError):
        earlier = {}
    if earlier.get("photos") == seen:
        sides = earlier["sides"]
    else:
        tested = _tested(data, names, fingerprints.groups(fingerprints.fingerprints(paths)))
        sides = ["validation" if name in tested else "train" for name in names]
    links = {
        folder / side / name: os.path.realpath(path)
        for side, name, path in zip(sides, names, paths, strict=True)
    }
    there = {path: os.path.realpath(path) for path in folder.glob("*/**/*") if path.is_symlink()}
    if there == links and earlier.get("photos") == seen:
        return
    partial = folder.with_name(f".partial-{os.getpid()}-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    for path, photo in links.items():
        link = partial / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(photo)
    (partial / note.name).write_text(json.dumps({"photos": seen, "sides": sides}))
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _tested(data, names, groups):
    """The names to validate on: a fifth of each class, and whole groups of the same picture.

    names: CLASS/photo. groups: each one's number. Warns of a class of one picture.
    """
    members, count, room = {}, collections.Counter(), {}
    for name, group in sorted(zip(names, groups, strict=True)):
        members.setdefault(group, []).append(name)
    for name in names:
        count[name.split("/")[0]] += 1
    for of_class, photos in count.items():
        room[of_class] = max(1, round(VALIDATION_SHARE * photos))
    tested, taken = set(), collections.Counter()
    lots = sorted(members.values(), key=lambda group: _lot(group[0]))
    for group in lots:
        wanted = collections.Counter(name.split("/")[0] for name in group)
        if all(taken[c] + wanted[c] <= room[c] for c in wanted):
            tested.update(group)
            taken += wanted
    for of_class in sorted(room):  # where the groups are large: one that is too large, too
        for group in lots:
            wanted = collections.Counter(name.split("/")[0] for name in group)
            fits = all(taken[c] + wanted[c] < count[c] for c in wanted)
            few = taken[of_class] < room[of_class] / 2
            if few and wanted[of_class] and fits and tested.isdisjoint(group):
                tested.update(group)
                taken += wanted
        if not taken[of_class]:
            print(
                f"warning: {data / of_class}: its {count[of_class]} photos show nearly the same "
                "picture; they are divided all the same, and inflate the result",
                file=sys.stderr,
            )
            of_it = sorted((name for name in names if name.split("/")[0] == of_class), key=_lot)
            tested.update(of_it[: room[of_class]])
            taken[of_class] = room[of_class]
    return tested


def _lot(name):
    """What a photo draws, always the same: of each class, the lowest are to validate on."""
    return hashlib.sha256(f"{SPLIT_SEED} {name}".encode("utf-8", "surrogateescape")).digest()
