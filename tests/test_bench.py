"""The benchmark compares with what it says it does, and its figures are the committed ones."""

import json
import shutil
import statistics

import keras
import pytest

import bench
import finetune
import scratch
from common import files, plain, tables, vgg16
from common.cli import InputError

COMMITTED = json.loads((files.ROOT / "results" / "bench.json").read_text())
whole = pytest.mark.usefixtures("whole_vgg16")


def shapes(weights):
    return [tuple(weight.shape) for weight in weights]


@whole
def test_the_plain_port_has_the_articles_layers():
    """The article's own numbers: 32, 32 and 64 filters of 3×3, 64 units, dropout, one unit."""
    model = plain.small_convnet()
    kernels = [(3, 3, 3, 32), (3, 3, 32, 32), (3, 3, 32, 64), (17 * 17 * 64, 64), (64, 1)]
    assert shapes(model.weights)[:-1:2] == kernels
    ours = scratch.build_model(scratch.IMAGE_SIZE)
    assert shapes(model.trainable_weights) == shapes(ours.trainable_weights)
    assert isinstance(model.optimizer, keras.optimizers.RMSprop)
    assert model.loss == "binary_crossentropy"
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert [layer.rate for layer in dropouts] == [0.5]


@whole
def test_the_plain_port_trains_the_last_block_and_the_classifier(tmp_path):
    base = vgg16.convolutional_base("random", plain.IMAGE_SIZE)
    model = plain.fine_tuned_vgg16(base)
    last_block = [(3, 3, 512, 512), (512,)] * 3
    classifier = [(4 * 4 * 512, 256), (256,), (256, 1), (1,)]
    assert shapes(model.trainable_weights) == last_block + classifier
    optimizer = model.optimizer.get_config()
    assert optimizer["learning_rate"] == pytest.approx(1e-4) and optimizer["momentum"] == 0.9
    top = vgg16.build_top_model(base.output_shape[1:], 0.5)
    top.save_weights(tmp_path / "top.weights.h5")
    base = vgg16.convolutional_base("random", plain.IMAGE_SIZE)
    ours = finetune.build_model(base, tmp_path / "top.weights.h5")
    assert shapes(model.trainable_weights) == shapes(ours.trainable_weights)


@whole
def test_the_plain_port_augments_alike():
    assert (plain.IMAGE_SIZE, plain.BATCH_SIZE) == (scratch.IMAGE_SIZE, scratch.BATCH_SIZE)
    datagen = plain.training_datagen()
    assert type(datagen).__module__.startswith("keras")
    assert datagen.shear_range == pytest.approx(11.459, abs=1e-3)
    assert list(datagen.zoom_range) == [0.8, 1.2]
    assert datagen.horizontal_flip and datagen.interpolation_order == 0
    assert datagen.rescale == 1 / 255


def test_few_photos_are_repeated_as_often_as_needed(drawings, tmp_path):
    folder = bench.link_photos(bench.class_photos(drawings), 30, 4, tmp_path / "few")
    for split, count in ("train", 15), ("validation", 2):
        for name in "cats", "dogs":
            photos = list((folder / split / name).iterdir())
            assert len(photos) == count and all(photo.is_file() for photo in photos)


def test_bench_refuses_what_the_experiments_refuse_and_more_classes(data):
    shutil.copytree(data / "train/cats", data / "train/birds")
    with pytest.raises(InputError, match="two classes only"):
        bench.class_photos(data)
    (data / "train/dogs/dog.0.jpg").write_bytes(b"404 not found")
    with pytest.raises(InputError, match=r"dog\.0\.jpg"):
        bench.in_its_own_process(bench.class_photos, data)


def test_ratios_are_medians_of_pairs():
    for entry in COMMITTED:
        measured = [part for part in tables.WHAT if part in entry]
        assert measured
        for part in measured:
            pairs = entry[part]["pairs"]
            assert len(pairs) >= 3
            assert entry[f"{part}_ratio"] == statistics.median(p["ratio"] for p in pairs)
            for pair in pairs:
                figure, other = ("plain", "ours") if part != "loader" else ("ours", "plain")
                name = "photos_per_second" if part == "loader" else "seconds"
                assert pair["ratio"] == pytest.approx(pair[figure][name] / pair[other][name])


def test_each_kind_of_machine_has_one_entry_and_a_column():
    assert len({tables.kind(entry) for entry in COMMITTED}) == len(COMMITTED)
    head, _, *rows = tables.speed(COMMITTED).splitlines()
    assert all(row.count("|") == len(COMMITTED) + 2 for row in [head, *rows])
