"""Features stored together with what they depend on, and batches of them."""

import json
from pathlib import Path

import numpy as np
from tensorflow.keras.preprocessing.image import Iterator

from common import files, made, runs
from common.cli import InputError

# The fields of a run's record that features depend on, besides the photos.
SOURCE = (
    *("class_indices", "image_size", "preprocessing", "precision"),
    *("vgg16_weights", "vgg16_sha256", "frozen_layers", "pooled_layers", "mirrored"),
)


def save_bottleneck_features(base, generator, path, settings):
    """Store and return base.predict() of the generator's photos, unless `path` has it already.

    path: the .npy file, float32 of shape (photos, *base.output_shape[1:]).
    settings: the run's record. What the features depend on is stored beside them in a .json
        file with the digest of the .npy file, so that neither a stale file nor a mismatched
        pair is used.
    """
    source = {name: settings[name] for name in SOURCE if name in settings}
    source["photos"] = settings["data"][Path(generator.directory).name]
    source["versions"] = made.versions()
    if read_source(path) == source:
        print(f"Using the features in {path.name}.")
        return np.load(path)
    features = base.predict(generator, verbose=runs.VERBOSE).astype("float32", copy=False)
    if len(features) != generator.n:
        raise InputError(f"{path}: {len(features)} features of {generator.n} photos; not stored")
    store_features(path, features, source)
    return features


def store_features(path, features, source):
    """Write features and their source, see save_bottleneck_features()."""
    with files.replacing(path) as temporary, open(temporary, "wb") as file:
        # like np.save(), which does not notice when the disk has no room for the last 4 KiB
        header = np.lib.format.header_data_from_array_1_0(features)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(np.ascontiguousarray(features).data)
    files.write_json(path.with_suffix(".json"), {**source, "sha256": files.sha256(path)})


def read_source(path):
    """What the features in `path` were made from; None if some are missing or damaged."""
    try:
        source = json.loads(path.with_suffix(".json").read_text())
        intact = source.pop("sha256") == files.sha256(path)
        intact &= len(np.load(path, mmap_mode="r")) == source["photos"]["photos"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return source if intact else None


class ArrayIterator(Iterator):
    """Shuffled batches of arrays, like flow_from_directory's of photos.

    fit() on the arrays could not be resumed: it shuffles them with a state that can't be saved.
    An Iterator draws each epoch's order from NumPy's generator, which runs.Run seeds in each epoch.
    """

    def __init__(self, x, y, batch_size):
        super().__init__(len(x), batch_size, shuffle=True, seed=None)
        self.x, self.y = x, y

    def _get_batches_of_transformed_samples(self, index_array):
        return self.x[index_array], self.y[index_array]
