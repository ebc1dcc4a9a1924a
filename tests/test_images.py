"""The data path, where errors are silent: labels, order, counts, augmentation."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from common import fingerprints, images, recipes, transform
from common.cli import InputError
from PIL import Image
from scipy.ndimage import affine_transform
from tensorflow.keras.preprocessing.image import ImageDataGenerator

SIZE = (150, 150)


def augmentation(recipe):
    return recipes.augmentation(recipe, shear_range=0.2, zoom_range=0.2, horizontal_flip=True)


def describe(data):
    """What images.describe() says of a data folder."""
    return images.describe(
        images.training_generator(data / "train", SIZE, 4, augmentation("faithful")),
        images.validation_generator(data / "validation", SIZE, 4),
    )


def draw_classes(folder, count, picture):
    """`count` pictures of each class, cats and dogs; picture: a function of the class's number."""
    for number, name in enumerate(("cats", "dogs")):
        (folder / name).mkdir()
        for photo in range(count):
            picture(number).save(folder / name / f"{photo}.tif")


def sheared(recipe, axis):
    """Each pixel's row or column of origin in a 150×150 picture at the maximum shear."""
    datagen = transform.ImageDataGenerator(**augmentation(recipe))
    origins = np.broadcast_to(np.indices((150, 150))[axis][..., None], (150, 150, 3))
    return datagen.apply_transform(origins, {"shear": datagen.shear_range})[..., 0]


def test_cats_are_0_and_dogs_are_1(drawings):
    generator = images.in_order_generator(drawings / "train", SIZE, 7)
    assert generator.class_indices == {"cats": 0, "dogs": 1}
    for name, label in zip(generator.filenames, generator.classes, strict=True):
        assert name.startswith(("cats/", "dogs/")[label])


def test_labels_stay_with_their_photos_when_shuffled(tmp_path):
    draw_classes(tmp_path, 9, lambda number: Image.new("RGB", (40, 30), (255 * number, 0, 0)))
    generator = images.training_generator(tmp_path, SIZE, 4, augmentation("faithful"))
    labels = []
    for batch in range(len(generator)):
        photos, batch_labels = generator[batch]
        np.testing.assert_array_equal(photos[:, 75, 75, 0], batch_labels)
        labels.extend(batch_labels)
    assert sorted(labels) == [0] * 9 + [1] * 9
    assert labels != sorted(labels)


def test_validation_is_every_photo_once_in_order_with_a_smaller_last_batch(drawings):
    generator = images.validation_generator(drawings / "validation", SIZE, 5)
    labels = [list(generator[batch][1]) for batch in range(len(generator))]
    assert [len(batch) for batch in labels] == [5, 5, 2]
    assert (
        [label for batch in labels for label in batch]
        == list(generator.classes)
        == [0] * 6 + [1] * 6
    )


def test_pixels_are_rgb_by_255(tmp_path):
    draw_classes(tmp_path, 1, lambda _: Image.new("RGB", (90, 60), (255, 102, 0)))
    photos = images.in_order_generator(tmp_path, SIZE, 2)[0]
    assert photos.shape == (2, 150, 150, 3) and photos.dtype == np.float32
    np.testing.assert_allclose(photos[0, 0, 0], [1, 0.4, 0], atol=1e-6)


@pytest.mark.parametrize(("mode", "colour"), [("L", 51), ("CMYK", (0, 0, 0, 204)), ("P", 7)])
def test_grey_cmyk_and_palette_become_rgb(tmp_path, mode, colour):
    draw_classes(tmp_path, 1, lambda _: Image.new(mode, (30, 30), colour))
    expected = np.array(Image.new(mode, (1, 1), colour).convert("RGB"))[0, 0] / 255
    photos = images.in_order_generator(tmp_path, SIZE, 2)[0]
    np.testing.assert_allclose(photos[1, 10, 10], expected, atol=1e-6)


def test_shear_of_2016_moves_rows_by_up_to_14_8_pixels():
    rows = sheared("faithful", 0)
    assert rows[75, 0] - 75 == pytest.approx(15, abs=0.5)  # from the centre, 75.5
    assert rows[75, 149] - 75 == pytest.approx(-14.6, abs=0.5)


def test_shear_as_printed_moves_columns_by_up_to_0_26_pixel():
    columns = sheared("as-printed", 1)
    assert columns[0, 75] - 75 == pytest.approx(0.26, abs=0.02)


def test_2016_took_the_nearest_pixel_and_today_interpolates():
    faithful, printed = sheared("faithful", 0), sheared("as-printed", 1)
    np.testing.assert_array_equal(faithful, np.round(faithful))
    assert np.any(printed != np.round(printed))


def batches(datagen, folder, seed, size=(50, 70)):
    """All batches of one epoch of shuffled, augmented photos."""
    generator = datagen.flow_from_directory(
        folder, target_size=size, batch_size=8, class_mode="binary"
    )
    np.random.seed(seed)
    generator.on_epoch_end()
    return [generator[batch] for batch in range(len(generator))]


EVERYTHING = {
    "rotation_range": 30,
    "width_shift_range": 0.2,
    "height_shift_range": 0.1,
    "vertical_flip": True,
}
# Options that transform.ImageDataGenerator leaves to Keras.
KERASS = {
    "channel_shift_range": 20.0,
    "brightness_range": (0.5, 1.5),
    "fill_mode": "reflect",
    "interpolation_order": 2,
    "dtype": "float64",
    "data_format": "channels_first",
    "samplewise_center": True,
    "samplewise_std_normalization": True,
}


@pytest.mark.parametrize("cache", [2**30, 5 * 50 * 70 * 3, 0])
@pytest.mark.parametrize("more", [{}, EVERYTHING], ids=["article", "everything"])
@pytest.mark.parametrize("recipe", ["constants", "as-printed"])
def test_batches_equal_those_of_keras_bit_for_bit(drawings, monkeypatch, recipe, more, cache):
    monkeypatch.setattr(transform, "PHOTO_CACHE", cache)
    options = {"rescale": 1.0 / 255, **augmentation(recipe), **more}
    for seed in range(5):
        expected = batches(ImageDataGenerator(**options), drawings / "train", seed)
        found = batches(transform.ImageDataGenerator(**options), drawings / "train", seed)
        for (photos, labels), (our_photos, our_labels) in zip(expected, found, strict=True):
            np.testing.assert_array_equal(our_photos, photos)
            np.testing.assert_array_equal(our_labels, labels)
            assert (our_photos.dtype, our_labels.dtype) == (photos.dtype, labels.dtype)


@pytest.mark.parametrize("option", KERASS)
def test_other_options_are_left_to_keras(drawings, option):
    options = {"rescale": 1.0 / 255, **augmentation("as-printed"), option: KERASS[option]}
    expected = batches(ImageDataGenerator(**options), drawings / "train", seed=0)
    found = batches(transform.ImageDataGenerator(**options), drawings / "train", seed=0)
    np.testing.assert_array_equal(found[0][0], expected[0][0])
    with pytest.raises(ValueError, match="not with the axes and the centre of 2016"):
        transform.ImageDataGenerator(**options, first_axis="rows")


KERASS_FLOWS = [
    {"class_mode": "sparse"},
    {"class_mode": "input"},
    {"color_mode": "grayscale"},
    {"follow_links": True},
]


@pytest.mark.parametrize("options", [*KERASS_FLOWS, {}, {"class_mode": "binary"}])
def test_flows_equal_those_of_keras_or_refuse_2016(drawings, options):
    batches = [
        datagen.flow_from_directory(
            drawings / "train", target_size=(50, 70), shuffle=False, **options
        )[0]
        for datagen in (ImageDataGenerator(), transform.ImageDataGenerator())
    ]
    for expected, found in zip(*batches, strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
    if options in KERASS_FLOWS:
        with pytest.raises(ValueError, match="not with the axes and the centre of 2016"):
            datagen = transform.ImageDataGenerator(centre=0.5)
            datagen.flow_from_directory(drawings / "train", **options)


@pytest.mark.parametrize("order", [0, 1])
def test_resampling_is_scipys_to_the_last_bit_of_float64(order):
    """On small pictures of odd sizes, far beyond their edges, where the order of sums matters."""
    random = np.random.default_rng(0)
    for _ in range(200):
        photo = random.random((*random.integers(2, 9, 2), 1))
        matrix, offset = random.normal(0, 1.5, (2, 2)), random.normal(0, 4, 2)
        expected = affine_transform(photo[..., 0], matrix, offset, order=order, mode="nearest")
        found = transform._resample(photo, matrix, offset, (False, False), order)[..., 0]
        np.testing.assert_array_equal(found, expected)


def test_the_cache_is_read_only(drawings):
    generator = images.in_order_generator(drawings / "train", SIZE, 4)
    generator.digests()
    with pytest.raises(ValueError, match="read-only"):
        generator.photo(0)[:] = 0


@pytest.mark.parametrize(
    ("cache", "decoded"), [(2**30, 20), (8 * 48 * 48 * 3, 20 + 2 * 12), (0, 60)]
)
def test_photos_are_decoded_once_within_the_memory_bound(drawings, monkeypatch, cache, decoded):
    calls = []
    load_img = transform.keras_image.load_img
    monkeypatch.setattr(transform, "PHOTO_CACHE", cache)
    monkeypatch.setattr(
        transform.keras_image, "load_img", lambda *a, **k: calls.append(1) or load_img(*a, **k)
    )
    generator = images.training_generator(drawings / "train", (48, 48), 8, augmentation("faithful"))
    generator.digests()
    for _ in range(2):
        for batch in range(len(generator)):
            generator[batch]
    assert len(calls) == decoded
    assert generator.cache.nbytes <= cache


def test_the_generator_draws_from_the_whole_range():
    datagen = transform.ImageDataGenerator(**augmentation("faithful"))
    np.random.seed(0)
    drawn = [datagen.get_random_transform((150, 150, 3)) for _ in range(2000)]
    drawn = {name: [parameters[name] for parameters in drawn] for name in drawn[0]}
    for name, low, high in [("shear", -11.46, 11.46), ("zx", 0.8, 1.2), ("zy", 0.8, 1.2)]:
        extremes = min(drawn[name]), max(drawn[name])
        assert extremes == pytest.approx((low, high), abs=0.02 * (high - low))
    assert np.mean(drawn["flip_horizontal"]) == pytest.approx(0.5, abs=0.05)
    assert not np.any([drawn["theta"], drawn["tx"], drawn["flip_vertical"]])


def test_description_is_the_digest_of_a_sha256sum_listing(drawings):
    description = describe(drawings)
    listing = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(drawings / 'train')}\n"
        for path in sorted((drawings / "train").rglob("*.jpg"), key=str)
    )
    digest = hashlib.sha256(listing.encode()).hexdigest()
    assert description["train"] == {"photos": 20, "sha256": digest}
    assert description["validation"]["photos"] == 12


def test_description_changes_with_a_photo_and_with_its_name(data):
    before = describe(data)
    (data / "validation/cats/cat.0.jpg").rename(data / "validation/cats/other.jpg")
    renamed = describe(data)
    shutil.copy(data / "validation/dogs/dog.1.jpg", data / "validation/dogs/dog.0.jpg")
    changed = describe(data)
    assert before["train"] == renamed["train"] == changed["train"]
    assert len({d["validation"]["sha256"] for d in (before, renamed, changed)}) == 3


PHOTO = "train/cats/cat.3.jpg"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda: Path("train").rename("gone"), "train: no such folder"),
        (lambda: Path("train/dogs").rename("dogs"), "need at least two classes.* found cats"),
        (lambda: Path("train/birds").mkdir(), "birds: no photos"),
        (
            lambda: [path.unlink() for path in Path("validation/dogs").iterdir()],
            "dogs: no photos",
        ),
        (
            lambda: Path("validation/dogs").rename("validation/wolves"),
            "validation has the classes cats, wolves; name the subfolders alike",
        ),
        (
            lambda: Path(PHOTO).write_text("no picture"),
            r"cat\.3\.jpg: can.t be read \(the file is not a picture\)",
        ),
        (lambda: Path(PHOTO).write_bytes(b""), r"cat\.3\.jpg: can.t be read \(the file is empty\)"),
        (lambda: os.truncate(PHOTO, 2000), r"cat\.3\.jpg: can.t be read \(image file is truncated"),
    ],
)
def test_bad_folders_and_photos_are_refused(data, monkeypatch, spoil, message):
    monkeypatch.chdir(data)
    spoil()
    with pytest.raises(InputError, match=message):
        describe(data)


def test_digest_order_does_not_matter():
    digest = fingerprints.data_set_digest
    assert digest(["b", "a"], ["2", "1"]) == digest(["a", "b"], ["1", "2"])
