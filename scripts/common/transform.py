"""Keras's ImageDataGenerator with bit-identical results, several times as fast."""

import functools
import io
import itertools
from pathlib import Path

import keras
import numpy as np
from PIL import Image
from tensorflow.keras.preprocessing import image as keras_image

from common import files

# Bytes of decoded photos that a generator keeps: 15,900 photos of 150×150 pixels, more than
# the article needs. Any others are decoded in each epoch. Generators without labels get a
# quarter of it, since their photos are read only once after the check.
PHOTO_CACHE = 2**30

# The options of flow_from_directory that are implemented here.
FLOW_OPTIONS = {
    *("target_size", "color_mode", "classes", "class_mode", "batch_size", "shuffle", "seed"),
    *("interpolation", "keep_aspect_ratio", "upright"),  # the last is not Keras's
}


class ImageDataGenerator(keras_image.ImageDataGenerator):
    """Keras's, with bit-identical results in less time.

    Keras decodes every photo in every epoch and calls SciPy for each channel. Here
    flow_from_directory keeps the decoded photos, and the affine transform computes once
    which pixel goes where and moves all channels together.

    first_axis: "columns" as in today's Keras, or "rows" as in 2016. centre: what is added to
    half the size, -0.5 as today or 0.5 as in 2016. See recipes.CHANGES.
    The other options are Keras's. Where __init__() and flow_from_directory() find some that are
    not implemented here, all is left to Keras, or ValueError raised with first_axis or centre,
    which Keras does not know.
    """

    def __init__(self, *, first_axis="columns", centre=-0.5, **options):
        super().__init__(**options)
        self.first_axis, self.centre = first_axis, centre
        self.is_fast = (
            self.dtype == "float32"
            and self.data_format == "channels_last"
            and self.fill_mode == "nearest"
            and self.interpolation_order <= 1
            and not self.channel_shift_range
            and self.brightness_range is None
            # Their sums' last bit depends on how Keras's photos lie in memory.
            and not (self.samplewise_center or self.samplewise_std_normalization)
        )
        self.is_of_2016 = (first_axis, centre) != ("columns", -0.5)
        if not self.is_fast:
            self._refuse_2016("these options")

    def _refuse_2016(self, what):
        if self.is_of_2016:
            raise ValueError(f"{what}: not with the axes and the centre of 2016")

    def get_random_transform(self, img_shape, seed=None):
        """Keras's parameters of a random transform, drawn from NumPy's global generator.

        With the axes or the centre of 2016, drawn as in Keras 1.0.4: in the same order, but
        without a number for a flip that is off.
        """
        if not self.is_of_2016:
            return super().get_random_transform(img_shape, seed)
        if seed is not None:
            np.random.seed(seed)

        def within(limit):
            return np.random.uniform(-limit, limit) if limit else 0

        low, high = self.zoom_range
        return {
            "theta": within(self.rotation_range),
            "tx": within(self.height_shift_range) * img_shape[0],
            "ty": within(self.width_shift_range) * img_shape[1],
            "shear": within(self.shear_range),
            "zx": np.random.uniform(low, high),
            "zy": np.random.uniform(low, high),
            "flip_horizontal": bool(self.horizontal_flip and np.random.random() < 0.5),
            "flip_vertical": bool(self.vertical_flip and np.random.random() < 0.5),
        }

    def flow_from_directory(self, directory, **options):
        """Keras's batches of the photos in `directory`, with Keras's options."""
        if (
            self.is_fast
            and options.keys() <= FLOW_OPTIONS
            and options.get("color_mode", "rgb") == "rgb"
            and options.get("class_mode", "categorical") in ("binary", "categorical", None)
        ):
            return PhotoIterator(directory, self, **options)
        self._refuse_2016("these options of flow_from_directory")
        return super().flow_from_directory(directory, **options)

    def apply_transform(self, x, transform_parameters):
        """Transform a photo of shape (height, width, channels) as Keras does.

        transform_parameters: what get_random_transform() returned. Returns the same shape, and
        the same dtype for interpolation order 0, else float32.
        """
        if not self.is_fast:
            return super().apply_transform(x, transform_parameters)
        rest = dict(transform_parameters)
        matrix, offset = _affine_transform(x.shape, rest, self.first_axis, self.centre)
        if not np.array_equal(matrix, np.eye(2)) or offset.any():
            flips = [rest.pop(name, False) for name in ("flip_vertical", "flip_horizontal")]
            x = _resample(x, matrix, offset, flips, self.interpolation_order)
            x = x.astype(np.float32) if self.interpolation_order else x
        for name in "theta", "tx", "ty", "shear", "zx", "zy":
            rest.pop(name, None)
        return super().apply_transform(x, rest)


def _affine_transform(shape, parameters, first_axis, centre):
    """Where a transformed photo's pixels come from: matrix @ (row, column) + offset.

    Computed in the order of keras.preprocessing, today's and that of 2016, for the same last bit.
    """
    theta, shear = (np.deg2rad(parameters.get(name, 0)) for name in ("theta", "shear"))
    rotation = [[np.cos(theta), -np.sin(theta), 0], [np.sin(theta), np.cos(theta), 0], [0, 0, 1]]
    shift = [[1, 0, parameters.get("tx", 0)], [0, 1, parameters.get("ty", 0)], [0, 0, 1]]
    shear = [[1, -np.sin(shear), 0], [0, np.cos(shear), 0], [0, 0, 1]]
    zoom = [[parameters.get("zx", 1), 0, 0], [0, parameters.get("zy", 1), 0], [0, 0, 1]]
    x, y = shape[0] / 2 + centre, shape[1] / 2 + centre  # as Keras names them
    to_centre, back = [[1, 0, x], [0, 1, y], [0, 0, 1]], [[1, 0, -x], [0, 1, -y], [0, 0, 1]]
    matrix = np.dot(np.dot(np.dot(rotation, shift), shear), zoom)
    matrix = np.dot(np.dot(to_centre, matrix), back)
    if first_axis == "columns":
        matrix = matrix[[1, 0, 2]][:, [1, 0, 2]]
    return matrix[:2, :2], matrix[:2, 2]


def _resample(photo, matrix, offset, flips, order):
    """scipy.ndimage.affine_transform(mode="nearest") of all channels, and then the flips.

    flips: whether to flip (vertically, horizontally). order: 0 takes the nearest pixel, 1
    interpolates between the four around.
    """
    height, width, channels = photo.shape
    row_step, column_step = (-1 if flip else 1 for flip in flips)
    row, column = np.arange(height)[::row_step, None], np.arange(width)[::column_step]
    origins = []
    for axis, size in enumerate((height, width)):
        # In SciPy's order, for the same last bit.
        origin = np.add(offset[axis] + matrix[axis, 0] * row, matrix[axis, 1] * column)
        if order == 0:
            # In place, since allocating memory costs more than the sums.
            np.clip(origin, 0, size - 1, out=origin)
            origin += 0.5
            origin = origin.astype(np.int32)
        origins.append(origin)
    rows, columns = origins
    pixels = photo.reshape(-1, channels)
    if order == 0:
        rows *= width
        rows += columns
        return pixels.take(rows, axis=0)
    # Beyond the edge, the pixels are the edge's, but the place between them still counts.
    upper, left = np.floor(rows), np.floor(columns)
    top, start = (1 - (rows - upper))[..., None], (1 - (columns - left))[..., None]
    bottom, end = 1 - top, 1 - start
    upper, lower = (np.clip(upper + n, 0, height - 1).astype(np.int32) for n in (0, 1))
    left, right = (np.clip(left + n, 0, width - 1).astype(np.int32) for n in (0, 1))
    # In float64 and in SciPy's order, for the same last bit.
    result = pixels.take(upper * width + left, axis=0) * top * start
    result += pixels.take(upper * width + right, axis=0) * top * end
    result += pixels.take(lower * width + left, axis=0) * bottom * start
    result += pixels.take(lower * width + right, axis=0) * bottom * end
    return result


def decode(content, image_size, color_mode, interpolation, keep_aspect_ratio, upright=False):
    """A photo from its file's bytes: uint8 of shape (height, width, 3).

    As Keras does it: the first frame of an animation, without transparency. But 16-bit grey keeps
    its upper 8 bits. Raises what files.open_picture() does.

    interpolation: "nearest-2016" for the nearest neighbour of Pillow 3.2; "bilinear", always first
    along the width, which of the two Pillow 13 begins with depends on the sizes; else Keras's.
    upright: turned as EXIF says, which Keras ignores.
    """
    picture = files.open_picture(content, upright)
    file = io.BytesIO(content)
    if picture.format is None:  # turned, or made of 16 bits
        picture.convert("RGB").save(file := io.BytesIO(), "PPM")
    if interpolation == "nearest-2016":
        picture = np.asarray(keras_image.load_img(file, color_mode=color_mode))
        rows, columns = map(_places_of_2016, picture.shape, image_size)
        return picture[rows[:, None], columns]
    if interpolation == "bilinear" and not keep_aspect_ratio:
        height, width = image_size
        picture = keras_image.load_img(file, color_mode=color_mode)
        picture = picture.resize((width, picture.height), Image.Resampling.BILINEAR)
        return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
    picture = keras_image.load_img(
        file,
        color_mode=color_mode,
        target_size=image_size,
        interpolation=interpolation,
        keep_aspect_ratio=keep_aspect_ratio,
    )
    return np.asarray(picture)


def _places_of_2016(size, target):
    """Which of `size` pixels Pillow 3.2 takes for each of `target`: a running sum, truncated."""
    steps = np.full(target, size / target)
    steps[0] = 0
    return np.cumsum(steps).astype(int)  # not a product, for the same last bit


class PhotoIterator(keras_image.DirectoryIterator):
    """Keras's, but it keeps PHOTO_CACHE bytes of decoded and resized photos, as uint8.

    Hidden files and folders, such as thumbnails, are ignored, and photos have more endings: see
    files.photos_of_classes(). upright: see decode().
    """

    white_list_formats = files.PHOTO_ENDINGS

    def __init__(self, directory, image_data_generator, upright=False, **options):
        super().__init__(directory, image_data_generator, **options)
        self.upright = upright
        photos = {*files.photos_of_classes(Path(directory))}
        is_photo = np.array([Path(path) in photos for path in self.filepaths], bool)
        files.refuse_folders(sorted(photos))
        self.filenames = list(itertools.compress(self.filenames, is_photo))
        self._filepaths = list(itertools.compress(self._filepaths, is_photo))
        self.classes = self.classes[is_photo]
        self.n = self.samples = len(self.filenames)
        cache = PHOTO_CACHE if self.class_mode else PHOTO_CACHE // 4
        count = min(self.n, cache // int(np.prod(self.image_shape)))
        self.cache = np.empty((count, *self.image_shape), np.uint8)
        self.is_cached = np.zeros(count, bool)

    def look(self):
        """files.look_at_all() of the photos; decoding them fills the cache."""
        return files.look_at_all(self.filepaths, self._decode)

    def digests(self):
        """SHA-256 of every photo's bytes, in order. Raises InputError for unreadable photos."""
        return files.refuse_broken(self.filepaths, self.look())

    def photo(self, index):
        """The decoded photo number `index`: uint8 of shape (height, width, 3)."""
        if index < len(self.cache) and self.is_cached[index]:
            photo = self.cache[index]
            photo.flags.writeable = False  # this view's; the cache stays as it is
            return photo
        return self._decode(index, Path(self.filepaths[index]).read_bytes())

    def _decode(self, index, content):
        photo = decode(
            content,
            self.target_size,
            color_mode=self.color_mode,
            interpolation=self.interpolation,
            keep_aspect_ratio=self.keep_aspect_ratio,
            upright=self.upright,
        )
        if index < len(self.cache):
            self.cache[index] = photo
            self.is_cached[index] = True
        return photo

    def _get_batches_of_transformed_samples(self, index_array):
        datagen = self.image_data_generator
        photos = np.empty((len(index_array), *self.image_shape), np.float32)
        for photo, index in zip(photos, index_array, strict=True):
            parameters = datagen.get_random_transform(self.image_shape)
            photo[:] = datagen.apply_transform(self.photo(index), parameters)
            photo[:] = datagen.standardize(photo)
        if self.class_mode is None:
            return photos
        return photos, self.targets[index_array]

    @functools.cached_property
    def targets(self):
        """The labels as float32: 0 or 1, or one-hot rows.

        Without a class_mode, 0 or 1 for two classes.
        """
        if self.class_mode == "binary" or (self.class_mode is None and self.num_classes == 2):
            return self.classes.astype(np.float32)
        return keras.utils.to_categorical(self.classes, self.num_classes).astype(np.float32)
