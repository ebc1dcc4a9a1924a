"""The options that several scripts have in common. Needs no TensorFlow.

Scripts parse their command line before they import TensorFlow, so that --help and mistakes
are answered at once.
"""

import shlex
import sys

from common import cli, folders, recipes
from common.cli import InputError

MODELS = {  # the best first, by the accuracies in the README: that is taken if none is named
    "best": "best.weights.h5",
    "finetune": "fine_tuned.weights.h5",
    "bottleneck": "bottleneck_fc_model.weights.h5",
    "scratch": "first_try.weights.h5",
}
SHEET = "mistakes.jpg"  # beside a model: its worst mistakes


def experiment(description, epochs, batch_size):
    """A parser of the options that the experiments have in common.

    epochs: None for a model that is trained in one step, without any of the article's constants.
    """
    parser = cli.ArgumentParser(description)
    add_folders(
        parser,
        "folder with train/CLASS/ and validation/CLASS/, or with CLASS/ alone, of which a fifth "
        "is then held out to validate on",
        "where weights, features and the record of the run go, and are read from",
    )
    parser.add_argument(
        "--batch-size",
        type=cli.positive,
        default=batch_size,
        metavar="N",
        help="photos per gradient step, or that go through VGG16 at once (default: %(default)s)",
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
        help="Keras's dtype policy (default: mixed_bfloat16 where the processor multiplies in "
        "bfloat16, else float32)",
    )
    return parser


def parse(parser, argv=None, experiment=None):
    """The options of experiment(), the folder of the photos, and that of the weights.

    The photos are in train/CLASS/ and validation/CLASS/. experiment: one of MODELS, which is
    not trained where --unless says so: then this ends the process. Raises InputError where
    there are no photos, or where the weights are those of other photos.
    """
    if experiment:
        group = parser.add_argument_group("for make")
        group.add_argument(
            "--unless",
            choices=("made", "usable"),
            help="do nothing if the model there was made with these photos and options, these "
            "package versions and this code; usable: whatever its epochs and batch size",
        )
        group.add_argument(
            "--is-recorded",
            action="store_true",
            help="train nothing; the exit status is 0 if runs.jsonl has such a run, else 1",
        )
    arguments = parser.parse_args(argv)
    photos, weights = folders.photos_and_weights(
        arguments.data, arguments.weights, getattr(arguments, "distribute", False)
    )
    if experiment and (arguments.unless or arguments.is_recorded):
        from common import made  # not above: SciPy takes its time

        if arguments.is_recorded:
            sys.exit(not made.is_recorded(experiment, arguments, photos, weights))
        if made.is_made(experiment, MODELS[experiment], arguments, photos, weights):
            print(f"{weights / MODELS[experiment]} is up to date.")
            sys.exit()
    if hasattr(arguments, "vgg16_weights"):  # a missing file is told before the photos are read
        folders.vgg16_weights(arguments.vgg16_weights, weights)
    return arguments, photos, weights


def command(script, arguments, weights):
    """The command line of another experiment with the same options, for a message."""
    options = vars(arguments) | {"weights": weights if weights != folders.WEIGHTS else None}
    defaults = {"recipe": "faithful", "preprocessing": "rescaled"}
    names = ("data", "weights", "seed", "recipe", "preprocessing", "precision", "vgg16_weights")
    given = [
        f"--{name.replace('_', '-')} {shlex.quote(str(options[name]))}"
        for name in names
        if options[name] not in (None, defaults.get(name))
    ]
    return f"`python scripts/{script}.py {' '.join(given)}` (or make {script})"


def model(description):
    """A parser of the options that choose a model, for the scripts that use one."""
    parser = cli.ArgumentParser(description)
    parser.add_argument(
        "--model",
        type=cli.path,
        metavar="FILE",
        help="a .weights.h5 file that one of the scripts wrote (default: the first of "
        f"{', '.join(MODELS.values())} that there is in the folder of weights)",
    )
    add_folders(
        parser,
        "the photos that the model was trained on, which tell the folder of weights",
        "where the model is",
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
    weights = arguments.weights
    if weights is None:
        weights = folders.default_weights(arguments.data)
        folders.check_owner(weights, arguments.data)
    found = [weights / name for name in MODELS.values() if (weights / name).exists()]
    if not found:
        data = "" if arguments.data == folders.DATA else f" DATA={shlex.quote(str(arguments.data))}"
        raise InputError(f"{weights}: no model there yet; `make best{data}` trains one")
    return found


def add_folders(parser, data, weights):
    """The options for the folders of photos and of weights, with these texts of help."""
    parser.add_argument(
        "--data",
        type=cli.path,
        default=folders.DATA,
        metavar="FOLDER",
        help=f"{data} (default: data)",
    )
    parser.add_argument(
        "--weights",
        type=cli.path,
        metavar="FOLDER",
        help=f"{weights} (default: weights, for another --data than data weights/NAME)",
    )


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
        "(default: the file given last for these photos, else imagenet)",
    )


def add_distribute(parser):
    """The option of the scripts that can train on several devices."""
    parser.add_argument(
        "--distribute",
        action="store_true",
        help="train on all GPUs of this machine or, where TF_CONFIG is set, together with the "
        "other workers it names; they must share the weights folder",
    )
