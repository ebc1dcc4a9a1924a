"""The article's first experiment: a small convnet trained from scratch on 2,000 photos.

Reads photos from data/train and data/validation, trains for 50 epochs with
augmentation, and writes weights/first_try.weights.h5 and a line of
weights/runs.jsonl. The article reports a validation accuracy of 0.79-0.81.
Interrupted, it resumes after its last completed epoch when you rerun the command.
"""

from common import cli, parsers

IMAGE_SIZE = (150, 150)  # height and width; other shapes are squeezed into it, as in 2016
EPOCHS = 50  # "a number that was picked arbitrarily", says the article
BATCH_SIZE = 32  # the article's; only the code's edit of 2017 says 16

# The article's augmentation; recipes.py tells what became of its meaning.
SHEAR_RANGE = 0.2
ZOOM_RANGE = 0.2
HORIZONTAL_FLIP = True


def parse(argv=None):
    """The command line's options, the folder of the photos, and that of the weights."""
    parser = parsers.experiment(__doc__, EPOCHS, BATCH_SIZE)
    parsers.add_distribute(parser)
    return parsers.parse(parser, argv, "scratch")


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    command = cli.run(parse)

from common import backend  # noqa: F401  first, it sets Keras up
import keras
from keras import layers

from common import images, keras2016, recipes, runs


def build_model(image_size, classes=2, recipe="faithful"):
    """Three convolutions with max-pooling, 64 dense units, dropout, and one sigmoid unit.

    For more than two classes, a softmax unit each. Compiled with the recipe's loss and RMSprop.

    The article has each ReLU before its pooling. The maximum of ReLUs is the ReLU of the
    maximum, and so are the gradients; here a ReLU sees a quarter of the values. On a processor
    with bfloat16, a step takes 46 ms instead of 58.
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

    model.compile(
        loss=keras2016.loss(recipe, classes),  # binary_crossentropy
        optimizer=keras2016.rmsprop(recipe),
        metrics=["accuracy"],
    )
    return model


def main(arguments, photos, weights):
    """Run the experiment with what parse() returned."""
    # this is the augmentation configuration we will use for training
    augmentation = recipes.augmentation(
        arguments.recipe,
        shear_range=SHEAR_RANGE,
        zoom_range=ZOOM_RANGE,
        horizontal_flip=HORIZONTAL_FLIP,
    )
    preprocessing = recipes.preprocessing(arguments.recipe)  # rescale=1./255

    # this is a generator that will read pictures found in subfolders of data/train, and
    # generate batches of augmented image data
    train_generator = images.training_generator(
        photos / "train", IMAGE_SIZE, arguments.batch_size, augmentation, preprocessing
    )
    # this is a similar generator, for validation data: only rescaling
    validation_generator = images.validation_generator(
        photos / "validation", IMAGE_SIZE, arguments.batch_size, preprocessing
    )

    run = runs.Run("scratch", arguments, weights, train_generator, validation_generator)
    run.settings |= keras2016.set_pooling(arguments.recipe)
    with run.building():
        model = build_model(IMAGE_SIZE, train_generator.num_classes, arguments.recipe)

    # No step counts: an epoch is every photo once, the smaller last batch included, as
    # samples_per_epoch=2000 meant it in 2016.
    model.fit(
        train_generator,
        epochs=arguments.epochs,
        initial_epoch=run.resume(model, train_generator),
        validation_data=validation_generator,
        callbacks=[run],
        verbose=runs.VERBOSE,
    )
    run.save("first_try.weights.h5", validation_generator)  # always save your weights


if __name__ == "__main__":
    cli.run(main, *command)
