"""The article's second experiment: a dense classifier on VGG16's bottleneck features.

Runs the photos of data/train and data/validation through VGG16's convolutional
base once and stores what comes out in weights/bottleneck_features_train.npy and
_validation.npy; features that are there already and belong to the same photos
and weights are used again. Then trains a small fully-connected model on them for
50 epochs, and writes weights/bottleneck_fc_model.weights.h5 and a line of
weights/runs.jsonl. The article reports a validation accuracy of 0.90-0.91.
"""

from common import cli, parsers

IMAGE_SIZE = (150, 150)  # height and width; gives features of shape (4, 4, 512)
EPOCHS = 50  # the article's
BATCH_SIZE = 32  # the article's; only the code's edit of 2017 says 16
DROPOUT = 0.5  # share of the dense units left out


def parse(argv=None):
    """The command line's options, the folder of the photos, and that of the weights."""
    parser = parsers.experiment(__doc__, EPOCHS, BATCH_SIZE)
    parsers.add_vgg16(parser)
    parsers.add_preprocessing(parser)
    return parsers.parse(parser, argv, "bottleneck")


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    command = cli.run(parse)

from common import backend  # noqa: F401  first, it sets Keras up

from common import features, images, keras2016, recipes, runs, vgg16


def main(arguments, photos, weights):
    """Run the experiment with what parse() returned."""
    preprocessing = recipes.preprocessing(arguments.recipe, arguments.preprocessing)
    # our data will be in order, so all cats come first, then all dogs
    train_generator = images.in_order_generator(
        photos / "train", IMAGE_SIZE, arguments.batch_size, preprocessing
    )
    validation_generator = images.in_order_generator(
        photos / "validation", IMAGE_SIZE, arguments.batch_size, preprocessing
    )
    run = runs.Run("bottleneck", arguments, weights, train_generator, validation_generator)

    # run VGG16 once over the photos; this is what prevents us from using augmentation
    base, description = vgg16.load(arguments.vgg16_weights, weights, IMAGE_SIZE)
    run.settings |= description
    train_data, validation_data = (
        features.save_bottleneck_features(
            base, generator, weights / f"bottleneck_features_{split}.npy", run.settings
        )
        for split, generator in (("train", train_generator), ("validation", validation_generator))
    )

    # the features were saved in order, so recreating the labels is easy
    train_labels = train_generator.targets
    validation_labels = validation_generator.targets

    classes = train_generator.num_classes
    with run.building():
        model = vgg16.build_top_model(train_data.shape[1:], DROPOUT, classes)
        model.compile(
            optimizer=keras2016.rmsprop(arguments.recipe),
            loss=keras2016.loss(arguments.recipe, classes),  # binary_crossentropy
            metrics=["accuracy"],
        )

    train_batches = features.ArrayIterator(train_data, train_labels, arguments.batch_size)
    model.fit(
        train_batches,
        epochs=arguments.epochs,
        initial_epoch=run.resume(model, train_batches),
        validation_data=(validation_data, validation_labels),
        callbacks=[run],
        verbose=runs.VERBOSE,
    )
    run.save("bottleneck_fc_model.weights.h5", validation_data)


if __name__ == "__main__":
    cli.run(main, *command)
