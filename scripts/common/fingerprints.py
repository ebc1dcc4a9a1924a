"""Which pictures these are: digests of their bytes, and fingerprints of what they show.

The fingerprint is pHash with 16 × 16 coefficients instead of 8 × 8: whether each of the lowest
frequencies of a small grey picture exceeds their median. A picture encoded again or scaled keeps
nearly all of its 256 bits; unrelated pictures share about half.
Source: Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010).

The article's pictures are listed in data/manifest.sha256 and data/manifest.phash.
"""

import functools
import hashlib
import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from common import cli, files

MANIFEST = files.ROOT / "data" / "manifest.sha256"
FINGERPRINTS = files.ROOT / "data" / "manifest.phash"

SIDE, COEFFICIENTS = 32, 16  # pixels of the small picture; frequencies per axis
# Bits in which one picture's fingerprints may differ. Among the article's 2,800 photos, none
# differs in more than 36 from itself at 0.5 to 1.5 times its size and JPEG quality 70 to 90, and
# no two different ones in fewer than 86.
ALIKE = 50
PLAIN = 2  # grey levels; with a smaller standard deviation, noise would decide
ENOUGH = 0.99  # of the article's training photos; Microsoft's archive lacks one


def fingerprint(content):
    """The fingerprint of a picture file's bytes: uint8 of shape (32,), 256 bits.

    Of the picture as a person sees it, turned as EXIF says. None if it can't be read or has too
    little contrast.
    """
    try:
        picture = files.open_picture(content)
        turn = files.turn_of(picture)
        picture.draft("L", (2 * SIDE, 2 * SIDE))  # decodes a JPEG at a small size
        small = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
        small = small if turn is None else small.transpose(turn)
    except Exception:  # broken files make Pillow raise nearly anything
        return None
    brightness = np.asarray(small, float)
    if np.std(brightness) < PLAIN:
        return None
    waves = dctn(brightness, norm="ortho")[:COEFFICIENTS, :COEFFICIENTS]
    return np.packbits(waves > np.median(waves))


def fingerprints(paths, digests=None):
    """Each photo's fingerprint() as a list.

    digests: SHA-256 of the photos' bytes, if known: the article's photos need not be read.
    """
    known = {digest: found for digest, found in read_manifest().values()} if digests else {}

    def look(path, digest):
        try:
            return known[digest] if digest in known else fingerprint(Path(path).read_bytes())
        except OSError:
            return None

    with ThreadPoolExecutor() as threads:
        found = threads.map(look, paths, digests or itertools.repeat(None))
        return list(cli.progress(found, "Comparing photos", len(paths)))


def alike(some, others):
    """Index pairs (of some, of others) of the same picture, as an array of shape (pairs, 2).

    some, others: lists of fingerprints; None is like no other.
    """
    (some, rows), (others, columns) = map(_signs, (some, others))
    pairs = [np.empty((0, 2), int)]
    for start in range(0, len(some), 1000):  # 1,000 × 20,000 products are 80 MB
        agreement = some[start : start + 1000] @ others.T  # equal bits minus different ones
        found = np.argwhere(agreement >= COEFFICIENTS**2 - 2 * ALIKE)
        pairs.append(np.stack([rows[found[:, 0] + start], columns[found[:, 1]]], axis=1))
    return np.concatenate(pairs)


def _signs(prints):
    """Their bits as -1 and 1, float32 of shape (photos, 256), and the photos' indices."""
    there = np.array([n for n, found in enumerate(prints) if found is not None], int)
    bits = np.array([prints[n] for n in there], np.uint8).reshape(-1, COEFFICIENTS**2 // 8)
    return np.unpackbits(bits, axis=1).astype(np.float32) * 2 - 1, there


def are_of_the_article(paths):
    """Whether these are pictures of the article's, by 20 of them."""
    some = fingerprints(paths[:: max(1, len(paths) // 20)])
    known = [fingerprint for _, fingerprint in read_manifest().values()]
    return 0 < len(some) == len({*alike(some, known)[:, 0]})


def name_pairs(pairs):
    """The first of these pairs of photos that are alike, for a message."""
    named = [f"{one} = {other}" for one, other in pairs]
    return ", ".join(named[:3] + ["..."] * (len(named) > 3))


def groups(prints):
    """Each photo's group number, shape (photos,). A group is one picture, also through others.

    prints: what fingerprints() returned.
    """
    rows, columns = alike(prints, prints).T
    same = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(prints),) * 2)
    return connected_components(same, directed=False)[1]


def keep_together(fold_of, prints):
    """The folds, changed so that photos that show the same picture are in that of the first.

    fold_of: each photo's fold number, shape (photos,). prints: what fingerprints() returned.
    Returns the folds, and how many pictures there are.
    """
    _, first, group = np.unique(groups(prints), return_index=True, return_inverse=True)
    return fold_of[first][group], len(first)


def describe(names, digests):
    """What a record says of any photos: how many, and their data_set_digest()."""
    return {"photos": len(names), "sha256": data_set_digest(names, digests)}


def describe_photos(photos):
    """What a record says of the photos, and which validation photos show a training photo.

    photos: {"train": (names, paths, digests), "validation": ...}; names as in
    data_set_digest(). Returns a dict and a list of pairs of names (validation, training). The
    dict has per split the number of "photos" and their "sha256"; "articles", the number of the
    article's pictures per split, unless 0; and "duplicates", the length of the list, unless 0.
    """
    manifest = read_manifest()
    description, prints, counts = {}, {}, {}
    for split, (names, paths, digests) in photos.items():
        description[split] = describe(names, digests)
        prints[split] = fingerprints(paths, digests)
        articles = photo_names(manifest, split)
        pairs = alike(prints[split], [manifest[f"{split}/{name}"][1] for name in articles])
        same_class = [
            names[here].split("/")[0] == articles[there].split("/")[0] for here, there in pairs
        ]
        # Neither copies of a photo nor photos like several of the article's count twice.
        counts[split] = min(len(np.unique(side)) for side in pairs[same_class].T)
    if any(counts.values()):
        description["articles"] = counts
    pairs = dict(alike(prints["validation"], prints["train"]))  # of several, one
    if pairs:
        description["duplicates"] = len(pairs)
    (tested, *_), (trained, *_) = photos["validation"], photos["train"]
    return description, [(tested[here], trained[there]) for here, there in pairs.items()]


def are_the_articles(data, manifest):
    """Whether the photos that describe_photos() described are the article's.

    Returns "exactly" for the very files; "encoded anew" for the same pictures in other files,
    of which a few training photos may be missing; else None.
    """
    photos = {split: data[split]["photos"] for split in ("train", "validation")}
    if all(data[split]["sha256"] == manifest_digest(manifest, split) for split in photos):
        return "exactly"
    train, validation = (len(photo_names(manifest, split)) for split in photos)
    whole = photos["validation"] == validation and photos["train"] >= ENOUGH * train
    return "encoded anew" if whole and data.get("articles") == photos else None


def data_set_digest(names, digests):
    """One SHA-256 for a set of photos: that of its sorted sha256sum listing.

    names: paths below the train or validation folder, such as `cats/cat.0.jpg`.
    digests: SHA-256 of each of these files, in hexadecimal.
    """
    lines = sorted(zip(names, digests, strict=True))
    listing = "".join(f"{digest}  {name}\n" for name, digest in lines)
    return hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()


@functools.cache
def read_manifest():
    """The article's photos: {path below data/: (SHA-256 in hexadecimal, fingerprint)}."""
    digests, prints = _listing(MANIFEST), _listing(FINGERPRINTS)
    return {
        name: (digest, np.frombuffer(bytes.fromhex(prints[name]), np.uint8))
        for name, digest in digests.items()
    }


def _listing(path):
    """{path: hexadecimal number} from a file in sha256sum's format."""
    lines = (line.split("  ", 1) for line in path.read_text().splitlines())
    return {name: number for number, name in lines}


def photo_names(manifest, split):
    """The names of the "train" or "validation" photos, in Keras's order."""
    prefix = f"{split}/"
    return sorted(name.removeprefix(prefix) for name in manifest if name.startswith(prefix))


def manifest_digest(manifest, split):
    """data_set_digest() of the manifest's "train" or "validation" photos."""
    names = photo_names(manifest, split)
    return data_set_digest(names, [manifest[f"{split}/{name}"][0] for name in names])


def write_fingerprints(data):
    """Rewrite data/manifest.phash from the article's photos in the folder `data`."""
    lines = (
        f"{fingerprint((data / name).read_bytes()).tobytes().hex()}  {name}\n"
        for name in _listing(MANIFEST)
    )
    FINGERPRINTS.write_text("".join(lines))
