"""The options that several scripts have in common. Needs no TensorFlow.

Scripts parse their command line before they import TensorFlow, so that --help and mistakes
are answered at once.
"""

from common import cli, folders, recipes
from common.cli import InputError

BEST_FIRST = (  # which model is taken if none is named: by the accuracies in the README
    "best.weights.h5",
    "fine_tuned.weights.h5",
    "bottleneck_fc_model.weights.h5",
    "first_try.weights.h5",
)


def experiment(description, epochs, batch_size):
    """The options that the experiments have in common.

    epochs: None for a model that is trained in one step, without any of the article's constants.
    """
    parser = cli.ArgumentParser(description)
    parser.add_argument(
        "--data",
        type=cli.path,
        default=folders.DATA,
        metavar="FOLDER",
        help="folder with train/CLASS/ and validation/CLASS/, or with CLASS/ alone, of which a "
        "fifth is then to validate on (default: data)",
    )
    parser.add_argument(
        "--batch-size",
        type=cli.positive,
        default=batch_size,
        metavar="N",
        help="photos a gradient step, or that go through VGG16 at once (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=cli.seed,
        default=0,
        metavar="N",
        help="of initial weights, order, augmentation and dropout (default: %(default)s)",
    )
    if epochs is None:
        parser.set_defaults(epochs=1, recipe="best")
    else:
        parser.add_argument(
            "--epochs",
            type=cli.positive,
            default=epochs,
            metavar="N",
            help="passes over the training photos (default: %(default)s)",
        )
        add_recipe(parser)
    parser.add_argument(
        "--precision",
        choices=("float32", "mixed_bfloat16"),
        help="of what the README says is computed in bfloat16 where the processor can "
        "(default: mixed_bfloat16 where it multiplies in it, else float32)",
    )
    parser.add_argument(
        "--weights",
        type=cli.path,
        metavar="FOLDER",
        help="where weights, features and the record of the run go, and are read from (default: "
        "weights, for another --data than data weights/NAME)",
    )
    return parser


def model(description):
    """The options that choose a model, for the scripts that use one."""
    parser = cli.ArgumentParser(description)
    parser.add_argument(
        "--model",
        type=cli.path,
        metavar="FILE",
        help="a .weights.h5 file that one of the scripts wrote (default: the first of "
        f"{', '.join(BEST_FIRST)} that there is in the weights' folder)",
    )
    parser.add_argument(
        "--data",
        type=cli.path,
        default=folders.DATA,
        metavar="FOLDER",
        help="the photos that the model was trained on, which tells the weights' folder "
        "(default: data)",
    )
    parser.add_argument(
        "--weights",
        type=cli.path,
        metavar="FOLDER",
        help="where the model is (default: weights, for another --data than data weights/NAME)",
    )
    add_vgg16(parser)
    return parser


def find_models(arguments):
    """The paths of the models at hand, the best first; only the one that is named, if one is.

    arguments: model()'s. Raises InputError if there is none, or if those in the
    data set's folder of weights are another data set's.
    """
    if arguments.model:
        if not arguments.model.exists():
            raise InputError(f"{arguments.model}: no such file; name one that the scripts wrote")
        return [arguments.model]
    default = folders.default_weights(arguments.data)
    weights = arguments.weights or default
    if weights.resolve() == default.resolve():  # make names it, too
        folders.check_owner(weights, arguments.data)
    found = [weights / name for name in BEST_FIRST if (weights / name).exists()]
    if not found:
        raise InputError(f"{weights}: no model there yet; `make scratch` makes the first")
    return found


def add_recipe(parser):
    """The options that choose one of recipes.RECIPES."""
    parser.add_argument(
        "--recipe",
        choices=recipes.RECIPES,
        default="faithful",
        metavar="NAME",
        help=f"what the article's constants mean: of {', '.join(recipes.RECIPES)} (default: "
        "faithful, what they meant in 2016)",
    )
    parser.add_argument(
        "--as-printed",
        dest="recipe",
        action="store_const",
        const="as-printed",
        help="the same as --recipe as-printed: what they mean today",
    )


def add_preprocessing(parser):
    """The option that chooses one of recipes.PREPROCESSINGS."""
    parser.add_argument(
        "--preprocessing",
        choices=recipes.PREPROCESSINGS,
        default="rescaled",
        help="what VGG16 is fed with: rescaled, the article's RGB x 1/255, or imagenet, what it "
        "was trained on: BGR with the mean subtracted (default: rescaled)",
    )


def add_vgg16(parser):
    """The option of the scripts that need VGG16."""
    parser.add_argument(
        "--vgg16-weights",
        metavar="FILE",
        help='VGG16\'s weights without its top; "imagenet" downloads them, "random" does without '
        "(default: the file given last, else imagenet)",
    )


def add_distribute(parser):
    """The option of the scripts that can train on several devices."""
    parser.add_argument(
        "--distribute",
        action="store_true",
        help="trains on all GPUs of this machine or, where TF_CONFIG is set, together with the "
        "other workers it names; they must share the weights folder",
    )
