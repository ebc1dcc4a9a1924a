"""Models to take away: alone, in a process without this repository, they answer as predict does."""

import csv
import itertools
import json
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import app
import best
import bottleneck
import evaluate
import export
import finetune
import keras
import numpy as np
import predict
import pytest
import scratch
import small
from common import files, networks, records, transform
from common.cli import InputError
from conftest import MODELS
from PIL import Image
from test_robustness import encoded, turned

# As weights/README.md has it, on each photo named on the command line.
USE = """
import json, sys
import keras, numpy
from PIL import Image, ImageOps

model = keras.models.load_model(f"{sys.argv[1]}.keras")
with open(f"{sys.argv[1]}.json") as file:
    about = json.load(file)
for path in sys.argv[2:]:
    photo = Image.open(path)
    photo = ImageOps.exif_transpose(photo) if about["upright"] else photo
    answer = model.predict(numpy.asarray(photo.convert("RGB"))[None], verbose=0)[0]
    print(json.dumps(dict(zip(about["classes"], answer.tolist()))))
assert not any("scripts" in path for path in sys.path) and "common" not in sys.modules
"""


def used(stem, photos, folder):
    """What the exported model says of photos, in a process that can't import the repository."""
    command = [sys.executable, "-I", "-c", USE, stem, *photos]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def photos(drawings, tmp_path_factory):
    """100 photos of many sizes and kinds, some of which lie on their sides."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    drawn = sorted(drawings.glob("*/*/*.jpg"))
    for number in range(100):
        with Image.open(drawn[number % len(drawn)]) as picture:
            size = tuple(random.integers(40, 500, 2).tolist())
            picture = picture.convert("L" if number % 10 == 3 else "RGB").resize(size)
        kind = ("PNG", "JPEG", "WEBP")[number % 3]
        if number % 4 == 1 and picture.mode == "RGB":
            content = turned(np.asarray(picture), number % 8 + 1, kind)
        else:
            content = encoded(picture, kind)
        (folder / f"{number:02}.{kind.lower()}").write_bytes(content)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("script", [best, scratch, bottleneck, finetune])
def test_without_the_repository_100_photos_get_the_same_probabilities(
    workplace, photos, script, tmp_path
):
    workplace.after(*({finetune: [bottleneck, finetune]}.get(script, [script])))
    path = workplace.weights / MODELS[script]
    small.start(export, ["--model", path, "--vgg16-weights", "random"])
    model, record = networks.load(path, "random")
    expected = [answer for _, answer, _ in networks.predict(model, record, photos)]
    stem = path.with_name(path.name.split(".")[0])
    answers = used(stem, photos, tmp_path)
    assert len(answers) == 100 and list(answers[0]) == ["cats", "dogs"]
    found = [list(answer.values()) for answer in answers]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(expected, axis=0).max() > 0.01  # they do differ


def test_the_lines_of_the_readme(workplace, photos):
    workplace.after(best)
    small.start(export, workplace.folders)
    shutil.copy(photos[0], workplace.weights / "photo.jpg")
    text = (files.ROOT / "weights/README.md").read_text().split("nothing from here:\n\n")[1]
    lines = itertools.takewhile(lambda line: line.startswith("    ") or not line, text.splitlines())
    code = textwrap.dedent("\n".join(lines))
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=workplace.weights
    )
    assert done.returncode == 0, done.stderr
    model, record = networks.load(workplace.weights / "best.weights.h5")
    ((_, expected, _),) = networks.predict(model, record, photos[:1])
    found = re.findall(r"'(\w+)': np.float32\((.*?)\)", done.stdout.splitlines()[-1])
    assert [name for name, _ in found] == ["cats", "dogs"]
    np.testing.assert_allclose([float(p) for _, p in found], expected, atol=1e-4)


def test_a_batch_and_tensorflow_without_keras(workplace, tmp_path):
    workplace.after(best)
    output = tmp_path / "taken away.keras"
    small.start(export, [*workplace.folders, "--output", output, "--savedmodel"])
    batch = np.random.default_rng(0).integers(0, 255, (3, 90, 70, 3), np.uint8)
    expected = keras.models.load_model(output).predict(batch, verbose=0)
    assert expected.shape == (3, 2)
    np.save(tmp_path / "batch.npy", batch)
    code = (
        "import sys, tensorflow as tf, numpy as np; from importlib.abc import MetaPathFinder\n"
        "model = tf.saved_model.load('taken away_savedmodel')\n"
        "batch = tf.constant(np.load('batch.npy'), tf.float32)\n"
        "np.save('answers.npy', model.serve(batch).numpy())"
    )
    subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "answers.npy"), expected, atol=1e-4)
    assert {p.name for p in tmp_path.iterdir() if "partial" in p.name} == set()


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest-2016", "nearest"])
@pytest.mark.parametrize("size", [(90, 100), (333, 500), (96, 48), (150, 151)])
def test_photos_are_resized_to_the_same_pixels(interpolation, size):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    content = encoded(Image.fromarray(picture), "PNG")
    for target in (48, 48), (150, 150), (60, 37):
        expected = transform.decode(content, target, "rgb", interpolation, False)
        pixels = keras.Input((None, None, 3))
        model = keras.Model(pixels, export.resized(pixels, target, interpolation))
        found = keras.ops.convert_to_numpy(model(picture[np.newaxis].astype("float32")))[0]
        np.testing.assert_array_equal(found, expected)


def test_other_names_are_refused(workplace):
    workplace.after(scratch)
    with pytest.raises(InputError, match=r"a\.h5: the name must end in \.keras"):
        export.parse([*map(str, workplace.folders), "--output", "a.h5"])


def test_photos_of_phones_go_the_whole_way(tmp_path, monkeypatch, capsys):
    """Five classes, turned, in several formats, in bursts, with thumbnails and broken files."""
    random, kinds = np.random.default_rng(0), ("JPEG", "WEBP", "AVIF", "PNG")
    colours = {"blue": (0, 0, 200), "green": (0, 200, 0), "red": (200, 0, 0)}
    colours |= {"violet": (200, 0, 200), "écru": (200, 190, 140)}
    thumbnail = encoded(Image.new("L", (9, 9)), "JPEG")
    for name, colour in colours.items():
        folder = tmp_path / "photos" / name
        (folder / "@eaDir").mkdir(parents=True)
        for number in range(20):
            noise = np.random.default_rng([number // 2, *colour]).integers(-50, 50, (6, 8, 3))
            noise = noise.repeat(10, axis=0).repeat(10, axis=1)
            pixels = np.clip(noise + colour + number % 2, 0, 255).astype(np.uint8)  # pairs of shots
            kind = kinds[number % 4]
            content = turned(pixels, int(random.integers(1, 9)), kind)
            (folder / f"{number}.{kind.lower()}").write_bytes(content)
            (folder / "@eaDir" / f"{number}.jpg").write_bytes(thumbnail)
    data, weights = tmp_path / "photos", tmp_path / "weights"
    where = ["--data", data, "--weights", weights]
    options = [*where, "--vgg16-weights", "random", "--precision", "float32"]
    for broken in data / "red/broken.jpg", data / "blue/empty.avif":
        broken.write_bytes(b"\xff\xd8" * (broken.name == "broken.jpg"))
    with pytest.raises(InputError, match="these 2 of 102 photos can't be read"):
        small.start(best, options)
    for broken in data / "red/broken.jpg", data / "blue/empty.avif":
        broken.unlink()
    capsys.readouterr()
    small.start(best, options)
    told = capsys.readouterr()
    assert "100 photos have near-duplicates, which stay on one side" in told.out
    assert told.err.count("skipped 1 folders of thumbnails and the like") >= 5
    record = records.read(weights / "runs.jsonl")[-1]
    assert [record["data"][split]["photos"] for split in ("train", "validation")] == [80, 20]
    assert record["preprocessing"]["upright"] and record["val_accuracy"] > 0.5  # chance is 0.2

    table = tmp_path / "answers.csv"
    small.start(predict, [*where, "--csv", table, data])
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    named = {Path(row["path"]): (row["class"], float(row["probability"])) for row in rows}
    right = {path.resolve(): path.parent.name == name for path, (name, _) in named.items()}
    held_out = [right[path.resolve()] for path in weights.glob("split/validation/*/*")]
    assert len(right) == 100 and len(held_out) == 20
    assert record["val_accuracy"] == pytest.approx(np.mean(held_out))
    capsys.readouterr()
    small.start(evaluate, [*where, data])
    told = capsys.readouterr().out
    assert f"Accuracy: {np.mean([*right.values()]):.4f}" in told and "on 100 photos" in told
    assert f"Mistakes: {100 - sum(right.values())}" in told

    small.start(export, where)
    paths = sorted(named)[::5]
    for path, answer in zip(paths, used(weights / "best", paths, tmp_path), strict=True):
        name, probability = named[path]
        assert answer[name] == pytest.approx(probability, abs=1e-4)
    (model,) = app.load([weights / "best.weights.h5"], None)
    for path in paths:
        answer, _ = app.classify(model, path.read_bytes())
        assert answer.max() == pytest.approx(named[path][1], abs=1e-4)
