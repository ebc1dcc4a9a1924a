"""Model files, which hold everything needed to use the weights, and predictions for photos."""

import io
import json
from concurrent.futures import ThreadPoolExecutor

import h5py
import keras
import numpy as np

from common import files, images, made, recipes, records, transform, vgg16
from common.cli import InputError

BATCH_SIZE = 8  # of predictions; larger is not faster


def class_probabilities(answers):
    """A model's outputs, from one unit or one per class, as shape (photos, classes)."""
    return np.hstack([1 - answers, answers]) if answers.shape[1] == 1 else answers


def save_model(model, path, record):
    """Save weights, with everything needed to use them as two texts in the same HDF5 file.

    `about/architecture` is the model's to_json(), uncompiled; `about/record` is the run's record,
    whose `class_indices`, `image_size` and `preprocessing` say how to feed the model and read
    its output. They are data sets because attributes are limited to 64 KiB. Once the model is on
    the disk, the record is also appended to the runs beside it.
    """
    memory = _in_memory(model)
    with h5py.File(memory, "r+") as file:
        architecture = json.loads(model.to_json())
        architecture.pop("compile_config", None)  # only for training
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
    """The weights file, before it is written.

    On a full disk, HDF5 not only fails but crashes the process later, when the unfinished file
    is released.
    """
    memory = InMemory()
    model.save_weights(memory)
    return memory


class InMemory(io.BytesIO):
    def __str__(self):
        return "memory.weights.h5"  # Keras insists on the ending


def read_record(path, remedy):
    """The record that save_model() stored with a model's weights.

    remedy: what to do, for the InputError if there is no such model.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file; {remedy}")
    record = made.read_record(path)
    if record is None:
        raise InputError(f"{path}: not a model of this repository; {remedy}")
    return record


def load(path, vgg16_weights=None):
    """The model in `path`, from pixels to probabilities, and its record.

    vgg16_weights: as on the command line; only bottleneck.py's classifier needs them. Raises
    InputError if it is not a model of this repository, or was trained with other VGG16 weights.
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
            raise ValueError(f"{model.output_shape[-1]} outputs for {class_names(record)}")
    # Broken files make h5py and Keras raise nearly anything.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a whole model ({reason[:200]}); train it anew") from error
    if record["experiment"] == "bottleneck":  # only the classifier; put it on top of VGG16
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(records.precision(record))
        base, _ = vgg16.load(vgg16_weights, path.parent, image_size, (path, record), False)
        keras.config.set_dtype_policy(policy)
        model = keras.Model(base.input, model(base.output))
    return model, record


def class_names(record):
    """The names of a model's classes, in the order of its outputs."""
    return sorted(record["class_indices"], key=record["class_indices"].get)


def predict(model, record, paths, batch_size=BATCH_SIZE):
    """Yield each photo's path, class probabilities and problem, in the order of `paths`.

    Yields (path, float32 array of shape (classes,), None), or (path, None, problem) if the photo
    can't be read. The next batch is decoded while the network runs on this one.
    """
    with ThreadPoolExecutor() as threads:
        coming = []
        for start in range(0, len(paths) + batch_size, batch_size):  # one more for the last batch
            here = coming
            batch = paths[start : start + batch_size]
            coming = [(path, threads.submit(_read, path, record)) for path in batch]
            read = [(path, *future.result()) for path, future in here]
            pixels = [photo for _, photo, problem in read if problem is None]
            if pixels:
                pixels = images.standardize(np.stack(pixels), record["preprocessing"])
                answers = iter(class_probabilities(model.predict_on_batch(pixels)))
            for path, _, problem in read:
                yield path, None if problem else next(answers), problem


def decode(content, record):
    """A photo from its file's bytes as the record's model needs it: uint8, (height, width, 3)."""
    names = ("color_mode", "interpolation", "keep_aspect_ratio")
    options = {name: record["preprocessing"][name] for name in names}
    return transform.decode(
        content, tuple(record["image_size"]), **options, upright=_upright(record)
    )


def _upright(record):
    """Whether a model's photos are turned as EXIF says."""
    return record["preprocessing"].get("upright", False)


def show(content, record, longer_side):
    """The photo as the network sees it, but larger: uint8 of shape (height, width, 3).

    With the photo's aspect ratio, unless the network sees a crop. longer_side: in pixels.
    """
    size = np.array(files.open_picture(content, _upright(record)).size[::-1])
    if record["preprocessing"]["keep_aspect_ratio"]:
        size = np.array(record["image_size"])
    size = np.maximum(1, np.round(size * longer_side / size.max())).astype(int)
    return decode(content, {**record, "image_size": size.tolist()})


def _read(path, record):
    """A photo's pixels (uint8) and None, or None and its problem."""
    decoded = []
    _, problem = files.look_at(path, lambda _, content: decoded.append(decode(content, record)))
    return (None, problem) if problem else (decoded[0], None)
