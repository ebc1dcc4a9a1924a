"""The article's third experiment: fine-tuning VGG16's last convolutional block.

Puts the classifier of bottleneck.py on top of VGG16's convolutional base, freezes
all of it but the last block, and trains for 50 epochs with augmentation and a very
slow learning rate. Reads weights/bottleneck_fc_model.weights.h5, writes
weights/frozen_features_validation.npy, weights/fine_tuned.weights.h5 and a line of
weights/runs.jsonl. The article reports a validation accuracy of 0.94. Interrupted,
it resumes after its last completed epoch when you rerun the command.
"""

from common import cli, parsers

IMAGE_SIZE = (150, 150)  # height and width; that of the bottleneck features
EPOCHS = 50  # the article's
BATCH_SIZE = 32  # the article's; only the code's edit of 2017 says 16

# The layers before block5_conv1. The article froze 25: it built VGG16 by hand, with its
# zero-padding as layers of their own. In today's VGG16, 25 would freeze everything.
FROZEN_LAYERS = 15
FROZEN_LAYERS_BUT_TWO_BLOCKS = 11  # those before block4_conv1

LEARNING_RATE = 1e-4  # very slow, so as not to wreck the previously learned features
MOMENTUM = 0.9
DROPOUT = 0.5  # as in bottleneck.py

# The article's augmentation; recipes.py tells what became of its meaning.
SHEAR_RANGE = 0.2
ZOOM_RANGE = 0.2
HORIZONTAL_FLIP = True

# The article ends with approaches "to get to above 0.95" and gives no numbers for them. Each
# is an option here; without options, all is as in the article. Of the augmentation, what is
# added: the shifts of the article's preview, and a rotation in degrees that one can see.
APPROACHES = {  # and what each is without it
    "more_augmentation": False,
    "dropout": DROPOUT,
    "l1": 0,
    "l2": 0,
    "one_more_block": False,
    "learning_rate": LEARNING_RATE,  # not the article's, but what other features need
}
MORE_AGGRESSIVE = {"rotation_range": 15, "width_shift_range": 0.2, "height_shift_range": 0.2}


def add_approaches(parser):
    """The options for the article's approaches to get to above 0.95."""
    group = parser.add_argument_group("the article's approaches to get to above 0.95")
    group.add_argument(
        "--more-augmentation", action="store_true", help="also rotate and shift the photos"
    )
    group.add_argument(
        "--dropout",
        type=cli.share,
        default=DROPOUT,
        metavar="RATE",
        help="share of the classifier's units left out (default: %(default)s)",
    )
    penalty = "penalty on the kernels of all layers that train (default: 0)"
    for name in "l1", "l2":
        group.add_argument(
            f"--{name}",
            type=cli.not_negative,
            default=0.0,
            metavar="FACTOR",
            help=f"of the {name.upper()} {penalty}",
        )
    group.add_argument(
        "--one-more-block", action="store_true", help="fine-tune the last two blocks"
    )
    group.add_argument(
        "--learning-rate",
        type=cli.not_negative,
        default=LEARNING_RATE,
        metavar="RATE",
        help="not one of them, but VGG16 fed by --preprocessing imagenet needs a slower one "
        "(default: %(default)s)",
    )


def approaches(arguments):
    """What a run's record says of them: {"approaches": {name: value}}, or {} without any."""
    options = vars(arguments)
    taken = {name: options[name] for name, off in APPROACHES.items() if options[name] != off}
    return {"approaches": taken} if taken else {}


def parse(argv=None):
    """The command line's options, the folder of the photos, and that of the weights."""
    parser = parsers.experiment(__doc__, EPOCHS, BATCH_SIZE)
    parsers.add_vgg16(parser)
    parsers.add_preprocessing(parser)
    add_approaches(parser)
    parsers.add_distribute(parser)
    return parsers.parse(parser, argv, "finetune")


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    command = cli.run(parse)

from common import backend  # noqa: F401  first, it sets Keras up
import keras

from common import features, images, keras2016, networks, recipes, runs, vgg16
from common.cli import InputError


def build_model(
    base, top_model_weights_path, frozen_layers=FROZEN_LAYERS, dropout=DROPOUT, classes=2
):
    """VGG16's convolutional base with the trained classifier on top, ready to compile."""
    # build a classifier model to put on top of the convolutional model
    top_model = vgg16.build_top_model(base.output_shape[1:], dropout, classes)
    # note that it is necessary to start with a fully-trained classifier: the large
    # gradients of a random one would wreck the base's weights
    top_model.load_weights(top_model_weights_path)

    # add the model on top of the convolutional base
    model = keras.Model(inputs=base.input, outputs=top_model(base.output))

    # set the layers up to the last conv block to non-trainable
    for layer in model.layers[:frozen_layers]:
        layer.trainable = False
    return model


def split(model, frozen_layers=FROZEN_LAYERS):
    """The frozen layers and the trained ones as two models, which share the whole one's weights."""
    frozen = keras.Model(model.input, model.layers[frozen_layers - 1].output)
    trained = keras.Model(model.layers[frozen_layers].input, model.output)
    return frozen, trained


def regularize(layers, l1, l2):
    """Add the L1 and L2 penalties on these layers' kernels, biases not, to the loss."""
    for layer in layers if l1 or l2 else ():
        for part in getattr(layer, "layers", [layer]):  # the classifier is a model of its own
            if hasattr(part, "kernel"):
                part.kernel_regularizer = keras.regularizers.L1L2(l1, l2)
                part.kernel.regularizer = part.kernel_regularizer  # what counts once it is built


class FrozenFeatures(keras.utils.PyDataset):
    """Batches (features, labels): what the frozen layers make of a generator's photos."""

    def __init__(self, generator, frozen):
        super().__init__()
        self.generator, self.frozen = generator, frozen

    def __len__(self):
        return len(self.generator)

    def __getitem__(self, batch):
        photos, labels = self.generator[batch]
        return self.frozen.predict_on_batch(photos).astype("float32"), labels

    def on_epoch_end(self):
        """Draw a new order, as fit() expects of it."""
        self.generator.on_epoch_end()


def read_top_model(path, settings, command):
    """The record of the classifier in `path`. Raises InputError where it is not of this run.

    settings: this run's; whether its VGG16 is the same is known only once that is loaded.
    command: what makes the classifier that this run needs.
    """
    top = networks.read_record(path, f"run {command}")
    for name in "data", "recipe", "image_size", "preprocessing", "precision", "seed":
        there, here = ({"precision": "float32", **of}[name] for of in (top, settings))
        if name == "data":  # older records say less of it
            there, here = ([of[split] for split in ("train", "validation")] for of in (there, here))
        if there != here:
            what = {"data": "photos", "image_size": "image size"}.get(name, name)
            raise InputError(f"{path}: not of the same {what}; run {command}")
    return top


def main(arguments, photos, weights):
    """Run the experiment with what parse() returned."""
    # prepare data augmentation configuration
    augmentation = recipes.augmentation(
        arguments.recipe,
        shear_range=SHEAR_RANGE,
        zoom_range=ZOOM_RANGE,
        horizontal_flip=HORIZONTAL_FLIP,
        **(MORE_AGGRESSIVE if arguments.more_augmentation else {}),
    )
    preprocessing = recipes.preprocessing(arguments.recipe, arguments.preprocessing)
    train_generator = images.training_generator(
        photos / "train", IMAGE_SIZE, arguments.batch_size, augmentation, preprocessing
    )
    validation_generator = images.validation_generator(
        photos / "validation", IMAGE_SIZE, arguments.batch_size, preprocessing
    )
    run = runs.Run("finetune", arguments, weights, train_generator, validation_generator)
    run.settings |= keras2016.set_pooling(arguments.recipe)
    path = weights / "bottleneck_fc_model.weights.h5"
    top = read_top_model(path, run.settings, parsers.command("bottleneck", arguments, weights))
    frozen_layers = FROZEN_LAYERS_BUT_TWO_BLOCKS if arguments.one_more_block else FROZEN_LAYERS
    classes = train_generator.num_classes
    with run.building():
        base, description = vgg16.load(arguments.vgg16_weights, weights, IMAGE_SIZE, (path, top))
        model = build_model(base, path, frozen_layers, arguments.dropout, classes)
        regularize(model.layers[frozen_layers:], arguments.l1, arguments.l2)
        frozen, trained = split(model, frozen_layers)
        if arguments.distribute:  # each device sends its own photos through the frozen layers, too
            trained = model
        # compile the model with a SGD/momentum optimizer and a very slow learning rate
        trained.compile(
            loss=keras2016.loss(arguments.recipe, classes),  # binary_crossentropy
            optimizer=keras.optimizers.SGD(arguments.learning_rate, momentum=MOMENTUM),
            metrics=["accuracy"],
        )
    run.settings |= description | {"frozen_layers": frozen_layers, **approaches(arguments)}
    run.settings["top_model"] = {key: top[key] for key in ("run", "epochs", "val_accuracy")}

    batches, validation_data = train_generator, (validation_generator, None)
    if not arguments.distribute:
        batches = FrozenFeatures(train_generator, frozen)
        # a validation photo, always the same, needs to go through the frozen layers only once
        path = weights / "frozen_features_validation.npy"
        frozen_features = features.save_bottleneck_features(
            frozen, validation_generator, path, run.settings
        )
        validation_data = frozen_features, validation_generator.targets

    # fine-tune the model
    trained.fit(
        batches,
        epochs=arguments.epochs,
        initial_epoch=run.resume(trained, batches),
        validation_data=validation_data,
        validation_batch_size=arguments.batch_size,
        callbacks=[run],
        verbose=runs.VERBOSE,
    )
    run.save("fine_tuned.weights.h5", validation_data[0], model)


if __name__ == "__main__":
    cli.run(main, *command)
