"""The article's second experiment: a dense classifier on VGG16's bottleneck features.

Runs the photos of data/train and data/validation through VGG16's convolutional
base once and stores what comes out in weights/bottleneck_features_train.npy and
_validation.npy; features that are there already and belong to the same photos
and weights are used again. Then trains a small fully-connected model on them for
50 epochs, and writes weights/bottleneck_fc_model.weights.h5 and a line of
weights/runs.jsonl. The article reports a validation accuracy of 0.90-0.91.
"""

from common import cli, folders, parsers

IMAGE_SIZE = (150, 150)  # height and width; gives features of shape (4, 4, 512)
EPOCHS = 50  # the article's
BATCH_SIZE = 32  # the article's; only the code's edit of 2017 says 16
DROPOUT = 0.5  # share of the dense units left out


def parse(argv=None):
    """The command line's options, or those of `argv`; see also folders.settle()."""
    parser = parsers.experiment(__doc__, EPOCHS, BATCH_SIZE)
    parsers.add_vgg16(parser)
    parsers.add_preprocessing(parser)
    return folders.settle(parser.parse_args(argv))


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    arguments = cli.run(parse)

from common import backend  # noqa: F401  first, it sets Keras up
import keras

from common import features, images, keras2016, recipes, runs, vgg16


def main(arguments):
    """Run the experiment with the options that parse() returned."""
    preprocessing = recipes.preprocessing(arguments.recipe, arguments.preprocessing)

    # our data will be in order, so all cats come first, then all dogs
    train_generator = images.in_order_generator(
        arguments.photos / "train", IMAGE_SIZE, arguments.batch_size, preprocessing
    )
    validation_generator = images.in_order_generator(
        arguments.photos / "validation", IMAGE_SIZE, arguments.batch_size, preprocessing
    )
    data = images.describe(train_generator, validation_generator)

    # run VGG16 once over the photos; this is what prevents us from using augmentation
    vgg16_weights = vgg16.weights_file(arguments.vgg16_weights, arguments.weights)
    precision = runs.set_precision(arguments.precision)
    base = vgg16.convolutional_base(vgg16_weights, IMAGE_SIZE)
    source = {
        "class_indices": train_generator.class_indices,
        "image_size": list(IMAGE_SIZE),
        "preprocessing": preprocessing,
        "precision": precision,
        **vgg16.describe(base, vgg16_weights),
    }
    vgg16.remember(vgg16_weights, arguments.weights)
    train_data = features.save_bottleneck_features(
        base,
        train_generator,
        arguments.weights / "bottleneck_features_train.npy",
        {**source, "photos": data["train"], "versions": runs.versions()},
    )
    validation_data = features.save_bottleneck_features(
        base,
        validation_generator,
        arguments.weights / "bottleneck_features_validation.npy",
        {**source, "photos": data["validation"], "versions": runs.versions()},
    )

    # the features were saved in order, so recreating the labels is easy
    train_labels = train_generator.targets
    validation_labels = validation_generator.targets

    keras.utils.set_random_seed(arguments.seed)
    classes = train_generator.num_classes
    model = vgg16.build_top_model(train_data.shape[1:], DROPOUT, classes)
    optimizer = keras2016.rmsprop(arguments.recipe)
    loss = keras2016.loss(arguments.recipe, classes)  # for two classes, binary_crossentropy
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])

    train_batches = features.ArrayIterator(train_data, train_labels, arguments.batch_size)
    run = runs.Run(
        {
            "experiment": "bottleneck",
            **recipes.loss_clipped(arguments.recipe),
            **source,
            "data": data,
            **images.imbalance(validation_generator),
        },
        arguments,
        model,
        train_batches,
    )
    model.fit(
        train_batches,
        epochs=arguments.epochs,
        initial_epoch=run.resume(),
        validation_data=(validation_data, validation_labels),
        callbacks=[run],
        verbose=runs.VERBOSE,
    )
    run.finish("bottleneck_fc_model.weights.h5", validation_data)


if __name__ == "__main__":
    cli.run(main, arguments)
