"""Beyond the article: the best found here with VGG16 and the article's training photos.

Shows VGG16 what it was trained on, larger photos with ImageNet's mean subtracted, and
averages its last feature maps of a photo and of its mirror image, and pools them into
weights/pooled_features_{train,validation}.npy. A Gaussian-kernel classifier on them is
computed in closed form: no layer is fine-tuned, nothing is random, and every seed gives
the same. Writes weights/best.weights.h5, one Keras model from pixels to probability, and
a line of weights/runs.jsonl; then tells which classes it takes for which, and what more
photos may bring. Interrupted, it runs the photos of at most one folder through VGG16
again. What is chosen here was chosen by choose.py, which sees training photos only.
"""

import time
from pathlib import Path

from common import cli, parsers

# Photos that go through VGG16 at once; more are not faster, and take gigabytes.
BATCH_SIZE = 8


def parse(argv=None):
    """The command line's options, the folder of the photos, and that of the weights."""
    parser = parsers.experiment(__doc__, None, BATCH_SIZE)
    parsers.add_vgg16(parser)
    return parsers.parse(parser, argv, "best")


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    command = cli.run(parse)

from common import backend  # noqa: F401  first, it sets Keras up
import keras

from common import answers, features, images, kernel, networks, runs, vgg16


def main(arguments, photos, weights):
    """Run the script with what parse() returned."""
    preprocessing = kernel.preprocessing(photos / "train")
    train_generator, validation_generator = (
        images.in_order_generator(
            photos / split, kernel.IMAGE_SIZE, arguments.batch_size, preprocessing
        )
        for split in ("train", "validation")
    )
    runs.set_precision(arguments.precision)
    settings = runs.describe("best", arguments, weights, train_generator, validation_generator)

    # run VGG16 once over the photos
    base, description = vgg16.load(arguments.vgg16_weights, weights, kernel.IMAGE_SIZE)
    settings |= description
    settings |= {"pooled_layers": list(kernel.POOLED_LAYERS), "mirrored": kernel.MIRRORED}
    feature_model = kernel.build_feature_model(base, kernel.POOLED_LAYERS, kernel.MIRRORED)
    train_data, validation_data = (
        features.save_bottleneck_features(
            feature_model, generator, weights / f"pooled_features_{split}.npy", settings
        )
        for split, generator in (("train", train_generator), ("validation", validation_generator))
    )

    # all that is trained
    settings |= {"gamma": kernel.GAMMA, "ridge": kernel.RIDGE}
    started = time.perf_counter()
    classifier = kernel.build_classifier(
        train_data, train_generator.targets, kernel.GAMMA, kernel.RIDGE
    )
    seconds = time.perf_counter() - started

    outputs = classifier.predict(validation_data, verbose=0)
    labels, probabilities = validation_generator.classes, networks.class_probabilities(outputs)
    measured = kernel.measure(probabilities, labels)
    settings, _, state = runs.begin(settings, classifier)
    state["seconds_per_epoch"].append(round(seconds, 2))
    state["history"] = {f"val_{name}": [runs.number(value)] for name, value in measured.items()}
    model = keras.Model(base.input, classifier(feature_model.output))
    runs.save(model, weights / "best.weights.h5", settings, state, outputs)

    # when to trust it
    names = list(train_generator.class_indices)
    print(f"\n{answers.table(labels, probabilities.argmax(axis=1), names)}")
    paths = [Path(path) for path in validation_generator.filepaths]
    answers.show_mistakes(paths, labels, probabilities, settings, weights / parsers.SHEET)
    by_share = kernel.learning_curve(train_data, train_generator.targets, validation_data, labels)
    by_share.append(measured["accuracy"])
    print(
        f"Accuracy with a quarter and half of the training photos (means of {kernel.DRAWS} draws) "
        f"and with all: {', '.join(f'{accuracy:.3f}' for accuracy in by_share)}. Twice as many "
        "seldom gain more than the last doubling did."
    )


if __name__ == "__main__":
    cli.run(main, *command)
