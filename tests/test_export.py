"""Models to take away: alone, in a process without this repository, they answer as predict does."""

import itertools
import json
import re
import shutil
import subprocess
import sys
import textwrap

import best
import bottleneck
import export
import finetune
import keras
import numpy as np
import pytest
import scratch
import small
from common import files, networks, transform
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
