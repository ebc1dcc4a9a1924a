"""Model files: weights with all that it takes to use them, and what they answer for photos."""

import io
import json
from concurrent.futures import ThreadPoolExecutor

import h5py
import keras
import numpy as np
from PIL import Image

from common import files, images, made, recipes, records, transform, vgg16
from common.cli import InputError

BATCH_SIZE = 8  # photos that go through the network at once; more are not faster


def class_probabilities(answers):
    """A model's answers, of one unit or as many as classes, as shape (photos, classes)."""
    return np.hstack([1 - answers, answers]) if answers.shape[1] == 1 else answers


def save_model(model, path, record):
    """Save weights with all that it takes to use them, as two texts in the same HDF5 file.

    `about/architecture` is the model's to_json(), uncompiled; `about/record` is the run's record,
    whose `class_indices`, `image_size` and `preprocessing` tell how to feed the model
    and how to read its answer. They are data sets because attributes end at 64 KiB. The record
    also goes to the runs beside the model, once the model is on the disk.
    """
    memory = _in_memory(model)
    with h5py.File(memory, "r+") as file:
        architecture = json.loads(model.to_json())
        architecture.pop("compile_config", None)  # of the training, which is over
        file["about/architecture"] = json.dumps(architecture)
        file["about/record"] = json.dumps(record)
    runs = path.parent / records.RUNS
    with files.replacing(path) as temporary:
        temporary.write_bytes(memory.getbuffer())
        if record["run"] not in {run.get("run") for run in records.read(runs)}:
            records.append(runs, record)


def save_weights(model, path):
    """Save the weights alone, with the optimizer's state."""
    with files.replacing(path) as temporary:
        temporary.write_bytes(_in_memory(model).getbuffer())


def _in_memory(model):
    memory = InMemory()
    model.save_weights(memory)
    return memory


class InMemory(io.BytesIO):
    """A weights file that is not on a disk yet.

    Where a disk is full, HDF5 doesn't only fail but crashes the process later, when the file
    that it could not finish is released. So a whole file is made here and then written.
    """

    def __str__(self):
        return "memory.weights.h5"  # Keras insists on the ending


def read_record(path, remedy):
    """The record that save_model() stored with a model's weights.

    remedy: what to do, for the InputError if there is no such file, or another one.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file; {remedy}")
    record = made.read_record(path)
    if record is None:
        raise InputError(f"{path}: not a model of this repository; {remedy}")
    return record


def load(path, vgg16_weights=None):
    """The model in `path`, from pixels to probabilities, and the record stored with it.

    vgg16_weights: as on the command line; only the classifier of bottleneck.py needs them.
    Raises InputError if it is none of this repository's, or VGG16's weights are others than
    those it was trained with.
    """
    record = read_record(path, "name one that the scripts wrote")
    try:
        with h5py.File(path) as file:
            model = keras.models.model_from_json(file["about/architecture"][()])
        model.load_weights(path)
        image_size = tuple(record["image_size"])
        needed = {"experiment", "class_indices", *recipes.PREPROCESSING}
        if missing := needed - {*record, *record["preprocessing"]}:
            raise KeyError(", ".join(sorted(missing)))
        units, _ = images.output(len(record["class_indices"]))
        if model.output_shape[-1] != units:
            raise ValueError(f"{model.output_shape[-1]} answers for {class_names(record)}")
    # Broken files make h5py and Keras raise nearly anything.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a whole model ({reason[:200]}); train it anew") from error
    if record["experiment"] == "bottleneck":  # it takes VGG16's features; put it on top
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(records.precision(record))
        base, _ = vgg16.load(vgg16_weights, path.parent, image_size, classifier=(path, record))
        keras.config.set_dtype_policy(policy)
        model = keras.Model(base.input, model(base.output))
    return model, record


def class_names(record):
    """The names of a model's classes, in the order of its answers."""
    return sorted(record["class_indices"], key=record["class_indices"].get)


def predict(model, record, paths, batch_size=BATCH_SIZE):
    """Yield for each photo its path, the classes' probabilities, and what is wrong with it.

    paths: of photos. Yields (path, float32 array of shape (classes,), None), or (path, None,
    problem) if it can't be read, in the order of `paths`. While the network looks at a
    batch, the next one is decoded.
    """
    with ThreadPoolExecutor() as threads:
        coming = []
        for start in range(0, len(paths) + batch_size, batch_size):  # once more for the last
            here, coming = (
                coming,
                [(p, threads.submit(_read, p, record)) for p in paths[start : start + batch_size]],
            )
            read = [(path, *future.result()) for path, future in here]
            pixels = [photo for _, photo, problem in read if problem is None]
            if pixels:
                pixels = images.standardize(np.stack(pixels), record["preprocessing"])
                answers = iter(class_probabilities(model.predict_on_batch(pixels)))
            for path, _, problem in read:
                yield path, None if problem else next(answers), problem


def decode(content, record):
    """A photo from its file's bytes, as this record's model takes it: uint8, (height, width, 3)."""
    preprocessing = {
        name: record["preprocessing"][name]
        for name in ("color_mode", "interpolation", "keep_aspect_ratio")
    }
    return transform.decode(content, tuple(record["image_size"]), **preprocessing)


def show(content, record, longer_side):
    """The photo as the network sees it, but larger: uint8 of shape (height, width, 3).

    In its own proportions, unless the network sees a part of it; not turned as EXIF says.
    longer_side: in pixels.
    """
    with Image.open(io.BytesIO(content)) as picture:
        size = np.array(picture.size[::-1])
    if record["preprocessing"]["keep_aspect_ratio"]:
        size = np.array(record["image_size"])
    size = np.maximum(1, np.round(size * longer_side / size.max())).astype(int)
    return decode(content, {**record, "image_size": size.tolist()})


def _read(path, record):
    """A photo's pixels, uint8, and None; or None and what is wrong."""
    decoded = []
    _, problem = files.look_at(path, lambda _, content: decoded.append(decode(content, record)))
    return (None, problem) if problem else (decoded[0], None)
