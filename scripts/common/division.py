"""Which photos are trained on, and which validated on.

A data set is a folder with train/CLASS/ and validation/CLASS/, by these or other usual names, or
with CLASS/ alone. The latter is split here, by symbolic links.
"""

import collections
import hashlib
import json
import os
import re
import shutil
import sys

from common import files
from common.cli import InputError

VALIDATION_SHARE = 0.2  # of the photos per class, where the folder has no validation/
SPLIT_SEED = 0  # not the run's, so that runs with other seeds are validated on the same photos

# Names of the parts of a division: training_set, Val, seg_test, ...
PART = re.compile(
    r"(.*?)(?<![a-z])(train|val|dev|eval|test)(?:ing|id|idation|idate|elopment|uation)?"
    r"(?=$|[^a-z]|set|data|images|photos|pictures|split)(.*)"
)
# The part to validate on is the first of these that is there.
VALIDATION = ("val", "dev", "eval", "test")

NO_FOLDER = (
    "no such folder; run `make data`, or give --data a folder "
    "that holds train/CLASS/ and validation/CLASS/, or CLASS/ alone"
)


def class_names(folder):
    """The names of the class folders in train/ or validation/, sorted.

    Raises InputError if there are fewer than two, or two that differ in nothing one sees.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: {NO_FOLDER}")
    names = [path.name for path in files.class_folders(folder)]
    found = ", ".join(names)
    if len(names) < 2:
        raise InputError(
            f"{folder.resolve()}: the experiments need at least two classes (subfolders); found "
            f"{found or 'none'}"
        )
    if len({files.same_form(name) for name in names}) < len(names):
        raise InputError(
            f"{folder.resolve()}: two class folders have the same name but for its Unicode form, "
            f"{found}; merge them"
        )
    return names


def find_parts(data):
    """The folders of classes to train and to validate on, and the folders that are not used.

    Returns {"train": path, "validation": path}, or {"train": path} where there is nothing to
    validate on, and a list of paths. The parts of a division are known by their names, see PART;
    any folder may be wrapped in another, as in many archives. Raises InputError where it is in
    doubt what the classes are.
    """
    folder = inside(data)
    subfolders = files.class_folders(folder)
    divisions = _divisions(subfolders)
    if not divisions:
        _check_classes(folder)
        return {"train": folder}, []
    (division, *others) = divisions
    found = ", ".join(path.name for named in divisions for _, path in named)
    if others or len(dict(division)) < len(division):
        raise InputError(
            f"{folder}: more than one division into parts: {found}; keep train/ and validation/, "
            "and move the others away"
        )
    parts = {part: inside(path) for part, path in division}
    classes = {
        part: {folder.name for folder in files.class_folders(path)} for part, path in parts.items()
    }
    parts = {  # with classes, not with test/unknown/
        part: path
        for part, path in parts.items()
        if len(classes[part]) > 1 or classes[part] & classes["train"]
    }
    if "train" not in parts:
        raise InputError(
            f"{folder}: {found} have no class folders; put each class's photos into a folder of "
            "its own: train/CLASS/"
        )
    names = ["train", *[part for part in VALIDATION if part in parts][:1]]
    for name in names:
        _check_classes(parts[name])
    used = dict(zip(("train", "validation"), (parts[name] for name in names), strict=False))
    return used, [path for path in subfolders if path not in [dict(division)[n] for n in names]]


def _divisions(subfolders):
    """The divisions that there are by these folders' names, each as [(part, folder), ...]."""
    found = {}  # train_images and test_images belong together, train and seg_test don't
    for path in subfolders:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", path.name).lower()
        if match := PART.fullmatch(name):
            before, part, after = match.groups()
            found.setdefault(re.sub(r"[^a-z]+", "", f"{before} {after}"), []).append((part, path))
    return [named for named in found.values() if "train" in dict(named) and len(dict(named)) > 1]


def inside(folder, classes=()):
    """The folder or, where it holds nothing but one folder of folders, what is inside that.

    classes: names of known classes, at whose folders it stops.
    """
    while len(subfolders := files.class_folders(folder)) == 1:
        if subfolders[0].name in classes or any(map(files.has_photos, (folder, *subfolders))):
            break
        (folder,) = subfolders
    return folder


def _check_classes(folder):
    """Raise InputError for a class folder that holds only folders, which may be the classes."""
    for of_class in files.class_folders(folder):
        subfolders = files.class_folders(of_class)
        if len(subfolders) > 1 and not files.has_photos(of_class):
            found = ", ".join(path.name for path in subfolders)
            remedy = f"give --data (make: DATA) {of_class}"
            if not _divisions(subfolders):
                remedy = f"if these are the classes, {remedy}; if not, put the photos into it"
            raise InputError(f"{of_class}: no photos, only the folders {found}; {remedy}")


def split_photos(data, folder):
    """Make `folder` a data folder of links to the photos in data/CLASS/, a fifth for validation.

    Photos of the same picture stay together. Otherwise their names alone decide, so that adding
    photos moves few others. An earlier split of the same photos is kept. Raises InputError if
    there are too few classes, or too few photos in one.
    """
    from common import fingerprints  # not above: SciPy is slow to import

    paths = _photos_to_split(data)
    names = [path.relative_to(data).as_posix() for path in paths]
    seen = [[n, files.size_and_time(path)] for n, path in zip(names, paths, strict=True)]
    note = folder / ".photos.json"  # of an earlier split
    try:
        earlier = json.loads(note.read_text())
    except (OSError, ValueError):
        earlier = {}
    unchanged = earlier.get("photos") == seen
    if unchanged:
        sides = earlier["sides"]
    else:
        groups = fingerprints.groups(fingerprints.fingerprints(paths)).tolist()
        _tell_what_is_alike(names, groups)
        chosen = _validation_photos(data, names, groups)
        sides = ["validation" if name in chosen else "train" for name in names]
    links = {
        folder / side / name: path.absolute()
        for side, name, path in zip(sides, names, paths, strict=True)
    }
    there = {path: os.path.realpath(path) for path in folder.glob("*/**/*") if path.is_symlink()}
    if unchanged and there == {path: os.path.realpath(photo) for path, photo in links.items()}:
        return
    link(links, folder, {note.name: json.dumps({"photos": seen, "sides": sides})})


def link(links, folder, notes=()):
    """Fill the folder with these links, {path: what it leads to}, and with notes, {name: text}."""
    partial = folder.with_name(f".partial-{os.getpid()}-{folder.name}")
    for path, target in links.items():
        new = partial / path.relative_to(folder)
        new.parent.mkdir(parents=True, exist_ok=True)
        try:
            new.symlink_to(target.absolute())
        except OSError as error:
            raise InputError(
                f"{folder}: can't make links to the photos there ({error.strerror}); give "
                "--weights (make: WEIGHTS) a folder on another disk"
            ) from error
    for name, text in dict(notes).items():
        (partial / name).write_text(text)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _photos_to_split(data):
    classes = files.class_folders(data)
    found = ", ".join(path.name for path in classes) or "none"
    if len(classes) < 2:
        is_ours = data.resolve() == files.ROOT / "data"
        fetch = "; `make data` fetches the article's" if is_ours else ""
        raise InputError(
            f"{data}: has neither train/ and validation/ nor at least two classes "
            f"(subfolders); found {found}{' and loose photos' * files.has_photos(data)}{fetch}"
        )
    paths = []
    for of_class in classes:
        photos = files.photos_below(of_class)
        if len(photos) < 2:
            raise InputError(
                f"{of_class}: {'one photo' if photos else 'no photos'}; a class needs at least "
                "two to be split into train and validation; add some, or remove the folder"
            )
        files.refuse_folders(photos)
        paths += photos
    return paths


def _members(names, groups):
    """The names in each group, sorted, as lists."""
    members = {}
    for name, group in sorted(zip(names, groups, strict=True)):
        members.setdefault(group, []).append(name)
    return list(members.values())


def _tell_what_is_alike(names, groups):
    """Print how many photos show nearly the same picture, and warn if those differ in class."""
    alike = [group for group in _members(names, groups) if len(group) > 1]
    if alike:
        photos = sum(map(len, alike))
        print(f"{photos} photos have near-duplicates, which stay on one side with them.")
    torn = [group for group in alike if len({name.split("/")[0] for name in group}) > 1]
    for group in torn[:3]:
        group = [*{name.split("/")[0]: name for name in reversed(group)}.values()][::-1]
        print(
            f"warning: nearly the same picture in two classes: {' = '.join(group[:4])}",
            file=sys.stderr,
        )
    if len(torn) > 3:
        print(f"warning: and {len(torn) - 3} more such pictures", file=sys.stderr)


def _validation_photos(data, names, groups):
    """The names to validate on: a fifth per class, without splitting groups of one picture.

    names: CLASS/photo. groups: each photo's group number. Warns if a whole class is one picture.
    """

    def per_class(photos):
        return collections.Counter(photo.split("/")[0] for photo in photos)

    drawn = sorted(_members(names, groups), key=lambda group: _draw(group[0]))
    count, taken, chosen = per_class(names), collections.Counter(), set()
    room = {c: max(1, round(VALIDATION_SHARE * photos)) for c, photos in count.items()}

    def take(group, limit):
        wanted = per_class(group)
        if chosen.isdisjoint(group) and all(taken[c] + wanted[c] <= limit[c] for c in wanted):
            chosen.update(group)
            taken.update(wanted)

    for group in drawn:
        take(group, room)
    all_but_one = {c: photos - 1 for c, photos in count.items()}
    for of_class in sorted(room):
        for group in drawn:  # where the groups are large, take one that exceeds the fifth
            if taken[of_class] < room[of_class] / 2 and per_class(group)[of_class]:
                take(group, all_but_one)
        if not taken[of_class]:
            print(
                f"warning: {data / of_class}: its {count[of_class]} photos show nearly the same "
                "picture; splitting them anyway, which inflates the result",
                file=sys.stderr,
            )
            own = sorted((n for n in names if n.split("/")[0] == of_class), key=_draw)
            chosen.update(own[: room[of_class]])
            taken[of_class] = room[of_class]
    return chosen


def _draw(name):
    """A photo's sort key, always the same; the first of each class are validated on."""
    return hashlib.sha256(f"{SPLIT_SEED} {name}".encode("utf-8", "surrogateescape")).digest()
