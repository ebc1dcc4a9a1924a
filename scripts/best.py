"""Beyond the article: the best found here with VGG16 and the article's training photos.

Shows VGG16 what it was trained on, larger photos with ImageNet's mean subtracted, and
pools its last feature maps into weights/pooled_features_{train,validation}.npy. A
Gaussian-kernel classifier on them is computed in closed form: no layer is fine-tuned,
nothing is random, and every seed gives the same. Writes weights/best.weights.h5, one
Keras model from pixels to probability, and a line of weights/runs.jsonl. Interrupted,
it looks at the photos of one folder again at most. What is chosen here was chosen by
choose.py, which sees training photos only.
"""

import time

from common import cli, folders, parsers

# Photos that go through VGG16 at once; more are not faster, and 32 take 4.6 GB in float32.
BATCH_SIZE = 8


def parse(argv=None):
    """The command line's options, or those of `argv`; see also folders.settle()."""
    parser = parsers.experiment(__doc__, None, BATCH_SIZE)
    parsers.add_vgg16(parser)
    return folders.settle(parser.parse_args(argv))


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    arguments = cli.run(parse)

from common import backend  # noqa: F401  first, it sets Keras up
import keras

from common import features, images, kernel, networks, runs, vgg16


def main(arguments):
    """Run the script with the options that parse() returned."""
    train_generator = images.in_order_generator(
        arguments.photos / "train", kernel.IMAGE_SIZE, arguments.batch_size, kernel.PREPROCESSING
    )
    validation_generator = images.in_order_generator(
        arguments.photos / "validation",
        kernel.IMAGE_SIZE,
        arguments.batch_size,
        kernel.PREPROCESSING,
    )
    data = images.describe(train_generator, validation_generator)

    # run the photos through VGG16 once
    vgg16_weights = vgg16.weights_file(arguments.vgg16_weights, arguments.weights)
    precision = runs.set_precision(arguments.precision)
    base = vgg16.convolutional_base(vgg16_weights, kernel.IMAGE_SIZE)
    source = {
        "class_indices": train_generator.class_indices,
        "image_size": list(kernel.IMAGE_SIZE),
        "preprocessing": kernel.PREPROCESSING,
        "pooled_layers": list(kernel.POOLED_LAYERS),
        "precision": precision,
        **vgg16.describe(base, vgg16_weights),
    }
    vgg16.remember(vgg16_weights, arguments.weights)
    feature_model = kernel.build_feature_model(base, kernel.POOLED_LAYERS)
    train_data, validation_data = (
        features.save_bottleneck_features(
            feature_model,
            generator,
            arguments.weights / f"pooled_features_{split}.npy",
            {**source, "photos": data[split], "versions": runs.versions()},
        )
        for split, generator in (("train", train_generator), ("validation", validation_generator))
    )

    # all that is trained
    started = time.perf_counter()
    classifier = kernel.build_classifier(
        train_data, train_generator.targets, kernel.GAMMA, kernel.RIDGE
    )
    seconds = time.perf_counter() - started

    run = runs.Run(
        {
            "experiment": "best",
            "gamma": kernel.GAMMA,
            "ridge": kernel.RIDGE,
            **source,
            "data": data,
            **images.imbalance(validation_generator),
        },
        arguments,
        classifier,
        train_generator,
    )
    if not run.resume():
        answers = classifier.predict(validation_data, verbose=0)
        measured = kernel.measure(
            networks.class_probabilities(answers), validation_generator.classes
        )
        run.keep(seconds, {f"val_{name}": value for name, value in measured.items()})
    model = keras.Model(base.input, classifier(feature_model.output))
    run.finish("best.weights.h5", validation_data, model)


if __name__ == "__main__":
    cli.run(main, arguments)
