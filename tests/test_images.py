"""The data path, where errors are silent: labels, order, counts, and what augmentation does."""

import hashlib

from common import fingerprints, images
import numpy as np
import pytest
from common import recipes, transform
from common.cli import InputError
from PIL import Image
from scipy.ndimage import affine_transform
from tensorflow.keras.preprocessing.image import ImageDataGenerator

SIZE = (150, 150)


def augmentation(recipe):
    return recipes.augmentation(recipe, shear_range=0.2, zoom_range=0.2, horizontal_flip=True)


def sheared(recipe, axis):
    """Each pixel's row or column of origin in a 150×150 picture sheared as far as it goes."""
    datagen = transform.ImageDataGenerator(**augmentation(recipe))
    origins = np.broadcast_to(np.indices((150, 150))[axis][..., None], (150, 150, 3))
    return datagen.apply_transform(origins, {"shear": datagen.shear_range})[..., 0]


def test_cats_are_0_and_dogs_are_1(drawings):
    generator = images.in_order_generator(drawings / "train", SIZE, 7)
    assert generator.class_indices == {"cats": 0, "dogs": 1}
    for name, label in zip(generator.filenames, generator.classes, strict=True):
        assert name.startswith(("cats/", "dogs/")[label])


def test_labels_stay_with_their_photos_when_shuffled(tmp_path):
    for number, name in enumerate(("cats", "dogs")):
        (tmp_path / name).mkdir()
        for photo in range(9):
            colour = (255 * number, 0, 0)
            Image.new("RGB", (40, 30), colour).save(tmp_path / name / f"{photo}.png")
    generator = images.training_generator(tmp_path, SIZE, 4, augmentation("faithful"))
    labels = []
    for batch in range(len(generator)):
        photos, batch_labels = generator[batch]
        np.testing.assert_array_equal(photos[:, 75, 75, 0], batch_labels)
        labels.extend(batch_labels)
    assert sorted(labels) == [0] * 9 + [1] * 9
    assert labels != sorted(labels)


def test_validation_photos_come_in_order(drawings):
    generator = images.validation_generator(drawings / "validation", SIZE, 5)
    labels = [label for batch in range(len(generator)) for label in generator[batch][1]]
    assert labels == list(generator.classes) == [0] * 6 + [1] * 6


def test_an_epoch_is_every_photo_once_with_the_smaller_last_batch(drawings):
    generator = images.validation_generator(drawings / "train", SIZE, 8)
    sizes = [len(generator[batch][1]) for batch in range(len(generator))]
    assert sizes == [8, 8, 4]


def test_pixels_are_rgb_by_255(tmp_path):
    for name in "cats", "dogs":
        (tmp_path / name).mkdir()
        Image.new("RGB", (90, 60), (255, 102, 0)).save(tmp_path / name / "0.png")
    (photos,) = [images.in_order_generator(tmp_path, SIZE, 2)[0]]
    assert photos.shape == (2, 150, 150, 3) and photos.dtype == np.float32
    np.testing.assert_allclose(photos[0, 0, 0], [1, 0.4, 0], atol=1e-6)


@pytest.mark.parametrize(("mode", "colour"), [("L", 51), ("CMYK", (0, 0, 0, 204)), ("P", 7)])
def test_grey_cmyk_and_palette_become_rgb(tmp_path, mode, colour):
    for name in "cats", "dogs":
        (tmp_path / name).mkdir()
        Image.new(mode, (30, 30), colour).save(tmp_path / name / "0.tif")
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
    """All batches of an epoch of shuffled, augmented photos."""
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
# What the class leaves to Keras: some of these, it would do in another way.
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
def test_what_is_not_done_here_is_kerass(drawings, option):
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
def test_flows_are_kerass(drawings, options):
    flows = []
    for datagen in ImageDataGenerator(), transform.ImageDataGenerator():
        options = {"target_size": (50, 70), "shuffle": False, **options}
        flows.append(datagen.flow_from_directory(drawings / "train", **options)[0])
    for expected, found in zip(*flows, strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype


@pytest.mark.parametrize("options", KERASS_FLOWS)
def test_flows_that_are_not_made_here_refuse_the_ways_of_2016(drawings, options):
    datagen = transform.ImageDataGenerator(centre=0.5)
    with pytest.raises(ValueError, match="not with the axes and the centre of 2016"):
        datagen.flow_from_directory(drawings / "train", **options)


@pytest.mark.parametrize("order", [0, 1])
def test_resampling_is_scipys_to_the_last_bit_of_float64(order):
    """On small pictures of odd sizes, far beyond their edges; a wrong order of sums shows here."""
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
    for name, low, high in [("shear", -11.46, 11.46), ("zx", 0.8, 1.2), ("zy", 0.8, 1.2)]:
        values = [transform[name] for transform in drawn]
        assert (min(values), max(values)) == pytest.approx((low, high), abs=0.02 * (high - low))
    assert np.mean([transform["flip_horizontal"] for transform in drawn]) == pytest.approx(
        0.5, abs=0.05
    )
    assert not any(
        transform["theta"] or transform["tx"] or transform["flip_vertical"] for transform in drawn
    )


def test_description_is_the_digest_of_a_sha256sum_listing(drawings):
    generators = [images.in_order_generator(drawings / s, SIZE, 4) for s in ("train", "validation")]
    description = images.describe(*generators)
    listing = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(drawings / 'train')}\n"
        for path in sorted((drawings / "train").rglob("*.jpg"), key=str)
    )
    assert description["train"] == {
        "photos": 20,
        "sha256": hashlib.sha256(listing.encode()).hexdigest(),
    }
    assert description["validation"]["photos"] == 12


def test_description_changes_with_a_photo_and_with_its_name(data):
    def describe():
        return images.describe(
            *(images.in_order_generator(data / split, SIZE, 4) for split in ("train", "validation"))
        )

    before = describe()
    photo = data / "validation" / "cats" / "cat.0.jpg"
    photo.rename(photo.with_name("other.jpg"))
    renamed = describe()
    (data / "validation" / "dogs" / "dog.0.jpg").write_bytes(
        (data / "validation" / "dogs" / "dog.1.jpg").read_bytes()
    )
    changed = describe()
    assert before["train"] == renamed["train"] == changed["train"]
    assert len({d["validation"]["sha256"] for d in (before, renamed, changed)}) == 3


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: (data / "train").rename(data / "gone"), "train: no such folder"),
        (
            lambda data: (data / "train/dogs").rename(data / "dogs"),
            "need at least two classes.* found 1: cats",
        ),
        (lambda data: (data / "train/birds").mkdir(), "birds: no photos"),
        (
            lambda data: [path.unlink() for path in (data / "validation/dogs").iterdir()],
            "dogs: no photos",
        ),
        (
            lambda data: (data / "validation/dogs").rename(data / "validation/wolves"),
            "validation has cats, wolves; name the subfolders alike",
        ),
        (
            lambda data: (data / "train/cats/cat.3.jpg").write_text("not a picture"),
            r"cat\.3\.jpg \(the file is not a picture\)",
        ),
        (
            lambda data: (data / "train/cats/cat.3.jpg").write_bytes(b""),
            r"cat\.3\.jpg \(the file is empty\)",
        ),
        (
            lambda data: (data / "train/dogs/dog.4.jpg").write_bytes(
                (data / "train/dogs/dog.4.jpg").read_bytes()[:-2000]
            ),
            r"dog\.4\.jpg \(image file is truncated",
        ),
    ],
)
def test_bad_folders_and_photos_are_refused(data, spoil, message):
    spoil(data)
    with pytest.raises(InputError, match=message):
        images.describe(
            images.training_generator(data / "train", SIZE, 4, augmentation("faithful")),
            images.validation_generator(data / "validation", SIZE, 4),
        )


def test_files_left_out_are_counted(data, capsys):
    (data / "train/cats/photo.webp").write_bytes(b"RIFF")
    (data / "train/cats/.DS_Store").write_bytes(b"")
    images.in_order_generator(data / "train", SIZE, 4)
    assert "1 files left out that are not png, jpg" in capsys.readouterr().err


def test_digest_order_does_not_matter():
    assert fingerprints.data_set_digest(["b", "a"], ["2", "1"]) == fingerprints.data_set_digest(
        ["a", "b"], ["1", "2"]
    )
