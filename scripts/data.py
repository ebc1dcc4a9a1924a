"""Fill data/train/{cats,dogs} and data/validation/{cats,dogs} with the article's photos.

The article's training photos are Kaggle's cat.0.jpg to cat.999.jpg and dog.0.jpg to
dog.999.jpg, its validation photos the 400 after them. ARCHIVE is what you have of:

  dogs-vs-cats.zip            Kaggle's, with train.zip inside
  train.zip                   Kaggle's
  kagglecatsanddogs_5340.zip  Microsoft's, the same pictures, encoded anew
  cats_and_dogs_filtered.zip  Google's, with other validation photos
  a folder                    one of these, unpacked

Without ARCHIVE, photos that are there stay; else Microsoft's is downloaded (825 MB), and an
interrupted download resumes where it stopped. The photos are taken by their numbers and
compared with those behind the README's numbers, by content and by what they show; where the
numbers are others, the pictures are searched. The differences are named.
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
READY = ".replacement"  # a folder in data/: photos and photos.json, whole, on their way in

CLASSES = {"cat": "cats", "dog": "dogs"}
TRAIN = range(1000)  # "we just took the first 1000 images for each class"
VALIDATION = range(1000, 1400)  # "400 additional samples from each class"
GOOGLE_VALIDATION = range(2000, 2400)  # the first 400 of the 500 in Google's archive

KAGGLE_NAME = re.compile(r"(?:^|/)(cat|dog)\.(\d{1,5})\.jpe?g$", re.IGNORECASE)
MICROSOFT_NAME = re.compile(r"(?:^|/)PetImages/(cat|dog)/(\d{1,5})\.jpe?g$", re.IGNORECASE)

LARGEST_PHOTO = 10 * 2**20  # bytes; those of Kaggle have 0.02 MB on average
LARGEST_TRAIN_ZIP = 2 * 2**30  # bytes; Kaggle's has 0.57 GB


def download(url, path):
    """Download `url` to `path`, with a progress bar, going on from `path`.part if it exists."""
    part = path.with_name(path.name + ".part")
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            resumed = answer.status == 206
            start = start if resumed else 0
            total = start + int(answer.headers["Content-Length"])
            with (
                open(part, "ab" if resumed else "wb") as file,
                tqdm(
                    desc=path.name, initial=start, total=total, unit="B", unit_scale=True
                ) as progress,
            ):
                while block := answer.read(2**16):
                    file.write(block)
                    progress.update(len(block))
    except urllib.error.HTTPError as error:
        # "Range not satisfiable": the part is complete already, or longer than the file.
        if error.code == 416 and error.headers["Content-Range"] == f"bytes */{start}":
            total = start
        else:
            raise InputError(
                f"{url}: the server answers {error.code} {error.reason}; delete {part} if there "
                "is one, or get the archive by other means: make data ARCHIVE=FILE"
            ) from error
    # no network, no Content-Length, a connection that breaks off, ...
    except (OSError, TypeError, ValueError, http.client.HTTPException) as error:
        raise InputError(
            f"{url}: can't download ({error}); run again to go on, or get the archive by "
            "other means: make data ARCHIVE=FILE"
        ) from error
    if part.stat().st_size != total:
        raise InputError(f"{url}: the download stopped early; run again to go on")
    part.rename(path)


@contextlib.contextmanager
def members(source, work):
    """Yield {path inside: function that returns its bytes} of a zip archive or a folder.

    work: a folder for a train.zip found inside. Raises InputError for archives that are
    broken, encrypted or hostile.
    """
    if source.is_dir():
        paths = sorted(path for path in source.rglob("*") if path.is_file())
        inside = {path.relative_to(source).as_posix(): path.read_bytes for path in paths}
        inner = [path for path in paths if path.name == "train.zip"]
        if inner and not any(class_and_number(name) for name in inside):
            with members(inner[0], work) as inside:
                yield inside
        else:
            yield inside
        return
    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    try:
        with zipfile.ZipFile(source) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            for info in infos:
                check_member(source, info)
            inner = [info for info in infos if PurePosixPath(info.filename).name == "train.zip"]
            if inner:
                unpacked = work / "train.zip"
                with archive.open(inner[0]) as packed, open(unpacked, "wb") as file:
                    shutil.copyfileobj(packed, file, 2**20)
                try:
                    with members(unpacked, work) as inside:
                        yield inside
                except InputError as error:  # the copy is gone by the time that it is read
                    message = str(error).replace(str(unpacked), f"train.zip in {source}")
                    raise InputError(message) from error
            else:
                yield {info.filename: lambda info=info: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise InputError(
            f"{source}: not a whole zip archive ({error}); delete it and get it again"
        ) from error


def check_member(source, info):
    """Raise InputError where a zip archive's member is not one that an honest archive has."""
    name = info.filename
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise InputError(f"{source}: refused, its member {name!r} climbs out of the archive")
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


def wanted(photos):
    """{path below data/: (class, number)} of the article's photos, as far as `photos` has them.

    photos: {(class, number): ...}. Google's archive has other validation photos.
    """
    google = not any((c, n) in photos for c in CLASSES for n in VALIDATION) and any(
        (c, n) in photos for c in CLASSES for n in GOOGLE_VALIDATION
    )
    numbers_of = {"train": TRAIN, "validation": GOOGLE_VALIDATION if google else VALIDATION}
    return {
        f"{split}/{folder}/{name}.{number}.jpg": (name, number)
        for split, numbers in numbers_of.items()
        for name, folder in CLASSES.items()
        for number in numbers
    }


def choose(source, inside, manifest):
    """Choose the article's photos among the members of an archive.

    inside: what members() yields. manifest: as fingerprints.read_manifest() returns it.
    Returns (chosen, missing): {path below data/: (function, SHA-256, how)}, where how is
    "exact", "anew" for the same picture in another file, or "other"; and
    {path below data/: reason}. Raises InputError where the archive is not of a known layout.
    """
    photos = {}
    for name, read in inside.items():
        if key := class_and_number(name):
            photos.setdefault(key, []).append((name, read))
    if not photos:
        raise InputError(
            f"{source}: no cats and dogs of Kaggle's, Microsoft's or Google's archive in there "
            "(train/cat.0.jpg, PetImages/Cat/0.jpg, ...)"
        )
    paths = wanted(photos)
    found, missing, others = {}, {}, {}
    for path, key in tqdm(
        paths.items(), desc="Comparing photos", unit="photo", leave=False, disable=None
    ):
        if key not in photos:
            missing[path] = "not there"
            continue
        name, read = photos[key][0]
        content = read()
        problem = files.photo_problem(content)
        if problem:
            missing[path] = f"{name}: {problem}"
            continue
        digest = hashlib.sha256(content).hexdigest()
        how = compare(content, digest, manifest[path]) if path in manifest else "other"
        (others if how == "other" else found)[path] = (read, digest, how)
    # Where the numbers are not Kaggle's, all the archive is looked through.
    if any(path in manifest for path in others):
        wanted_still = {path: manifest[path] for path in {**others, **missing} if path in manifest}
        found |= search(photos, wanted_still, {digest for _, digest, _ in found.values()})
    chosen, taken = dict(found), {digest for _, digest, _ in found.values()}
    for path, other in others.items():
        if path in found:
            continue
        if other[1] in taken:  # no picture twice, least of all in both sets
            missing[path] = "the same picture as another one"
        else:
            chosen[path] = other
            taken.add(other[1])
    return (
        {path: chosen[path] for path in paths if path in chosen},
        {path: reason for path, reason in missing.items() if path not in chosen},
    )


def compare(content, digest, listed):
    """How a photo compares with the manifest's: "exact", "anew" (encoded anew), or "other"."""
    expected, picture = listed
    if digest == expected:
        return "exact"
    same = fingerprints.alike([fingerprints.fingerprint(content)], [picture])
    return "anew" if len(same) else "other"


def search(photos, wanted, taken):
    """Look for pictures among all of an archive's photos, whatever their numbers.

    photos: {(class, number): [(name, read), ...]}. wanted: {path: what the manifest says}.
    taken: digests of photos that are chosen already. Returns {path: (read, digest, how)}.
    """
    by_digest, prints = {}, []
    for _, read in tqdm(
        list(itertools.chain.from_iterable(photos.values())),
        desc="Searching photos",
        unit="photo",
        leave=False,
        disable=None,
    ):
        content = read()
        digest = hashlib.sha256(content).hexdigest()
        if digest not in taken and digest not in by_digest and not files.photo_problem(content):
            by_digest[digest] = read
            prints.append(fingerprints.fingerprint(content))
    digests, found = list(by_digest), {}
    for path, (digest, _) in wanted.items():
        if digest in by_digest:
            found[path] = (by_digest[digest], digest, "exact")
    taken = {digest for _, digest, _ in found.values()}
    rest = [path for path in wanted if path not in found]
    for here, there in fingerprints.alike([wanted[path][1] for path in rest], prints):
        path, digest = rest[here], digests[there]
        if path not in found and digest not in taken:
            found[path] = (by_digest[digest], digest, "anew")
            taken.add(digest)
    return found


def install(output):
    """Put a replacement that is complete in place. Interrupted, it is taken up by the next start.

    Returns whether there was one.
    """
    ready = output / READY
    if not ready.exists():
        return False
    for split in SPLITS:
        if (ready / split).exists():
            shutil.rmtree(output / split, ignore_errors=True)
            (ready / split).rename(output / split)
    if (ready / "photos.json").exists():
        (ready / "photos.json").rename(output / "photos.json")
    ready.rmdir()
    return True


def few(names):
    """The first of many names, for a message."""
    names = list(names)
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def identity(archive):
    """What tells one archive from another without reading it; None for a folder."""
    if not archive.is_file():
        return None
    status = archive.stat()
    return [str(archive.resolve()), status.st_size, status.st_mtime_ns]


def refuse_others_photos(output):
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
    refuse_others_photos(output)
    work = output / ".partial"
    shutil.rmtree(work, ignore_errors=True)
    (work / "new").mkdir(parents=True)
    try:
        with members(source, work) as inside:
            chosen, missing = choose(source, inside, manifest)
            # Microsoft's archive is known to hold a few empty files; the others are whole.
            if missing and not any(MICROSOFT_NAME.search(name) for name in inside):
                raise InputError(
                    f"{source}: {len(missing)} of the article's photos can't be had from it: "
                    + few(f"{path} ({reason})" for path, reason in missing.items())
                )
            folders = {path.rsplit("/", 1)[0] for path in chosen}
            if folders != {path.rsplit("/", 1)[0] for path in manifest}:
                raise InputError(f"{source}: no photos for some class; is the archive whole?")
            for path, (read, *_) in tqdm(
                chosen.items(), desc="Writing photos", unit="photo", leave=False, disable=None
            ):
                (work / "new" / path).parent.mkdir(parents=True, exist_ok=True)
                (work / "new" / path).write_bytes(read())
        how = collections.Counter(how for *_, how in chosen.values())
        report = {
            "source": source.name,
            "archive": identity(source),
            "photos": len(chosen),
            "exact": how["exact"],
            "encoded_anew": how["anew"],
            "others": [path for path, (*_, how) in chosen.items() if how == "other"],
            "missing": missing,
            "sha256": {path: digest for path, (_, digest, _) in chosen.items()},
        }
        files.write_json(work / "new" / "photos.json", report)
        (work / "new").rename(output / READY)  # from here on, it can only be completed
    finally:
        shutil.rmtree(work, ignore_errors=True)
    install(output)
    return report


def tell(report, output, listed):
    """Say in a few lines what is in `output` now. listed: how many photos the article has."""
    print(f"{output}: {report['photos']:,} photos from {report['source']}.")
    exact, anew, others = report["exact"], report["encoded_anew"], report["others"]
    missing = few(f"{path} ({reason})" for path, reason in report["missing"].items())
    if exact == listed:
        print("These are exactly the photos behind the README's numbers.")
        return
    how = "" if not anew else ", encoded anew" if not exact else f", {anew:,} of them encoded anew"
    print(f"{exact + anew:,} of the article's {listed:,} pictures{how}.")
    if missing:
        print(f"Left out: {missing}.")
    if others:
        print(
            f"{len(others):,} are other pictures, so the article's numbers are no measure for "
            f"yours: {few(others)}."
        )
        if any(path.startswith("validation/cats/cat.2") for path in others):
            print("Google's archive: the training photos are the article's, the others not.")
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
            if archive is None or identity(archive) == report.get("archive", archive):
                tell(report, output, len(manifest))
                return
        except (OSError, ValueError, KeyError):
            if archive is None:
                print(f"{output}: photos that are not from this script; they are used as they are.")
                return
    refuse_others_photos(output)  # before a long download
    if archive is None:
        files.make_writable_folder(output)
        archive = output / MICROSOFT.rsplit("/", 1)[1]
        if not archive.exists():
            download(MICROSOFT, archive)
    tell(prepare(archive, output, manifest), output, len(manifest))


if __name__ == "__main__":
    cli.run(lambda: main(parse()))
