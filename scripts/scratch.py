"""The article's first experiment: a small convnet trained from scratch on 2,000 photos.

Reads photos from data/train and data/validation, trains for 50 epochs with
augmentation, and writes weights/first_try.weights.h5 and a line of
weights/runs.jsonl. The article reports a validation accuracy of 0.79-0.81.
Interrupted, it goes on from its last whole epoch when started again.
"""

from common import cli, folders, parsers

IMAGE_SIZE = (150, 150)  # height and width; other shapes are squeezed into it, as in 2016
EPOCHS = 50  # "a number that was picked arbitrarily", says the article
BATCH_SIZE = 32  # the article's; only the code's edit of 2017 says 16

# The article's augmentation; recipes.py tells what became of its meaning.
SHEAR_RANGE = 0.2
ZOOM_RANGE = 0.2
HORIZONTAL_FLIP = True


def parse(argv=None):
    """The command line's options, or those of `argv`; see also folders.settle()."""
    parser = parsers.experiment(__doc__, EPOCHS, BATCH_SIZE)
    parsers.add_distribute(parser)
    return folders.settle(parser.parse_args(argv))


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    arguments = cli.run(parse)

from common import backend  # noqa: F401  first, it sets Keras up
import keras
from keras import layers

from common import distribution, images, keras2016, recipes, runs


def build_model(image_size, classes=2):
    """Three convolutions with max-pooling, 64 dense units, dropout, and one sigmoid unit.

    For more than two classes, a softmax unit each. The article has each ReLU before its
    pooling. The largest of numbers cut off at 0 is the largest of them, cut off at 0, and
    the gradients are the same, too: here a ReLU is given a quarter of the numbers. On a
    processor with bfloat16, a step takes 46 ms instead of 58, and the result is the same.
    """
    units, activation = images.output(classes)
    model = keras.Sequential()
    model.add(keras.Input((*image_size, 3)))

    model.add(layers.Conv2D(32, (3, 3)))
    model.add(layers.MaxPooling2D(pool_size=(2, 2)))
    model.add(layers.Activation("relu"))

    model.add(layers.Conv2D(32, (3, 3)))
    model.add(layers.MaxPooling2D(pool_size=(2, 2)))
    model.add(layers.Activation("relu"))

    model.add(layers.Conv2D(64, (3, 3)))
    model.add(layers.MaxPooling2D(pool_size=(2, 2)))
    model.add(layers.Activation("relu"))
    # the model so far outputs feature maps of shape (height, width, features)

    model.add(layers.Flatten())  # this converts them to feature vectors
    model.add(layers.Dense(64))
    model.add(layers.Activation("relu"))
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(units, dtype="float32"))  # float32 whatever the policy
    model.add(layers.Activation(activation, dtype="float32"))
    return model


@distribution.tells_of_lost_workers
def main(arguments):
    """Run the experiment with the options that parse() returned."""
    strategy = distribution.strategy(arguments)
    preprocessing = recipes.preprocessing(arguments.recipe)

    # this is the augmentation configuration we will use for training
    augmentation = recipes.augmentation(
        arguments.recipe,
        shear_range=SHEAR_RANGE,
        zoom_range=ZOOM_RANGE,
        horizontal_flip=HORIZONTAL_FLIP,
    )
    train_generator = images.training_generator(
        arguments.photos / "train", IMAGE_SIZE, arguments.batch_size, augmentation, preprocessing
    )
    # this is a similar generator, for validation data: only rescaling
    validation_generator = images.validation_generator(
        arguments.photos / "validation", IMAGE_SIZE, arguments.batch_size, preprocessing
    )
    data = images.describe(train_generator, validation_generator)

    runs.set_precision(arguments.precision)
    keras.utils.set_random_seed(arguments.seed)
    classes = train_generator.num_classes
    with strategy.scope():
        model = build_model(IMAGE_SIZE, classes)
        optimizer = keras2016.rmsprop(arguments.recipe)
        loss = keras2016.loss(arguments.recipe, classes)  # for two classes, binary_crossentropy
        model.compile(loss=loss, optimizer=optimizer, metrics=["accuracy"])

    run = runs.Run(
        {
            "experiment": "scratch",
            **recipes.loss_clipped(arguments.recipe),
            "image_size": IMAGE_SIZE,
            "preprocessing": preprocessing,
            "augmentation": augmentation,
            "class_indices": train_generator.class_indices,
            "data": data,
            **images.imbalance(validation_generator),
        },
        arguments,
        model,
        train_generator,
    )
    # No step counts: an epoch is every photo once, the smaller last batch included, as
    # samples_per_epoch=2000 meant it in 2016.
    model.fit(
        train_generator,
        epochs=arguments.epochs,
        initial_epoch=run.resume(),
        validation_data=validation_generator,
        callbacks=[run],
        verbose=runs.VERBOSE,
    )
    run.finish("first_try.weights.h5", validation_generator)


if __name__ == "__main__":
    cli.run(main, arguments)
