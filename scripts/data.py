"""Fill data/train/{cats,dogs} and data/validation/{cats,dogs} with the article's photos.

The article's training photos are Kaggle's cat.0.jpg to cat.999.jpg and dog.0.jpg to
dog.999.jpg, its validation photos the 400 after them. ARCHIVE is what you have of:

  dogs-vs-cats.zip            Kaggle's, with train.zip inside
  train.zip                   Kaggle's
  kagglecatsanddogs_5340.zip  Microsoft's, the same pictures, encoded anew
  cats_and_dogs_filtered.zip  Google's, with other validation photos
  a folder                    one of these, unpacked

Without ARCHIVE, photos already there are kept; if there are none, Microsoft's archive is
downloaded (825 MB); an interrupted download resumes where it stopped. Photos are chosen by
their numbers and compared, by file and by picture, with those behind the README's numbers.
If the numbers don't match, the whole archive is searched for the pictures. Differences are
listed.
"""

import collections
import contextlib
import hashlib
import http.client
import itertools
import json
import re
import shutil
import stat
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import PurePosixPath

from tqdm import tqdm

from common import cli, files, fingerprints
from common.cli import InputError

# The address behind https://www.microsoft.com/en-us/download/details.aspx?id=54765
MICROSOFT = (
    "https://download.microsoft.com/download/3/E/1/"
    "3E1C3F21-ECDB-4869-8368-6DEBA77B919F/kagglecatsanddogs_5340.zip"
)

SPLITS = ("train", "validation")
READY = ".replacement"  # in data/: complete photos and photos.json, not yet in place

CLASSES = {"cat": "cats", "dog": "dogs"}
TRAIN = range(1000)  # "we just took the first 1000 images for each class"
VALIDATION = range(1000, 1400)  # "400 additional samples from each class"
GOOGLE_VALIDATION = range(2000, 2400)  # the first 400 of the 500 in Google's archive

KAGGLE_NAME = re.compile(r"(?:^|/)(cat|dog)\.(\d{1,5})\.jpe?g$", re.IGNORECASE)
MICROSOFT_NAME = re.compile(r"(?:^|/)PetImages/(cat|dog)/(\d{1,5})\.jpe?g$", re.IGNORECASE)

LARGEST_PHOTO = 10 * 2**20  # bytes; Kaggle's photos have 0.02 MB on average
LARGEST_TRAIN_ZIP = 2 * 2**30  # bytes; Kaggle's has 0.57 GB


def download(url, path):
    """Download `url` to `path` with a progress bar, resuming from `path`.part if it exists."""
    part = path.with_name(path.name + ".part")
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    by_hand = "get the archive by other means: make data ARCHIVE=FILE"
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            resumed = answer.status == 206
            start = start if resumed else 0
            total = start + int(answer.headers["Content-Length"])
            bar = tqdm.wrapattr(answer, "read", total, desc=path.name, initial=start)
            with open(part, "ab" if resumed else "wb") as file, bar as body:
                shutil.copyfileobj(body, file)
    except urllib.error.HTTPError as error:
        # "Range not satisfiable": the part is complete already, or longer than the file.
        if error.code != 416 or error.headers["Content-Range"] != f"bytes */{start}":
            raise InputError(
                f"{url}: the server answers {error.code} {error.reason}; delete {part} if it "
                f"exists, or {by_hand}"
            ) from error
        total = start
    # no network, no Content-Length, a broken connection, ...
    except (OSError, TypeError, ValueError, http.client.HTTPException) as error:
        raise InputError(
            f"{url}: can't download ({error}); run again to resume, or {by_hand}"
        ) from error
    if part.stat().st_size != total:
        raise InputError(f"{url}: the download stopped early; run again to resume")
    part.rename(path)


@contextlib.contextmanager
def open_archive(source, work, name=None):
    """Yield {member's path: function that returns its bytes} of a zip archive or a folder.

    work: a folder to unpack an inner train.zip to. name: for messages (default: source).
    Raises InputError for broken, encrypted or malicious archives.
    """
    if source.is_dir():
        paths = sorted(path for path in source.rglob("*") if path.is_file())
        members = {path.relative_to(source).as_posix(): path.read_bytes for path in paths}
        inner = [path for path in paths if path.name == "train.zip"]
        if not inner or any(map(class_and_number, members)):
            yield members
            return
        source = inner[0]
    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    name = name or source
    try:
        with zipfile.ZipFile(source) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            for info in infos:
                # Some programs of Windows write backslashes, against the format.
                info.filename = info.filename.replace("\\", "/")
                check_member(name, info)
            inner = [info for info in infos if PurePosixPath(info.filename).name == "train.zip"]
            if inner:
                unpacked = work / "train.zip"
                with archive.open(inner[0]) as packed, open(unpacked, "wb") as file:
                    shutil.copyfileobj(packed, file)
                with open_archive(unpacked, work, f"train.zip in {name}") as members:
                    yield members
            else:
                yield {info.filename: lambda info=info: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise InputError(
            f"{name}: not a complete zip archive ({error}); delete it and get it again"
        ) from error


def check_member(source, info):
    """Raise InputError for a zip member that a genuine archive would not have."""
    name = info.filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise InputError(f"{source}: refused, its member {name!r} points outside the archive")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise InputError(f"{source}: refused, its member {name!r} is a link")
    if info.flag_bits & 1:
        raise InputError(f"{source}: its member {name!r} is encrypted; unpack it first")
    largest = LARGEST_TRAIN_ZIP if path.name == "train.zip" else LARGEST_PHOTO
    if (path.name == "train.zip" or class_and_number(name)) and info.file_size > largest:
        raise InputError(f"{source}: refused, its member {name!r} has {info.file_size} bytes")


def class_and_number(name):
    """(class, number) of a photo's path in one of the known layouts, or None."""
    match = KAGGLE_NAME.search(name) or MICROSOFT_NAME.search(name)
    return (match[1].lower(), int(match[2])) if match else None


def wanted_photos(photos):
    """{path below data/: (class, number)} of the photos to choose from an archive.

    photos: {(class, number): ...}. Google's archive has other validation photos.
    """
    there = {number for _, number in photos}
    google = there.isdisjoint(VALIDATION) and not there.isdisjoint(GOOGLE_VALIDATION)
    numbers_of = {"train": TRAIN, "validation": GOOGLE_VALIDATION if google else VALIDATION}
    return {
        f"{split}/{folder}/{name}.{number}.jpg": (name, number)
        for split, numbers in numbers_of.items()
        for name, folder in CLASSES.items()
        for number in numbers
    }


def choose_photos(source, members, manifest):
    """Choose the article's photos among the members of an archive.

    members: what open_archive() yields. manifest: as fingerprints.read_manifest() returns it.
    Returns (chosen, missing): {path below data/: (function, SHA-256, how)}, where how is
    "exact", "anew" for the same picture in another file, or "other"; and
    {path below data/: reason}. Raises InputError if the archive's layout is unknown.
    """
    photos = {}
    for name, read in members.items():
        if key := class_and_number(name):
            photos.setdefault(key, []).append((name, read))
    if not photos:
        raise InputError(
            f"{source}: no cats and dogs of Kaggle's, Microsoft's or Google's archive in there "
            "(train/cat.0.jpg, PetImages/Cat/0.jpg, ...)"
        )
    wanted = wanted_photos(photos)
    chosen, missing = {}, {}
    for path, key in cli.progress(wanted.items(), "Comparing photos"):
        if key not in photos:
            missing[path] = "not there"
            continue
        name, read = photos[key][0]
        content = read()
        if problem := files.photo_problem(content):
            missing[path] = f"{name}: {problem}"
            continue
        digest, how = hashlib.sha256(content).hexdigest(), "other"
        expected, picture = manifest.get(path, (None, None))
        if digest == expected:
            how = "exact"
        elif len(fingerprints.alike([fingerprints.fingerprint(content)], [picture])):
            how = "anew"
        chosen[path] = (read, digest, how)
    others = [path for path, (*_, how) in chosen.items() if how == "other"]
    taken = {digest for _, digest, how in chosen.values() if how != "other"}
    if any(path in manifest for path in others):  # the numbers are not Kaggle's
        rest = {path: manifest[path] for path in [*others, *missing] if path in manifest}
        found = search_photos(photos, rest, taken)
        chosen |= found
        taken |= {digest for _, digest, _ in found.values()}
    for path in others:
        _, digest, how = chosen[path]
        if how == "other" and digest in taken:  # no picture twice, least of all in both sets
            missing[path] = "the same picture as another one"
            del chosen[path]
        taken.add(digest)
    return (
        {path: chosen[path] for path in wanted if path in chosen},
        {path: reason for path, reason in missing.items() if path not in chosen},
    )


def search_photos(photos, wanted, taken):
    """Search all of an archive's photos for pictures, whatever their numbers.

    photos: {(class, number): [(name, read), ...]}. wanted: {path: its manifest entry}.
    taken: digests of photos already chosen. Returns {path: (read, digest, how)}.
    """
    readers, prints = {}, []
    for _, read in cli.progress([*itertools.chain(*photos.values())], "Searching photos"):
        content = read()
        digest = hashlib.sha256(content).hexdigest()
        if digest not in taken and digest not in readers and not files.photo_problem(content):
            readers[digest] = read
            prints.append(fingerprints.fingerprint(content))
    found = {
        path: (readers[digest], digest, "exact")
        for path, (digest, _) in wanted.items()
        if digest in readers
    }
    taken = {digest for _, digest, _ in found.values()}
    paths, digests = list(wanted), list(readers)
    for here, there in fingerprints.alike([picture for _, picture in wanted.values()], prints):
        path, digest = paths[here], digests[there]
        if path not in found and digest not in taken:
            found[path] = (readers[digest], digest, "anew")
            taken.add(digest)
    return found


def install(output):
    """Move a complete replacement into place, or finish doing so after an interruption."""
    ready = output / READY
    if not ready.exists():
        return
    for name in *SPLITS, "photos.json":
        if (ready / name).exists():
            shutil.rmtree(output / name, ignore_errors=True)
            (ready / name).rename(output / name)
    ready.rmdir()


def first_ten(names):
    """The first ten names, and how many more there are, for a message."""
    names = list(names)
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def archive_identity(archive):
    """What identifies an archive without reading it; None for a folder."""
    if not archive.is_file():
        return None
    return [str(archive.resolve()), *files.size_and_time(archive)]


def refuse_other_photos(output):
    """Raise InputError if train/ or validation/ hold files that this script did not put there."""
    try:
        ours = json.loads((output / "photos.json").read_text())["sha256"]
    except (OSError, ValueError, KeyError):
        ours = {}
    for split in SPLITS:
        for path in sorted((output / split).rglob("*")):
            name = path.relative_to(output).as_posix()
            if path.is_file() and ours.get(name) != files.sha256(path):
                raise InputError(
                    f"{path}: not from this script, and would be replaced; use the photos as they "
                    f"are, or move {output / split} away to make room"
                )


def prepare(source, output, manifest):
    """Fill `output` with the article's photos from `source`, an archive or a folder.

    Returns what it also writes to photos.json: where the photos come from, their
    digests, and how they compare with `manifest`. Raises InputError before anything
    is replaced.
    """
    files.make_writable_folder(output)
    install(output)
    refuse_other_photos(output)
    work = output / ".partial"
    shutil.rmtree(work, ignore_errors=True)
    new = work / "new"
    new.mkdir(parents=True)
    try:
        with open_archive(source, work) as members:
            chosen, missing = choose_photos(source, members, manifest)
            # Microsoft's archive is known to hold a few empty files; the others are complete.
            if missing and not any(map(MICROSOFT_NAME.search, members)):
                raise InputError(
                    f"{source}: {len(missing)} of the article's photos can't be had from it: "
                    + first_ten(f"{path} ({reason})" for path, reason in missing.items())
                )
            folders = {path.rsplit("/", 1)[0] for path in chosen}
            if len(folders) < len(SPLITS) * len(CLASSES):
                raise InputError(f"{source}: no photos for some class; is the archive complete?")
            for path, (read, *_) in cli.progress(chosen.items(), "Writing photos"):
                (new / path).parent.mkdir(parents=True, exist_ok=True)
                (new / path).write_bytes(read())
        count = collections.Counter(how for *_, how in chosen.values())
        report = {
            "source": source.name,
            "archive": archive_identity(source),
            "photos": len(chosen),
            "exact": count["exact"],
            "encoded_anew": count["anew"],
            "others": [path for path, (*_, how) in chosen.items() if how == "other"],
            "missing": missing,
            "sha256": {path: digest for path, (_, digest, _) in chosen.items()},
        }
        files.write_json(new / "photos.json", report)
        new.rename(output / READY)  # from here on, it can only be completed
    finally:
        shutil.rmtree(work, ignore_errors=True)
    install(output)
    return report


def print_summary(report, output, expected):
    """Print what is in `output` now. expected: the number of the article's photos."""
    print(f"{output}: {report['photos']:,} photos from {report['source']}.")
    exact, anew, others = report["exact"], report["encoded_anew"], report["others"]
    if exact == expected:
        print("These are exactly the photos behind the README's numbers.")
        return
    how = "" if not anew else ", encoded anew" if not exact else f", {anew:,} of them encoded anew"
    print(f"{exact + anew:,} of the article's {expected:,} pictures{how}.")
    if missing := report["missing"]:
        print(f"Missing: {first_ten(f'{path} ({why})' for path, why in missing.items())}.")
    if others:
        print(
            f"{len(others):,} are other pictures, so don't compare your results with the "
            f"article's: {first_ten(others)}."
        )
        if any(path.startswith("validation/cats/cat.2") for path in others):
            print("Google's archive: the article's training photos, but other validation photos.")
    print(f"All names: {output / 'photos.json'}")


def parse(argv=None):
    """The command line's options, or those of `argv`."""
    parser = cli.ArgumentParser(__doc__)
    parser.add_argument("archive", type=cli.path, nargs="?", metavar="ARCHIVE")
    parser.add_argument(
        "--output",
        type=cli.path,
        default=files.ROOT / "data",
        metavar="FOLDER",
        help="folder to fill (default: data)",
    )
    return parser.parse_args(argv)


def main(arguments):
    """Run the script with the options that parse() returned."""
    archive, output, manifest = arguments.archive, arguments.output, fingerprints.read_manifest()
    install(output)
    if all(any((output / split).glob("*/*")) for split in SPLITS):
        try:
            report = json.loads((output / "photos.json").read_text())
            if archive is None or archive_identity(archive) == report.get("archive", archive):
                print_summary(report, output, len(manifest))
                return
        except (OSError, ValueError, KeyError):
            if archive is None:
                print(f"{output}: photos that are not from this script; using them as they are.")
                return
    if archive is None:
        refuse_other_photos(output)  # before a long download
        files.make_writable_folder(output)
        archive = output / MICROSOFT.rsplit("/", 1)[1]
        if not archive.exists():
            download(MICROSOFT, archive)
    print_summary(prepare(archive, output, manifest), output, len(manifest))


if __name__ == "__main__":
    cli.run(lambda: main(parse()))
