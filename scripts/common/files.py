"""Files that are written whole or not at all, and photos that can be decoded."""

import contextlib
import errno
import fcntl
import hashlib
import io
import itertools
import json
import os
import re
import stat
import sys
import tempfile
import unicodedata
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from common import cli
from common.cli import InputError

ROOT = Path(__file__).resolve().parents[2]  # of the repository

# What Keras's flow_from_directory takes for photos, and what else phones and the web give.
PHOTO_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".tif", ".tiff")
PHOTO_ENDINGS += (".webp", ".avif", ".jfif", ".heic", ".heif")
# What a photo may be inside, of all that Pillow knows: it hands PostScript to another program.
FORMATS = ("JPEG", "PNG", "BMP", "PPM", "TIFF", "GIF", "WEBP", "AVIF", "JPEG2000")
with contextlib.suppress(ImportError):  # not on every machine
    import pillow_heif

    pillow_heif.register_heif_opener()
    FORMATS += ("HEIF",)
# The photo is whole, and which one it is Pillow does not say.
warnings.filterwarnings("ignore", "Corrupt EXIF data", UserWarning)
PLOTTED = "Matplotlib"  # in a comment of the pictures that plots.py saves

# How files begin that are named like photos but are not, and what to do about them.
NO_PHOTOS = {
    rb"version https://git-lfs": "a pointer of Git LFS, not the photo; `git lfs pull` gets that",
    rb"(\xef\xbb\xbf)?\s*<(!doctype )?html": "a web page, not the photo; download that",
    rb"(\xef\xbb\xbf)?\s*<(\?xml|svg)": "a drawing in SVG, or XML; save it as PNG",
    rb"%PDF-": "a PDF document; save its pictures as photos",
    rb"....ftyp(isom|mp4|avc1|qt  |M4V|3gp)": "a video; save frames of it as photos",
}
if "HEIF" not in FORMATS:
    NO_PHOTOS[rb"....ftyp(hei|hev|mif1|msf1)"] = (
        "HEIC, which needs the package pillow-heif; run `.venv/bin/pip install pillow-heif`"
    )

# How a photo is to be turned, by the number that its camera notes in EXIF, for transpose().
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Folders of copies and thumbnails that are put beside photos: by Synology and QNAP, macOS,
# Windows, ext4, GoodSync, ACDSee, Capture One; and, by their endings, by Lightroom and Photos.
OF_SYSTEMS = {
    *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "__macosx"),
    *("$recycle.bin", "recycler", "system volume information", "lost+found"),
    *("_gsdata_", "[originals]", "captureone", "thumbnails"),
}
ENDINGS_OF_SYSTEMS = (".lrdata", ".lrlibrary", ".photoslibrary")


def is_the_persons(name):
    """Whether a file or folder of that name is a person's, neither hidden nor a system's."""
    lower = name.lower()
    return not lower.startswith(".") and not (
        lower in OF_SYSTEMS or lower.endswith(ENDINGS_OF_SYSTEMS)
    )


def class_folders(folder):
    """The subfolders, sorted by name, without hidden ones and those of systems."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and is_the_persons(path.name))


def has_photos(folder):
    """Whether there are photos in the folder itself, whatever its subfolders hold."""
    return any(is_photo(path.name) and not path.is_dir() for path in folder.iterdir())


def is_photo(name):
    """Whether a file of that name is a photo: it has such an ending, and is not hidden."""
    return name[0] != "." and name.lower().endswith(PHOTO_ENDINGS)


def photos_below(folder, quiet=False):
    """Paths of the photos in a folder and its subfolders, in Keras's order.

    Files without a photo's ending (in upper or lower case) are skipped, and so are pipes and
    devices and the folders of systems; they are counted on standard error unless `quiet`. Ignores
    hidden files and folders, and links to folders. A folder that can't be read is listed, too, as
    if it were a photo, so that whoever reads the photos names it.
    """
    paths, unread, systems = [], [], 0
    for parent, subfolders, names in os.walk(folder, onerror=unread.append):
        visible = [name for name in subfolders if name[0] != "."]
        subfolders[:] = filter(is_the_persons, visible)  # where to go on
        systems += len(visible) - len(subfolders)
        paths += [(parent, name) for name in names if name[0] != "."]
    photos = [Path(*path) for path in sorted(paths) if is_photo(path[1])]
    photos = [path for path in photos if not is_odd(path)]
    if not quiet and (skipped := len(paths) - len(photos)):
        endings = ", ".join(PHOTO_ENDINGS)
        print(f"{folder}: skipped {skipped} files that are no photos ({endings})", file=sys.stderr)
    if not quiet and systems:
        print(f"{folder}: skipped {systems} folders of thumbnails and the like", file=sys.stderr)
    return photos + [Path(error.filename) for error in unread]


def photos_of_classes(folder, quiet=False):
    """photos_below() of each class folder, also where that is a link."""
    return [path for of_class in class_folders(folder) for path in photos_below(of_class, quiet)]


def refuse_folders(paths):
    """Raise InputError if one of what photos_below() returned is a folder that can't be read."""
    for path in paths:
        if path.is_dir():
            raise InputError(f"{path}: can't be read; make it readable, or remove it")


def same_form(name):
    """The name in Unicode's composed form: macOS writes é as two characters, others as one."""
    return unicodedata.normalize("NFC", name)


def is_plotted(path):
    """Whether this is a picture that plots.py saved."""
    try:
        about = Image.open(path).info
    except OSError:
        return False
    return PLOTTED in f"{about.get('comment')} {about.get('Software')}"


def size_and_time(path):
    """What changes with a file's content, without reading it; None if there is no such file."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def is_odd(path):
    """Whether this is a pipe, a device or the like, which may block whoever reads it."""
    try:
        mode = path.stat().st_mode
    except OSError:  # whoever reads it says why
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def open_picture(content, upright=False):
    """A picture from its file's bytes, as Pillow has it, with 8 bits per channel.

    Of 16 bits of grey the upper 8, where Pillow would clip them to white. upright: turned as
    its camera noted; else as it is stored. Raises what Pillow raises, also for formats that are
    not FORMATS, and ValueError for pixels of unknown range.
    """
    picture = Image.open(io.BytesIO(content), formats=FORMATS)
    if picture.mode == "F" or (picture.mode == "I" and picture.format != "PPM"):
        raise ValueError("32 bits per pixel, whose range is unknown")
    if picture.mode[0] == "I":  # I;16, or a .ppm of 16 bits
        import numpy as np  # not above: --help does without

        about = picture.info
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
        picture.info = about
    turn = turn_of(picture) if upright else None
    return picture if turn is None else picture.transpose(turn)


def turn_of(picture):
    """One of TURNS, by which a picture comes upright; None if it is."""
    if picture.format == "TIFF":  # which Pillow turns by itself
        return None
    try:
        return TURNS.get(picture.getexif().get(0x0112))
    except Exception:  # broken notes make Pillow raise nearly anything, and the picture is whole
        return None


@contextlib.contextmanager
def replacing(path):
    """Yield a temporary path beside `path`; on success, it replaces `path`.

    Whatever stops the writer, `path` is then the whole old file or the whole new one. The
    temporary name keeps the ending, because Keras insists on `.weights.h5`. Raises InputError
    if the file can't be written.
    """
    odd = is_odd(Path(path))  # /dev/stdout, say, which would be replaced by a file
    path = Path(os.path.realpath(path))  # a link stays one
    temporary = path if odd else path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield temporary
        if not odd:
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: can't be written ({error.strerror or error})") from error
    finally:
        if not odd:
            temporary.unlink(missing_ok=True)


def write_json(path, value):
    """Write `value` as indented JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n")


def make_writable_folder(folder):
    """Create `folder` if need be. Raises InputError if it can't be written to.

    Better now than after fifty epochs.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(
            f"{folder}: can't write there ({error.strerror}); "
            "make it writable or name another folder"
        ) from error


def check_output(path):
    """Raise InputError if a file can't be written there; better now than after the work."""
    make_writable_folder(path.parent)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file in it")


def sha256(path):
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _decode(number, content):
    open_picture(content).load()


def photo_problem(content, decode=_decode, number=0):
    """Why these bytes can't be decoded as a picture, or None if they can.

    decode: a function of the photo's number and its bytes that raises if it can't.
    """
    try:
        decode(number, content)
    # Broken files make Pillow raise nearly anything: OSError, SyntaxError, ValueError, ...
    except Exception as error:
        if not content:
            return "the file is empty"
        if isinstance(error, Image.UnidentifiedImageError):
            return _what_it_is(content)
        return " ".join(str(error).split()) or type(error).__name__
    return None


def _what_it_is(content):
    for beginning, told in NO_PHOTOS.items():
        if re.match(beginning, content[:100], re.IGNORECASE | re.DOTALL):
            return told
    return "the file is not a picture"


def look_at(path, decode=_decode, number=0):
    """The SHA-256 of a photo's bytes, and what is wrong with it, see photo_problem()."""
    if is_odd(Path(path)):
        return None, "not a regular file"
    try:
        content = Path(path).read_bytes()
    except OSError as error:  # no permission, a link to nowhere or to itself, ...
        return None, error.strerror
    return hashlib.sha256(content).hexdigest(), photo_problem(content, decode, number)


def look_at_all(paths, decode=_decode):
    """look_at() of each photo, in the order of `paths`."""
    with ThreadPoolExecutor() as threads:
        looked = threads.map(look_at, paths, itertools.repeat(decode), range(len(paths)))
        return list(cli.progress(looked, "Checking photos", len(paths)))


def refuse_broken(paths, looked):
    """The photos' digests from what look_at_all() returned.

    A broken photo stops the run here and not in the middle of an epoch: raises InputError, and
    names each of them, on standard error if there are several.
    """
    broken = []
    for path, (_, problem) in zip(paths, looked, strict=True):
        if problem:
            # Of a link, the photo it leads to: that one needs repair.
            target = Path(path).readlink() if Path(path).is_symlink() else Path(path)
            named = target if target.is_absolute() and os.path.lexists(target) else path
            broken.append(f"{named}: can't be read ({problem})")
    if len(broken) == 1:
        raise InputError(f"{broken[0]}; repair or remove it before training")
    if broken:
        print(*broken, sep="\n", file=sys.stderr)
        raise InputError(
            f"these {len(broken)} of {len(paths)} photos can't be read; repair or remove them "
            "before training"
        )
    return [digest for digest, _ in looked]


def photo_digests(paths, decode=_decode):
    """SHA-256 of every photo's bytes, in the order of `paths`, see refuse_broken()."""
    return refuse_broken(paths, look_at_all(paths, decode))


def lock(file, or_fail=False):
    """Lock an open file until it is closed, for one writer at a time.

    or_fail: raise BlockingIOError where another process has it locked, instead of waiting. Where
    the file system has no locks, as some of NFS, says so and goes on without.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if or_fail else 0))
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        print(
            f"note: {file.name}: no locks on this file system; start one run at a time there",
            file=sys.stderr,
        )
