"""Export a model to a file that needs nothing from here: pixels in, probabilities out.

Writes NAME.keras beside the model, a Keras model that takes RGB pixels in 0..255, float32 or
uint8 of shape (photos, height, width, 3) with any height and width, and gives the classes'
probabilities, shape (photos, classes): resizing, the order of the colours, mean and scale are
inside. The names of the classes are beside it in NAME.json. With --savedmodel, also writes a
folder NAME_savedmodel, which TensorFlow loads without Keras. weights/README.md has the
lines that use it.
"""

import shutil

from common import cli, files, parsers


def parse(argv=None):
    """The command line's options, and the model to export."""
    parser = parsers.model(__doc__)
    parser.add_argument(
        "--output",
        type=cli.path,
        metavar="FILE.keras",
        help="where the exported model goes (default: NAME.keras beside the model)",
    )
    parser.add_argument(
        "--savedmodel", action="store_true", help="also export it for TensorFlow without Keras"
    )
    arguments = parser.parse_args(argv)
    path, *_ = parsers.find_models(arguments)
    output = arguments.output or path.with_name(path.name.removesuffix(".weights.h5") + ".keras")
    if output.suffix != ".keras":
        raise cli.InputError(f"{output}: the name must end in .keras")
    files.check_output(output)
    return arguments, path, output


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    command = cli.run(parse)

from common import backend  # noqa: F401  first, it sets Keras up
import keras
import numpy as np
from keras import ops

from common import networks


def resized(pixels, image_size, interpolation):
    """A tensor of photos (photos, height, width, 3), resized as transform.decode() does it.

    Only by Keras's operations, so that the model can be loaded where there is none of this code.
    Width first and then height, in float64, rounded in between and for the same last bit.
    """
    one = ops.ones_like(pixels[:1, :, :, 0])  # (1, height, width), whatever these are
    places = ops.cumsum(one[0, :, 0]) - 1, ops.cumsum(one[0, 0, :]) - 1  # 0, 1, ..., height - 1
    pixels = ops.cast(pixels, "float64")
    for axis, equation in ((1, "iw,nhwc->nhic"), (0, "ih,nhwc->niwc")):
        shares = _shares(ops.cast(places[axis], "float64"), image_size[axis], interpolation)
        pixels = ops.floor(ops.einsum(equation, shares, pixels) + 0.5)
    return ops.cast(pixels, "float32")


def _shares(places, target, interpolation):
    """How much of each place of a photo is in each of `target` places: shape (target, places)."""
    size = ops.max(places, keepdims=True) + 1
    # Not by a constant, whose rounded inverse TensorFlow would multiply with.
    scale = size / ops.minimum(size + target, target)
    if interpolation == "bilinear":
        # Pillow's triangle, as wide as what is shrunk, with its weights in whole 2**-22.
        centres = ops.expand_dims(scale * (np.arange(target) + 0.5), 1)
        shares = ops.relu(1 - ops.abs((places + 0.5 - centres) / ops.maximum(scale, 1.0)))
        shares = shares / ops.sum(shares, axis=1, keepdims=True)
        return ops.floor(shares * 2.0**22 + 0.5) / 2.0**22
    # One place of each: a running sum, truncated, which today's Pillow begins half a step later.
    first = 0.0 if interpolation == "nearest-2016" else 0.5
    taken = ops.floor(ops.cumsum(scale * np.array([first, *[1.0] * (target - 1)])))
    return ops.cast(ops.equal(ops.expand_dims(taken, 1), places), "float64")


def exported(model, record):
    """The model from RGB pixels in 0..255 of any size to the probabilities of all classes."""
    preprocessing = record["preprocessing"]
    if preprocessing["keep_aspect_ratio"]:
        raise cli.InputError("photos cropped to keep their aspect ratio can't be exported")
    pixels = keras.Input((None, None, 3), name="pixels")
    x = resized(pixels, record["image_size"], preprocessing["interpolation"])
    if "mode" in preprocessing:
        x = keras.applications.imagenet_utils.preprocess_input(
            x, data_format="channels_last", mode=preprocessing["mode"]
        )
    answer = model(x * preprocessing["rescale"])
    if answer.shape[1] == 1:
        answer = ops.concatenate([1 - answer, answer], axis=1)
    whole = keras.Model(pixels, answer, name="classifier")
    # XLA, which predict() uses by default, rounds otherwise, and compiles anew for each size.
    whole.compile(optimizer="sgd", jit_compile=False)
    return whole


def main(arguments, path, output):
    """Run the script with what parse() returned."""
    model, record = networks.load(path, arguments.vgg16_weights)
    whole = exported(model, record)
    with files.replacing(output) as temporary:
        whole.save(temporary)
    about = {
        "classes": networks.class_names(record),
        "upright": record["preprocessing"].get("upright", False),
        **{name: record[name] for name in ("experiment", "val_accuracy", "run")},
    }
    files.write_json(output.with_suffix(".json"), about)
    print(f"{output}, and the classes' names in {output.with_suffix('.json').name}")
    if arguments.savedmodel:
        folder = output.with_name(f"{output.stem}_savedmodel")
        partial = output.with_name(f".partial-{folder.name}")
        shutil.rmtree(partial, ignore_errors=True)
        whole.export(partial, format="tf_saved_model", verbose=False)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        print(folder)


if __name__ == "__main__":
    cli.run(main, *command, after_interrupt="nothing was written")
