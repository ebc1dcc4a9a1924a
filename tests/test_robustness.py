"""Unusual photos, full disks, interruptions: what the README promises."""

import contextlib
import errno
import fcntl
import importlib.util
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import threading
import zlib
from io import BytesIO

import best
import bottleneck
import h5py
import numpy as np
import predict
import preview
import pytest
import scratch
import small
from common import (
    features,
    files,
    fingerprints,
    images,
    kernel,
    networks,
    parsers,
    recipes,
    records,
)
from common.cli import InputError
from conftest import POSTSCRIPT, SCRIPTS, SETTINGS, SMALL, example, full_disk
from PIL import Image


def encoded(picture, format, **options):
    """A picture file's bytes."""
    file = BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def decode(content, size=(20, 30)):
    """The photo as the networks' input."""
    record = {"image_size": size, "preprocessing": recipes.PREPROCESSING}
    return networks.decode(content, record)


def palette():
    picture = Image.new("P", (30, 20), 1)
    picture.putpalette([0, 0, 0, 200, 100, 50])
    return picture


# Each a plain area of one colour.
COLOUR, GREY = (200, 100, 50), (120, 120, 120)
RGB = Image.new("RGB", (30, 20), COLOUR)
GREY_16_BITS = Image.fromarray(np.full((20, 30), 120 * 257, np.uint16))
GIF = encoded(RGB, "GIF", save_all=True, append_images=[Image.new("RGB", (30, 20), "blue")])
PICTURES = {
    "JPEG": (encoded(RGB, "JPEG", quality=95), COLOUR),
    "CMYK JPEG": (encoded(RGB.convert("CMYK"), "JPEG", quality=95), COLOUR),
    "CMYK TIFF": (encoded(RGB.convert("CMYK"), "TIFF"), COLOUR),
    "grey JPEG": (encoded(Image.new("L", (30, 20), 120), "JPEG"), GREY),
    "grey PNG with transparency": (encoded(Image.new("LA", (30, 20), (120, 0)), "PNG"), GREY),
    "palette PNG": (encoded(palette(), "PNG"), COLOUR),
    "palette PNG with transparency": (encoded(palette(), "PNG", transparency=b"\0\x80"), COLOUR),
    "16-bit grey PNG": (encoded(GREY_16_BITS, "PNG"), GREY),
    "16-bit grey TIFF": (encoded(GREY_16_BITS, "TIFF"), GREY),
    "1-bit PNG": (encoded(Image.new("1", (30, 20), 1), "PNG"), (255, 255, 255)),
    "transparent PNG": (encoded(Image.new("RGBA", (30, 20), (*COLOUR, 0)), "PNG"), COLOUR),
    "animated GIF, the first frame": (GIF, COLOUR),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_every_kind_of_picture_has_its_colours(kind):
    content, colour = PICTURES[kind]
    photo = decode(content)
    assert photo.shape == (20, 30, 3) and photo.dtype == np.uint8
    np.testing.assert_allclose(photo, np.broadcast_to(colour, photo.shape), atol=3)


def test_pixels_of_unknown_range_are_refused():
    content = encoded(Image.fromarray(np.full((20, 30), 0.5, np.float32)), "TIFF")
    with pytest.raises(ValueError, match="32 bits per pixel"):
        decode(content)


def test_the_exif_rotation_is_ignored_as_in_2016():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    content = encoded(picture, "PNG", exif=exif)
    with Image.open(BytesIO(content)) as there:
        assert there.getexif()[0x0112] == 6
    np.testing.assert_array_equal(decode(content), np.asarray(picture))


TURNED = {  # a picture as a camera stores it for each number in its EXIF
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, 1),
    7: lambda p: np.rot90(p, 2).swapaxes(0, 1),
    8: lambda p: np.rot90(p, -1),
}


def turned(pixels, number, format="PNG", **options):
    """A file whose picture is `pixels` when it is turned as it says."""
    exif = Image.Exif()
    exif[0x0112] = number
    stored = Image.fromarray(np.ascontiguousarray(TURNED[number](pixels)))
    return encoded(stored, format, exif=exif, **options)


@pytest.mark.parametrize("number", TURNED)
@pytest.mark.parametrize("kind", ["colour", "grey", "16 bits", "WebP", "TIFF"])
def test_own_photos_are_upright(number, kind):
    """In best's preprocessing of own photos."""
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    format, options = "PNG", {}
    if kind == "grey":
        pixels = pixels[..., 0]
    elif kind == "16 bits":
        pixels = pixels[..., 0].astype(np.uint16) * 256
    elif kind in ("WebP", "TIFF"):
        format, options = kind.upper(), {"lossless": True} if kind == "WebP" else {}
    content = turned(pixels, number, format, **options)
    preprocessing = {**kernel.PREPROCESSING, "upright": True}
    record = {"image_size": (20, 30), "preprocessing": preprocessing}
    expected = pixels >> 8 if kind == "16 bits" else pixels
    expected = expected if expected.ndim == 3 else np.stack([expected] * 3, axis=-1)
    np.testing.assert_array_equal(networks.decode(content, record), expected)
    assert networks.show(content, record, 30).shape == (20, 30, 3)
    fingerprint = fingerprints.fingerprint(encoded(Image.fromarray(pixels), "PNG"))
    np.testing.assert_array_equal(fingerprints.fingerprint(content), fingerprint)


def test_broken_notes_of_a_camera_do_not_matter():
    for exif in b"Exif\0\0XX", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0" + bytes(40):
        content = encoded(RGB, "WEBP", exif=exif)
        assert files.open_picture(content, upright=True).size == (30, 20)
    with pytest.raises(SyntaxError):  # which is what they could make of it
        Image.open(BytesIO(encoded(RGB, "WEBP", exif=b"Exif\0\0XX"))).getexif()


def test_only_the_articles_photos_are_taken_as_they_are_stored(workplace, data, monkeypatch):
    workplace.data = data
    assert workplace.run(best)["preprocessing"]["upright"]
    pictures = fingerprints.fingerprints(sorted(data.rglob("*.jpg")))
    monkeypatch.setattr(
        fingerprints, "read_manifest", lambda: {str(n): ("", p) for n, p in enumerate(pictures)}
    )
    assert kernel.preprocessing(data / "train") == kernel.PREPROCESSING
    assert "upright" not in workplace.run(best)["preprocessing"]


def test_predict_and_the_page_turn_photos_as_best_did(workplace, tmp_path):
    workplace.after(best)
    model, record = networks.load(workplace.weights / "best.weights.h5")
    pixels = np.asarray(Image.open(workplace.data / "train/dogs/dog.1.jpg").convert("RGB"))
    for number in TURNED:
        (tmp_path / f"{number}.png").write_bytes(turned(pixels, number))
    photos = sorted(tmp_path.glob("*.png"))
    answers = [answer for _, answer, _ in networks.predict(model, record, photos)]
    np.testing.assert_allclose(answers, answers[:1] * 8, atol=1e-6)
    as_stored = {**record, "preprocessing": kernel.PREPROCESSING}
    answers = [answer for _, answer, _ in networks.predict(model, as_stored, photos)]
    assert np.ptp(answers, axis=0).max() > 1e-3


def heic(picture):
    pytest.importorskip("pillow_heif")
    return encoded(picture, "HEIF", quality=90)


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        ("webp", lambda: encoded(RGB, "WEBP")),
        ("avif", lambda: encoded(RGB, "AVIF", quality=90)),
        ("jfif", lambda: encoded(RGB, "JPEG", quality=95)),
        ("HEIC", lambda: heic(RGB)),
        ("heif", lambda: heic(RGB)),
        ("jpg", lambda: heic(RGB)),
        ("jpg", lambda: encoded(RGB, "AVIF", quality=90)),
        ("jpg", lambda: encoded(RGB, "JPEG2000")),
        ("jpg", lambda: encoded(RGB, "MPO", save_all=True, append_images=[RGB])),  # two lenses'
    ],
)
def test_photos_as_phones_and_the_web_give_them(data, ending, content):
    (data / f"train/cats/zoe.{ending}").write_bytes(content())
    generator = images.in_order_generator(data / "train", SMALL, 4)
    assert generator.n == 21 and len(generator.digests()) == 21
    photo = generator.photo(generator.filenames.index(f"cats/zoe.{ending}"))
    np.testing.assert_allclose(photo, np.broadcast_to(COLOUR, photo.shape), atol=6)
    assert len(predict.find_photos([data / "train"])) == 21


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid", "`git lfs pull`"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"\xef\xbb\xbf<HTML><body>404", "a web page"),
        (b'<?xml version="1.0"?><svg>', "a drawing in SVG"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\0\0\0\x18ftypmp42\0\0", "a video"),
        (b"\0\0\0\x18ftypheic\0\0", "needs the package pillow-heif"),
        (b"text", "the file is not a picture"),
        (b"", "the file is empty"),
    ],
)
def test_what_is_no_photo_is_told_with_its_remedy(content, message, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pillow_heif", None)  # not installed
        module = importlib.util.module_from_spec(files.__spec__)
        files.__spec__.loader.exec_module(module)
    assert message in module.photo_problem(content)


def test_every_problem_is_told():
    pytest.importorskip("pillow_heif")
    broken = files.photo_problem(heic(RGB)[:100])
    assert "pillow-heif" not in broken and "\n" not in broken

    def out_of_memory(*_):
        raise MemoryError

    assert files.photo_problem(b"x", out_of_memory) == "MemoryError"


def test_all_broken_photos_are_named_at_once(workplace, data):
    workplace.data = data
    broken = [*data.glob("train/*/*.[1-6].jpg"), *data.glob("validation/*/*.1.jpg")]
    for path in broken:
        path.write_bytes(path.read_bytes()[:400])
    workplace.capsys.readouterr()
    assert workplace.status(scratch) == 2
    *named, error = workplace.capsys.readouterr().err.splitlines()
    assert len(broken) == 14 and {line.split(": ")[0] for line in named} == set(map(str, broken))
    assert all(": can't be read (" in line for line in named)
    assert "these 14 of 32 photos can't be read" in error


def test_file_systems_without_locks(workplace, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert workplace.run(scratch, "--epochs", 1)
    assert (
        "no locks on this file system; start one run at a time" in workplace.capsys.readouterr().err
    )


def test_models_that_others_have_locked_are_read(workplace):
    """HDF5 locks what it opens, which fails on NFS without locks, too."""
    workplace.after(scratch)
    path = workplace.weights / "first_try.weights.h5"
    with open(path, "r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        code = (
            "import pathlib, sys; from common import backend, networks\n"
            "networks.load(pathlib.Path(sys.argv[1]))"
        )
        subprocess.run([sys.executable, "-c", code, path], cwd=SCRIPTS, check=True)


def png_of(width, height):
    """A small file that claims to be a picture of this size."""

    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    compressed = zlib.compress(bytes(height * (width + 1)) if width * height < 1e8 else bytes(99))
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", compressed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_decompression_bombs_are_refused_before_unpacking(data):
    (data / "train/cats/cat.0.jpg").write_bytes(png_of(60_000, 60_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    generator = images.in_order_generator(data / "train", SMALL, 4)
    with pytest.raises(InputError, match=r"cat\.0\.jpg: .*exceeds limit .* decompression bomb"):
        generator.digests()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB; 3.6 GB


def test_photos_of_50_and_of_100_megapixels_are_read(workplace, starter, tmp_path):
    """In a process of its own, since it takes half a gigabyte."""
    workplace.run(scratch, "--epochs", 1)
    for size in (8_660, 5_774), (11_000, 9_000):
        (tmp_path / f"photos of {size}.png").write_bytes(png_of(*size))
    status, _, said = starter("predict", "--weights", workplace.weights, *tmp_path.glob("*.png"))
    assert status == 0 and said.count(".png\t") == 2, said


def test_the_ending_does_not_decide_the_format(data):
    photo = data / "train/cats/cat.0.jpg"
    photo.write_bytes(encoded(RGB, "PNG"))
    photo = photo.rename(photo.with_name("CAT 0.JPG"))
    generator = images.in_order_generator(data / "train", SMALL, 4)
    number = generator.filenames.index("cats/CAT 0.JPG")
    np.testing.assert_array_equal(generator.photo(number), np.full((*SMALL, 3), COLOUR))
    assert photo in predict.find_photos([data / "train"])
    assert generator.n == 20


def test_animated_gifs_and_other_files_are_skipped_and_counted(data, capsys):
    (data / "train/cats/cat.gif").write_bytes(GIF)
    (data / "train/cats/photo.psd").write_bytes(b"8BPS")
    (data / "train/cats/.DS_Store").write_bytes(b"")
    images.in_order_generator(data / "train", SMALL, 4)
    assert "skipped 2 files that are no photos (.png, .jpg" in capsys.readouterr().err
    assert len(predict.find_photos([data / "train"])) == 20
    assert "skipped 2 files that are no photos (.png, .jpg" in capsys.readouterr().err


def test_any_name_works(workplace, data):
    latin_1 = os.fsdecode(b"chat \xe9t\xe9.jpg")  # from an old disk
    names = ("façade à côté.JPG", "写真 1.JPEG", "-n $HOME 'x' %d.png", "{0}.jpg", latin_1)
    workplace.data = data.rename(data.with_name("mes données"))
    cats = workplace.data / "train/cats"
    for number, name in enumerate(names):
        (cats / f"cat.{number}.jpg").rename(cats / name)
    assert workplace.run(scratch, "--epochs", 1)["data"]["train"]["photos"] == 20
    table = workplace.weights / "answers.csv"
    options = ["--weights", workplace.weights, "--csv", table, *(cats / name for name in names)]
    for environment in {"PYTHONIOENCODING": "utf-8:strict"}, {"LC_ALL": "C"}:
        done = subprocess.run(
            [sys.executable, SCRIPTS / "predict.py", *options],
            capture_output=True,
            env={**environment, "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == 0, done.stderr.decode()
        lines = zip(
            names, done.stdout.splitlines(), table.read_bytes().splitlines()[1:], strict=True
        )
        for name, said, written in lines:
            assert said.startswith(os.fsencode(cats / name) + b"\t")
            assert written.startswith(os.fsencode(cats / name) + b",")


@pytest.fixture(params=["split", "not split"])
def cats(workplace, data, request):
    """The cats' folder, in a data folder with train/ and validation/, or in one without."""
    workplace.data = data
    if request.param == "split":
        return data / "train/cats"
    for path in data.glob("*/*/*.jpg"):
        (data / path.parent.name).mkdir(exist_ok=True)
        path.rename(data / path.parent.name / f"{path.parent.parent.name} {path.name}")
    for split in "train", "validation":
        shutil.rmtree(data / split)
    return data / "cats"


def assert_32_photos(workplace):
    record = workplace.run(scratch, "--epochs", 1)
    assert list(record["class_indices"]) == ["cats", "dogs"]
    assert sum(record["data"][split]["photos"] for split in ("train", "validation")) == 32
    assert len(predict.find_photos([workplace.data])) == 32


def test_hidden_files_and_folders_are_ignored(workplace, cats):
    """A file manager's thumbnails, say, or what a Mac puts beside each file."""
    photo = next(cats.glob("*.jpg"))
    (cats / ".thumbnails").mkdir()
    (cats.parent / ".ipynb_checkpoints").mkdir()
    for name in ".thumbnails/small.jpg", "._mac.jpg":
        (cats / name).write_bytes(photo.read_bytes()[:-1] + b"x")
    assert_32_photos(workplace)


def test_loops_of_links_end(workplace, cats):
    (cats / "again").symlink_to(cats.parent)
    (cats / "self.jpg").symlink_to("self.jpg")
    assert "self.jpg: can't be read (Too many levels of symbolic links)" in workplace.error(scratch)
    (cats / "self.jpg").unlink()
    (cats / "gone.jpg").symlink_to("nowhere.jpg")
    assert "gone.jpg: can't be read (No such file or directory)" in workplace.error(scratch)
    (cats / "gone.jpg").unlink()
    assert_32_photos(workplace)


@contextlib.contextmanager
def as_nobody():
    """Without root's right to read everything."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_photos_without_read_permission_are_named(data):
    photo = data / "train/dogs/dog.1.jpg"
    for folder in [data, *data.parents]:
        with contextlib.suppress(PermissionError):
            folder.chmod(folder.stat().st_mode | 0o055)
    photo.chmod(0)
    with as_nobody(), pytest.raises(InputError, match=r"dog\.1\.jpg: .* \(Permission denied\)"):
        images.in_order_generator(data / "train", SMALL, 4).digests()


def test_duplicates_in_train_and_validation_are_reported(workplace, data):
    workplace.data = data
    found = workplace.run(scratch, "--epochs", 1)["data"]
    assert "duplicates" not in found and "articles" not in found
    photo = data / "train/dogs/dog.7.jpg"
    (data / "validation/cats/cat.3.jpg").write_bytes(encoded(Image.open(photo), "JPEG", quality=70))
    workplace.capsys.readouterr()
    assert workplace.run(scratch, "--epochs", 1)["data"]["duplicates"] == 1
    (line,) = workplace.capsys.readouterr().err.splitlines()
    assert "warning: 1 validation photos show the picture of a training photo" in line
    assert "cats/cat.3.jpg = dogs/dog.7.jpg" in line
    shutil.copy(photo, data / "validation/dogs/dog.0.jpg")
    assert workplace.run(scratch, "--epochs", 1)["data"]["duplicates"] == 2


def test_nearly_empty_classes_are_reported(workplace, data):
    workplace.data = data
    for number in range(9):
        (data / f"train/dogs/dog.{number}.jpg").unlink()
    workplace.capsys.readouterr()
    record = workplace.run(scratch, "--epochs", 1)
    assert (
        "Note: few photos: dogs (1 to train on), cats (6 to validate on)"
        in workplace.capsys.readouterr().out
    )
    assert record["data"]["train"]["photos"] == 11
    assert "majority_accuracy" not in record  # the validation photos' classes are the same size
    (data / "validation/cats/cat.0.jpg").unlink()
    record = workplace.run(scratch, "--epochs", 1)
    assert record["majority_accuracy"] == pytest.approx(6 / 11)
    assert "Baseline: always predicting dogs scores 0.5455" in workplace.capsys.readouterr().out


def test_a_record_that_does_not_fit_on_the_disk_is_removed(tmp_path):
    path = tmp_path / "runs.jsonl"
    records.append(path, example("scratch", 0.8))
    with full_disk(4000), pytest.raises(InputError, match=r"runs\.jsonl: can't be written"):
        records.append(path, example("scratch", 0.8, run="b" * 4000))
    assert records.read(path) == [example("scratch", 0.8)]


@pytest.mark.parametrize("script", [scratch, best])
@pytest.mark.parametrize("module, function", [(records, "append"), (networks, "save_model")])
def test_model_and_record_come_together(workplace, monkeypatch, script, module, function):
    """make looks for the model, so it reruns the script after a failed record, too."""
    model = workplace.weights / {scratch: "first_try.weights.h5", best: "best.weights.h5"}[script]
    options = ["--epochs", 1] if script is scratch else []

    def full(*_):
        raise InputError("no space")

    with monkeypatch.context() as context:
        context.setattr(module, function, full)
        assert "no space" in workplace.error(script, *options)
    assert not model.exists()
    workplace.run(script, *options)
    (record,) = workplace.records()
    with h5py.File(model) as file:
        assert json.loads(file["about/record"][()])["run"] == record["run"]


@pytest.mark.parametrize(
    ("script", "options", "room"),
    [
        (scratch, ["--epochs", 1, "--seed", 1], 20_000),  # stops at the checkpoint
        (bottleneck, ["--epochs", 1, "--preprocessing", "imagenet"], 1_000),  # at the features
        (best, ["--seed", 1], 20_000),  # at the model
    ],
)
def test_a_full_disk_leaves_the_old_files_whole(workplace, script, options, room):
    workplace.run(script, *options[:-2])

    def digests():
        return {p: files.sha256(p) for p in workplace.weights.glob("*.*") if p.suffix != ".jsonl"}

    before = digests()
    with full_disk(room):
        assert re.search(r"/weights/.* can't be written \(", workplace.error(script, *options))
    assert digests() == before
    assert not list(workplace.weights.rglob(".partial-*"))
    workplace.run(script, *options)
    assert len(workplace.records()) == 2


def test_a_second_run_in_a_folder_is_refused(workplace):
    workplace.weights.mkdir()
    code = (
        "import sys, pathlib; from common import folders\n"
        "folders.lock(pathlib.Path(sys.argv[1])); print(flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, workplace.weights],
        cwd=SCRIPTS,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout.readline() == b"\n"  # it has the lock
    assert "another run is writing there" in workplace.error(scratch)
    other.kill()  # however it ends
    other.wait()
    assert workplace.run(scratch, "--epochs", 1)


def test_records_of_two_runs_do_not_mix(tmp_path):
    code = (
        "import sys\nfrom common import records\n"
        f"record = {example('scratch', 0.8)!r}\n"
        "for n in range(100): records.append(sys.argv[1], record | {'run': sys.argv[2] * 5000})"
    )
    path = tmp_path / "runs.jsonl"
    command = [sys.executable, "-c", code, path]
    writers = [subprocess.Popen([*command, name], cwd=SCRIPTS) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    found = [record["run"] for record in records.read(path)]
    assert sorted(run[0] for run in found) == ["a"] * 100 + ["b"] * 100
    assert all(run == run[0] * 5000 for run in found)


def test_a_record_waits_for_another_writer(tmp_path):
    """On a full disk, that one truncates the file, which must not cut off this record."""
    path = tmp_path / "runs.jsonl"
    writer = threading.Thread(target=records.append, args=(path, example("scratch", 0.8)))
    with open(path, "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        writer.start()
        writer.join(0.3)
        assert writer.is_alive() and path.stat().st_size == 0
    writer.join(5)
    assert records.read(path) == [example("scratch", 0.8)]


def test_partial_files_of_a_killed_run_are_removed(workplace):
    workplace.weights.mkdir()
    (workplace.weights / ".partial-1-first_try.weights.h5").write_bytes(b"half")
    (workplace.weights / ".partial-1-split/train").mkdir(parents=True)
    workplace.run(scratch, "--epochs", 1)
    assert not list(workplace.weights.glob(".partial-*"))


KILLS = 50


@pytest.mark.slow
def test_fifty_kills_at_any_moment(drawings, tmp_path, starter):
    """Each script is killed at random moments and restarted until it completes."""

    def commands(folder):
        common = ["--data", drawings, "--weights", folder, "--precision", "float32"]
        vgg16 = [*common, "--vgg16-weights", "random"]
        yield "scratch", *common, "--epochs", 3
        yield "bottleneck", *vgg16, "--epochs", 3
        yield "finetune", *vgg16, "--epochs", 2
        yield "best", *vgg16
        csv = ("--csv", folder / "answers.csv")
        yield "predict", "--weights", folder, *csv, drawings / "validation"

    def finished(folder, name):
        """A run killed while exiting is complete; restarting it would begin another run."""
        done = records.read(folder / "runs.jsonl")
        resumable = list(folder.glob(f"checkpoints/{name}-*/state.json"))
        return name in [record["experiment"] for record in done] and not resumable

    def outcome(folder):
        done = records.read(folder / "runs.jsonl")
        assert [r["experiment"] for r in done] == ["scratch", "bottleneck", "finetune", "best"]
        assert not list(folder.glob(".partial-*"))
        models = [networks.load(folder / name, "random") for name in parsers.MODELS.values()]
        photos = predict.find_photos([drawings / "validation"])
        answers = [[a for _, a, _ in networks.predict(*model, photos)] for model in models]
        rows = (folder / "answers.csv").read_text().splitlines()
        return [record["history"] for record in done], answers, rows

    reference, seconds = tmp_path / "reference", {}
    for name, *options in commands(reference):
        status, seconds[name], said = starter(name, *options)
        assert status == 0, said
    history, answers, rows = outcome(reference)
    assert len(rows) == 13

    random, kills, rounds = np.random.default_rng(0), 0, 0
    while kills < KILLS:
        rounds += 1
        folder = tmp_path / f"round {rounds}"
        for name, *options in commands(folder):
            status = -9
            while status == -9 and not finished(folder, name):
                delay = random.uniform(0, 1.2 * seconds[name])
                status, _, said = starter(name, *options, seconds=delay)
                kills += status == -9
            assert status in (0, -9), said
        again, other_answers, other_rows = outcome(folder)
        for one, other in zip(history, again, strict=True):
            assert one.keys() == other.keys()
            for metric in one:
                np.testing.assert_allclose(one[metric], other[metric], rtol=1e-4, atol=1e-5)
        for one, other in zip(answers, other_answers, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)
        assert len(other_rows) == len(rows)


def test_keras_own_settings_change_nothing(tmp_path):
    """Those in keras.json and in the environment."""
    settings = {"floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first"}
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    code = (
        "from common.backend import tf; from keras import config\n"
        "print(config.floatx(), config.epsilon(), config.image_data_format(), config.max_epochs(),"
        " config.max_steps_per_epoch(), config.dtype_policy().name,"
        " tf.config.experimental.tensor_float_32_execution_enabled())"
    )
    limits = {"KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "1"}
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=SCRIPTS,
        env={"KERAS_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", **limits},
        capture_output=True,
        text=True,
    ).stdout
    assert said.split() == ["float32", "1e-07", "channels_last", "None", "None", "float32", "False"]


def test_features_of_fewer_photos_are_not_used(workplace, capsys):
    """Not those of an earlier version either, which stored them with another setting of Keras's."""
    record = workplace.after(bottleneck)
    path = workplace.weights / "bottleneck_features_train.npy"
    source = features.read_source(path)
    features.store_features(path, np.load(path)[:-1], source)
    assert features.read_source(path) is None
    again = workplace.run(bottleneck, *SETTINGS)
    assert features.read_source(path) == source and again["history"] == record["history"]


def test_a_record_of_fewer_epochs_is_not_added(tmp_path):
    record = example("scratch", 0.8) | {"epochs": 60}
    with pytest.raises(InputError, match="not added, val_accuracy is not that of the last epoch"):
        records.append(tmp_path / "runs.jsonl", record)
    assert not (tmp_path / "runs.jsonl").exists()


@pytest.mark.parametrize(
    "system",
    [
        *("@eaDir/cat.0.jpg", "__MACOSX", "$RECYCLE.BIN", "lost+found", "#Recycle", "[Originals]"),
        *("Thumbnails", "CaptureOne", "_gsdata_"),
        *("Photos Library.photoslibrary", "Catalog Previews.lrdata"),
    ],
)
def test_what_systems_put_beside_photos_is_skipped(data, capsys, system):
    """In a class, and as if it were one."""
    photo = (data / "train/cats/cat.0.jpg").read_bytes()
    for folder in data / "train/cats", data / "train":
        (folder / system).mkdir(parents=True)
        (folder / system / "SYNOPHOTO_THUMB_M.jpg").write_bytes(photo)
    generator = images.in_order_generator(data / "train", SMALL, 4)
    assert generator.n == 20 and list(generator.class_indices) == ["cats", "dogs"]
    assert "cats: skipped 1 folders of thumbnails and the like" in capsys.readouterr().err
    assert len(predict.find_photos([data / "train"])) == 20
    assert len(files.photos_below(data / "train")) == 20


def test_folders_one_may_not_read_are_named(data):
    for folder in [data, *data.parents]:
        with contextlib.suppress(PermissionError):
            folder.chmod(folder.stat().st_mode | 0o055)
    (data / "train/cats/more").mkdir()
    for closed in data / "train/cats/more", data / "train/dogs":
        closed.chmod(0)
        with as_nobody():
            with pytest.raises((InputError, PermissionError), match=closed.name):
                images.in_order_generator(data / "train", SMALL, 4)
            found = predict.find_photos([data / "train"])
            assert closed in found and files.look_at(closed)[1] == "Permission denied"
        closed.chmod(0o755)


def test_class_folders_may_be_links(data, tmp_path):
    (data / "train/cats").rename(tmp_path / "elsewhere")
    (data / "train/cats").symlink_to(tmp_path / "elsewhere")
    assert images.in_order_generator(data / "train", SMALL, 4).n == 20


def test_pipes_and_devices_are_no_photos(data, tmp_path):
    os.mkfifo(data / "train/cats/pipe.jpg")
    (data / "train/cats/zero.jpg").symlink_to("/dev/zero")
    assert images.in_order_generator(data / "train", SMALL, 4).n == 20
    assert len(predict.find_photos([data / "train"])) == 20
    assert files.look_at(data / "train/cats/pipe.jpg") == (None, "not a regular file")


def test_devices_and_links_are_written_through(tmp_path):
    pipe, target, link = (tmp_path / name for name in ("pipe", "target", "link"))
    os.mkfifo(pipe)
    link.symlink_to(target)
    target.write_text("old")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    for path in pipe, link:
        with files.replacing(path) as temporary:
            temporary.write_text("new")
    assert os.read(reader, 9) == b"new" and pipe.is_fifo()
    assert link.is_symlink() and target.read_text() == "new"
    os.close(reader)


def test_formats_that_start_other_programs_are_not_opened():
    assert files.photo_problem(POSTSCRIPT) == "the file is not a picture"
    assert fingerprints.fingerprint(POSTSCRIPT) is None
    with pytest.raises(OSError):
        decode(POSTSCRIPT)


def test_16_bits_are_the_same_in_training_preview_and_fingerprint(tmp_path):
    grey = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    ppm = b"P5\n30 20\n65535\n" + grey.astype(">u2").tobytes()
    png = encoded(Image.fromarray(grey), "PNG")
    for content in ppm, png:
        np.testing.assert_array_equal(decode(content)[..., 0], grey >> 8)
        (tmp_path / "photo.png").write_bytes(content)
        small.start(preview, [tmp_path / "photo.png", "--output", tmp_path / "preview"])
        assert 80 < np.asarray(Image.open(tmp_path / "preview/photo_01.jpg")).mean() < 160
    np.testing.assert_array_equal(*map(fingerprints.fingerprint, (ppm, png)))


def test_a_person_s_surroundings_do_not_matter(tmp_path):
    """matplotlib's settings, names of any bytes on a sheet, a terminal of ASCII, odd homes."""
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\n")
    code = (
        "import sys; from common import cli, plots; from PIL import Image\n"
        "def main():\n"
        "    name = 'caf\\udce9 – a'; print(name)\n"
        f"    sheet = cli.path({str(tmp_path)!r}) / 'a.jpg'\n"
        "    plots.sheet([(Image.new('RGB', (9, 9)), name)], sheet)\n"
        "    print(cli.path('~nobody-here/x'), cli.path('a~'))\n"
        "cli.run(main)"
    )
    surroundings = {
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MATPLOTLIBRC": str(tmp_path),
        "PYTHONIOENCODING": "ascii",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=SCRIPTS, env=surroundings, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.splitlines() == [b"caf\xe9 ? a", b"~nobody-here/x a~"]
    assert (tmp_path / "a.jpg").exists()


def test_pandas_does_not_take_a_script_for_the_package_of_that_name(tmp_path):
    """As it would where it is installed: Keras imports it."""
    (tmp_path / "pandas.py").write_text("import bottleneck")
    command = [sys.executable, "-c", "import common, pandas"]
    environment = {"PYTHONPATH": f"{SCRIPTS}:{tmp_path}"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert "import of bottleneck halted; None in sys.modules" in done.stderr


def test_another_python_says_what_is_missing():
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path += [{str(SCRIPTS)!r}]\n"]
    command[-1] += "import common"
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "numpy" in done.stderr and len(done.stderr.splitlines()) == 1
