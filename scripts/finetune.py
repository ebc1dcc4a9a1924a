"""The article's third experiment: fine-tuning VGG16's last convolutional block.

Puts the classifier of bottleneck.py on top of VGG16's convolutional base, freezes
all of it but the last block, and trains for 50 epochs with augmentation and a very
slow learning rate. Reads weights/bottleneck_fc_model.weights.h5, writes
weights/frozen_features_validation.npy, weights/fine_tuned.weights.h5 and a line of
weights/runs.jsonl. The article reports a validation accuracy of 0.94. Interrupted,
it goes on from its last whole epoch when started again.
"""

from common import cli, files, folders, parsers

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
}
MORE_AGGRESSIVE = {"rotation_range": 15, "width_shift_range": 0.2, "height_shift_range": 0.2}


def add_options(parser):
    """The article's approaches to get to above 0.95."""
    group = parser.add_argument_group("the article's approaches to get to above 0.95")
    group.add_argument(
        "--more-augmentation", action="store_true", help="rotates and shifts the photos, too"
    )
    group.add_argument(
        "--dropout",
        type=cli.share,
        default=DROPOUT,
        metavar="RATE",
        help="share of the classifier's units left out (default: %(default)s)",
    )
    for name in "l1", "l2":
        group.add_argument(
            f"--{name}",
            type=cli.not_negative,
            default=0.0,
            metavar="FACTOR",
            help=f"of the {name.upper()} penalty on all kernels that train (default: 0)",
        )
    group.add_argument(
        "--one-more-block", action="store_true", help="fine-tunes the last two blocks"
    )


def parse(argv=None):
    """The command line's options, or those of `argv`; see also folders.settle()."""
    parser = parsers.experiment(__doc__, EPOCHS, BATCH_SIZE)
    parsers.add_vgg16(parser)
    parsers.add_preprocessing(parser)
    add_options(parser)
    parsers.add_distribute(parser)
    return folders.settle(parser.parse_args(argv))


if __name__ == "__main__":  # mistakes are answered before TensorFlow is imported
    arguments = cli.run(parse)

from common import backend  # noqa: F401  first, it sets Keras up
import keras

from common import distribution, features, images, keras2016, networks, recipes, runs, vgg16
from common.cli import InputError


def regularize(layers, l1, l2):
    """Add the L1 and L2 penalties on these layers' kernels, biases not, to the loss."""
    for layer in layers:
        for part in getattr(layer, "layers", [layer]):  # the classifier is a model of its own
            if hasattr(part, "kernel"):
                part.kernel_regularizer = keras.regularizers.L1L2(l1, l2)
                part.kernel.regularizer = part.kernel_regularizer  # what counts once it is built


def build_model(
    base, top_model_weights_path, frozen_layers=FROZEN_LAYERS, dropout=DROPOUT, classes=2
):
    """VGG16's convolutional base with the trained classifier on top, ready to fine-tune."""
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


def check_top_model(path, top, arguments, precision, data):
    """Raise InputError where the top model in `path` is not of this run.

    top: the record stored with it. Its photos, size, preprocessing, recipe and seed
    must be this run's; that its VGG16 is, too, can be said only once that is loaded.
    """
    expected = {
        "photos": tuple(
            [of[split] for split in ("train", "validation")] for of in (top["data"], data)
        ),
        "recipe": (top["recipe"], arguments.recipe),
        "image size": (tuple(top["image_size"]), IMAGE_SIZE),
        "preprocessing": (
            top["preprocessing"],
            recipes.preprocessing(arguments.recipe, arguments.preprocessing),
        ),
        "precision": (top.get("precision", "float32"), precision),
        "seed": (top["seed"], arguments.seed),
    }
    for what, (there, here) in expected.items():
        if there != here:
            raise InputError(f"{path}: not of the same {what}; {remedy(arguments)}")


def remedy(arguments):
    """What to do to get the top model which this run needs."""
    options = f"--data {arguments.data} --seed {arguments.seed}"
    if arguments.precision:
        options += f" --precision {arguments.precision}"
    if arguments.recipe != "faithful":
        options += f" --recipe {arguments.recipe}"
    if arguments.preprocessing != "rescaled":
        options += f" --preprocessing {arguments.preprocessing}"
    if arguments.weights != files.ROOT / "weights":
        options += f" --weights {arguments.weights}"
    if arguments.vgg16_weights:
        options += f" --vgg16-weights {arguments.vgg16_weights}"
    return f"run `python scripts/bottleneck.py {options}` (or make bottleneck)"


@distribution.tells_of_lost_workers
def main(arguments):
    """Run the experiment with the options that parse() returned."""
    strategy = distribution.strategy(arguments)
    preprocessing = recipes.preprocessing(arguments.recipe, arguments.preprocessing)
    approaches = {
        name: value
        for name, value in vars(arguments).items()
        if name in APPROACHES and value != APPROACHES[name]
    }
    frozen_layers = FROZEN_LAYERS_BUT_TWO_BLOCKS if arguments.one_more_block else FROZEN_LAYERS

    # prepare data augmentation configuration
    augmentation = recipes.augmentation(
        arguments.recipe,
        shear_range=SHEAR_RANGE,
        zoom_range=ZOOM_RANGE,
        horizontal_flip=HORIZONTAL_FLIP,
        **(MORE_AGGRESSIVE if arguments.more_augmentation else {}),
    )
    train_generator = images.training_generator(
        arguments.photos / "train", IMAGE_SIZE, arguments.batch_size, augmentation, preprocessing
    )
    validation_generator = images.validation_generator(
        arguments.photos / "validation", IMAGE_SIZE, arguments.batch_size, preprocessing
    )
    data = images.describe(train_generator, validation_generator)

    top_model_weights_path = arguments.weights / "bottleneck_fc_model.weights.h5"
    top = networks.read_model_record(top_model_weights_path, remedy(arguments))
    precision = runs.set_precision(arguments.precision)
    check_top_model(top_model_weights_path, top, arguments, precision, data)

    vgg16_weights = vgg16.weights_file(arguments.vgg16_weights, arguments.weights)
    with strategy.scope():
        base = vgg16.convolutional_base(vgg16_weights, IMAGE_SIZE)
    base_description = vgg16.describe(base, vgg16_weights)
    if base_description["vgg16_sha256"] != top["vgg16_sha256"]:
        raise InputError(
            f"{top_model_weights_path}: trained on the features of other VGG16 weights than "
            f"{vgg16_weights}; {remedy(arguments)} with these weights"
        )
    if distribution.is_chief(strategy):
        vgg16.remember(vgg16_weights, arguments.weights)

    keras.utils.set_random_seed(arguments.seed)
    classes = train_generator.num_classes
    with strategy.scope():
        model = build_model(base, top_model_weights_path, frozen_layers, arguments.dropout, classes)
        frozen, trained = split(model, frozen_layers)
    if arguments.l1 or arguments.l2:
        regularize(model.layers[frozen_layers:], arguments.l1, arguments.l2)
    if arguments.distribute:
        # each device sends its own share of the photos through the frozen layers, too
        trained, train_features = model, train_generator
        validation_data, validation_labels = validation_generator, None
    else:
        train_features = FrozenFeatures(train_generator, frozen)
        # a validation photo, always the same, needs to go through the frozen layers only once
        validation_data = features.save_bottleneck_features(
            frozen,
            validation_generator,
            arguments.weights / "frozen_features_validation.npy",
            {
                "class_indices": validation_generator.class_indices,
                "image_size": list(IMAGE_SIZE),
                "preprocessing": preprocessing,
                "precision": precision,
                "frozen_layers": frozen_layers,
                **base_description,
                "photos": data["validation"],
                "versions": runs.versions(),
            },
        )
        validation_labels = validation_generator.targets
    # compile the model with a SGD/momentum optimizer and a very slow learning rate
    with strategy.scope():
        optimizer = keras.optimizers.SGD(learning_rate=LEARNING_RATE, momentum=MOMENTUM)
        loss = keras2016.loss(arguments.recipe, classes)  # for two classes, binary_crossentropy
        trained.compile(loss=loss, optimizer=optimizer, metrics=["accuracy"])

    run = runs.Run(
        {
            "experiment": "finetune",
            **recipes.loss_clipped(arguments.recipe),
            "image_size": IMAGE_SIZE,
            "preprocessing": preprocessing,
            "augmentation": augmentation,
            "frozen_layers": frozen_layers,
            **({"approaches": approaches} if approaches else {}),
            **base_description,
            "top_model": {key: top[key] for key in ("run", "epochs", "val_accuracy")},
            "class_indices": train_generator.class_indices,
            "data": data,
            **images.imbalance(validation_generator),
        },
        arguments,
        trained,
        train_features,
    )
    # fine-tune the model
    trained.fit(
        train_features,
        epochs=arguments.epochs,
        initial_epoch=run.resume(),
        validation_data=(validation_data, validation_labels),
        validation_batch_size=arguments.batch_size,
        callbacks=[run],
        verbose=runs.VERBOSE,
    )
    run.finish("fine_tuned.weights.h5", validation_data, model)


if __name__ == "__main__":
    cli.run(main, arguments)
