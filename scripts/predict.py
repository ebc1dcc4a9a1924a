"""Tell the classes of photos, with any model that the scripts wrote.

Prints a line for each photo: its path, its class and the probability of that class. The
model's own record says what its classes are called, how large the photos have to be and how
the pixels are prepared. A photo that can't be read is named on standard error, the others
go on, and the exit status is 1 in the end.
"""

import csv
import io
import sys
from concurrent.futures import ThreadPoolExecutor

import cli
import files
import parsers
from cli import InputError

BATCH_SIZE = 8  # photos that go through the network at once; more are not faster


def parse(argv=None):
    """The command line's options, or those of `argv`.

    `photos` are those in the files and folders that it names, `models` what
    parsers.find_models() found.
    """
    parser = parsers.model(__doc__)
    parser.add_argument(
        "photos", type=cli.path, nargs="+", metavar="PHOTO", help="photos, or folders of photos"
    )
    parser.add_argument(
        "--top",
        type=cli.positive,
        default=1,
        metavar="N",
        help="tell the N most probable classes of each photo (default: %(default)s)",
    )
    parser.add_argument(
        "--csv",
        type=cli.path,
        metavar="FILE",
        help="write them to this file, too, with the columns path, class, probability",
    )
    arguments = parser.parse_args(argv)
    if arguments.csv:
        files.check_output(arguments.csv)
    arguments.photos = find_photos(arguments.photos)
    arguments.models = parsers.find_models(arguments)
    return arguments


def find_photos(paths):
    """The photos in these files and folders; folders with their subfolders, in order.

    Raises InputError for what is not there, and where a folder has no photos.
    """
    photos = []
    for path in paths:
        found = files.photos_below(path) if path.is_dir() else [path]
        if not found:
            endings = ", ".join(files.PHOTO_ENDINGS)
            raise InputError(f"{path}: no photos ({endings}) in this folder")
        if not path.is_dir() and not path.exists() and not path.is_symlink():
            raise InputError(f"{path}: no such photo or folder")
        photos += found
    return photos


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    arguments = cli.run(parse)

import backend  # noqa: F401  first, it sets Keras up
import h5py
import keras
import numpy as np
from PIL import Image
from tqdm import tqdm

import images
import recipes
import runs
import vgg16


def load(path, vgg16_weights=None):
    """The model in `path`, from pixels to probabilities, and the record stored with it.

    vgg16_weights: as on the command line; only the classifier of bottleneck.py needs them.
    Raises InputError if it is none of this repository's, or VGG16's weights are others than
    those it was trained with.
    """
    record = runs.read_model_record(path, "name one that the scripts wrote")
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
        weights = vgg16.weights_file(vgg16_weights, path.parent)
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(record.get("precision", "float32"))
        base = vgg16.convolutional_base(weights, image_size)
        keras.config.set_dtype_policy(policy)
        if vgg16.digest(base) != record["vgg16_sha256"]:
            raise InputError(
                f"{path}: trained on the features of other VGG16 weights than {weights}; "
                "name those with --vgg16-weights (make: VGG16_WEIGHTS)"
            )
        model = keras.Model(base.input, model(base.output))
    return model, record


def class_names(record):
    """The names of a model's classes, in the order of its answers."""
    return sorted(record["class_indices"], key=record["class_indices"].get)


def predict(model, record, photos, batch_size=BATCH_SIZE):
    """Yield for each photo its path, the classes' probabilities, and what is wrong with it.

    photos: paths. Yields (path, float32 array of shape (classes,), None), or (path, None,
    problem) if it can't be read, in the order of `photos`. While the network looks at a
    batch, the next one is decoded.
    """
    with ThreadPoolExecutor() as threads:
        coming = []
        for start in range(0, len(photos) + batch_size, batch_size):  # once more for the last
            here, coming = (
                coming,
                [(p, threads.submit(_read, p, record)) for p in photos[start : start + batch_size]],
            )
            read = [(path, *future.result()) for path, future in here]
            pixels = [photo for _, photo, problem in read if problem is None]
            if pixels:
                pixels = images.standardize(np.stack(pixels), record["preprocessing"])
                answers = iter(images.class_probabilities(model.predict_on_batch(pixels)))
            for path, _, problem in read:
                yield path, None if problem else next(answers), problem


def decode(content, record):
    """A photo from its file's bytes, as this record's model takes it: uint8, (height, width, 3)."""
    preprocessing = {
        name: record["preprocessing"][name]
        for name in ("color_mode", "interpolation", "keep_aspect_ratio")
    }
    return images.decode(content, tuple(record["image_size"]), **preprocessing)


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


def main(arguments):
    """Run the script with the options that parse() returned."""
    photos = arguments.photos
    path, *_ = arguments.models
    model, record = load(path, arguments.vgg16_weights)
    names = class_names(record)
    print(f"{path}: {record['experiment']}, {', '.join(names)}", file=sys.stderr)

    rows, unread = [], 0
    # The bar only where the answers do not go to the same terminal, which tell the progress.
    silent = sys.stdout.isatty() or not sys.stderr.isatty()
    for photo, answer, problem in tqdm(
        predict(model, record, photos), total=len(photos), unit="photo", disable=silent
    ):
        if problem:
            unread += 1
            tqdm.write(f"{photo}: can't be read ({problem})", file=sys.stderr)
            continue
        best = np.argsort(-answer, kind="stable")[: arguments.top]
        rows += [(photo, names[number], f"{answer[number]:.6f}") for number in best]
        told = "\t".join(f"{names[number]}\t{answer[number]:.4f}" for number in best)
        print(f"{photo}\t{told}")
    if arguments.csv:
        with (
            files.replacing(arguments.csv) as temporary,
            open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            csv.writer(file).writerows([("path", "class", "probability"), *rows])
    if unread:
        print(f"{unread} of {len(photos)} photos could not be read", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main, arguments, after_interrupt="nothing was written")
