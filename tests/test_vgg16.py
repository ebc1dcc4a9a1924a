"""VGG16's weights: the right ones are recognised, others refused or warned about."""

import os

import h5py
import keras
import pytest

import bottleneck
from common import folders, vgg16
from common.cli import InputError

SIZE = (48, 48)

pytestmark = pytest.mark.usefixtures("whole_vgg16")


def test_random_base_is_always_the_same():
    base, described = vgg16.load("random", None, SIZE, remember=False)
    assert base.output_shape == (None, 1, 1, 512)
    assert vgg16.digest(base) == vgg16.digest(vgg16.convolutional_base("random", SIZE))
    assert described == {"vgg16_weights": "random", "vgg16_sha256": vgg16.digest(base)}


def test_other_weights_of_the_right_shape_are_warned_about(tmp_path, capsys):
    path = tmp_path / "own.weights.h5"
    vgg16.convolutional_base("random", SIZE).save_weights(path)
    _, described = vgg16.load(path, None, SIZE, remember=False)
    assert "not the ImageNet weights" in capsys.readouterr().err
    assert described["vgg16_weights"] == "other"


def test_other_files_are_refused_without_warnings(tmp_path, recwarn):
    names = ("other.weights.h5", "text.h5", "half.h5", "empty.h5")
    other, text, half, empty = (tmp_path / name for name in names)
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]).save_weights(other)
    text.write_text("404 not found")
    half.write_bytes(other.read_bytes()[:1000])
    h5py.File(empty, "w").close()
    for path in other, text, half, empty:
        with pytest.raises(InputError, match=r"not the weights of VGG16 without its top"):
            vgg16.convolutional_base(path, SIZE)
    with pytest.raises(InputError, match="no such file"):
        vgg16.load(tmp_path / "missing.h5", tmp_path, SIZE)
    assert not [warning for warning in recwarn if warning.category is UserWarning]


def test_a_missing_file_is_told_before_the_photos_are_read(workplace, data):
    workplace.data = data
    next((data / "train/cats").iterdir()).write_bytes(b"broken")
    assert "gone.h5: no such file" in workplace.error(bottleneck, "--vgg16-weights", "gone.h5")


def test_a_failed_download_says_what_to_do(monkeypatch):
    def fail(**_):
        raise Exception("URL fetch failure on https://...: None -- [Errno -2] Name not known")

    monkeypatch.setattr(keras.applications, "VGG16", fail)
    with pytest.raises(InputError, match="VGG16_WEIGHTS=FILE"):
        vgg16.convolutional_base("imagenet", SIZE)


def test_the_file_used_last_is_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "WEIGHTS", tmp_path / "of the article's photos")
    given, folder = tmp_path / "vgg.h5", tmp_path / "weights"
    given.write_bytes(b"weights")
    folder.mkdir()
    assert folders.vgg16_weights(None, folder) == "imagenet"
    assert folders.vgg16_weights(given, folder) == str(given)
    assert folders.vgg16_weights(None, folder) == "imagenet"  # not before it has proved usable
    folders.remember_vgg16(given, folder)
    folders.remember_vgg16("imagenet", folder)
    assert folders.vgg16_weights(None, folder) == str(given)
    monkeypatch.setattr(folders, "WEIGHTS", folder)  # other data sets use its file, too
    assert folders.vgg16_weights(None, tmp_path / "another") == str(given)
    given.unlink()
    with pytest.raises(InputError, match=r"vgg\.h5, no longer exist; give --vgg16-weights"):
        folders.vgg16_weights(None, folder)


@pytest.mark.skipif(not os.environ.get("VGG16_WEIGHTS"), reason="VGG16_WEIGHTS not set")
def test_the_imagenet_weights_are_recognised(capsys):
    base = vgg16.convolutional_base(os.environ["VGG16_WEIGHTS"], SIZE)
    assert vgg16.digest(base) == vgg16.IMAGENET_SHA256
    assert capsys.readouterr().err == ""
