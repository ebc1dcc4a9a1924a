"""The records of runs: what a line of a .jsonl file holds, and which runs are of one setting.

All that reads or writes records goes through here.
"""

import fcntl
import functools
import json
import os
import re
from pathlib import Path

from common import fingerprints, recipes
from common.cli import InputError

RUNS = "runs.jsonl"  # in a folder of weights, and in results/
EXPERIMENTS = {*recipes.ARTICLE, "best", "step", "features"}  # the last two are original.py's

# What makes two runs the same setting, and what it means where a record, perhaps an old one,
# does not say it.
SETTING = {
    "experiment": None,  # scratch, bottleneck, finetune or best
    "recipe": None,  # see recipes.RECIPES; "best" for best
    "epochs": None,
    "batch_size": None,
    "image_size": None,  # [height, width] in pixels
    "preprocessing": None,  # see recipes.preprocessing()
    "class_indices": None,
    "precision": "float32",  # Keras's dtype policy
    "augmentation": None,  # see recipes.augmentation()
    "loss": "of logits",  # the faithful one is "of clipped probabilities"
    "vgg16_weights": None,  # imagenet, random or other
    "vgg16_sha256": None,
    "frozen_layers": None,  # of VGG16, in fine-tuning
    "approaches": {},  # of the article's, to get to above 0.95
    "pooled_layers": None,  # these three are best's
    "gamma": None,
    "ridge": None,
    "distributed": None,  # {"strategy", "replicas"}
}
# Whether two runs are of the same photos, and with a classifier of as many epochs, is looked up
# in "data" and "top_model", and of "optimizer" only what Keras has always told; see setting().
OPTIMIZER = ("name", "learning_rate", "momentum", "rho", "epsilon")
# What else there may be: machines and versions of Keras round differently, as much as another
# seed does, and are no settings.
REST = {
    *("run", "seed", "started", "finished", "commit", "versions", "hardware"),
    *("data", "optimizer", "model_sha256", "top_model", "made_with"),
    *("validation_photos", "majority_accuracy"),  # where classes differ in size
    *("seconds_per_epoch", "history", "val_accuracy", "val_probabilities"),
    *("fold", "folds", "all_photos_sha256"),  # of crossval.jsonl
    *("photos_per_class", "drawn_from"),  # of label_efficiency.jsonl
    "features",  # of original.jsonl: what made them
}


def read(path):
    """The records of a file, as a list of dicts in its order; none if there is no such file.

    Raises InputError for a line that is no record, see problem().
    """
    if not Path(path).exists():
        return []
    result = []
    for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
        try:
            result.append(json.loads(line))
            wrong = problem(result[-1])
        except (ValueError, TypeError, AttributeError, LookupError):
            wrong = "no record"
        if wrong:
            raise InputError(f"{path}, line {number}: {wrong}; repair or remove it")
    return result


def problem(record):
    """What keeps a record from being one, or None. May raise what odd values make Python raise."""
    unknown = record.keys() - SETTING.keys() - REST
    if unknown:
        return f"unknown fields {', '.join(sorted(unknown))}, of another version perhaps"
    if record["experiment"] not in EXPERIMENTS:
        return f"unknown experiment {record['experiment']}"
    if "recipe" in record and record["recipe"] not in {*recipes.RECIPES, *recipes.EARLIER, "best"}:
        return f"unknown recipe {record['recipe']}"
    if not all(type(record[name]) is int for name in ("seed", "epochs")):
        return "seed and epochs must be whole numbers"
    if not all(type(record["data"][s]["sha256"]) is str for s in ("train", "validation")):
        return "no digests of its photos"
    history = record["history"]
    curve = history.get("val_accuracy", history.get("val_acc"))
    if curve is not None:
        if not all(0 <= value <= 1 for value in curve):
            return "an accuracy that is none"
        if len(curve) != record["epochs"] or record["val_accuracy"] != curve[-1]:
            return "val_accuracy is not that of the last epoch"
    return None


def append(path, record):
    """Add one line to a file of records, whole or not at all, also beside another writer.

    Raises InputError if it can't be written.
    """
    line = json.dumps(record).encode() + b"\n"
    with open(path, "a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
        end = file.seek(0, os.SEEK_END)
        if end and (file.seek(end - 1), file.read(1))[1] != b"\n":
            line = b"\n" + line  # an editor's last line may have none
        try:
            while line:  # a full disk takes the first bytes and refuses the rest
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except OSError as error:
            file.truncate(end)
            raise InputError(f"{path}: can't be written ({error.strerror})") from error


def photos(record):
    """Whose photos: "exactly" the article's, those "encoded anew", else their digests."""
    return _photos(json.dumps(record["data"], sort_keys=True))


@functools.cache  # few data sets, and a look at the manifest's 2,800 lines for each
def _photos(data):
    data = json.loads(data)
    digests = tuple(data[split]["sha256"] for split in ("train", "validation"))
    return fingerprints.are_the_articles(data, fingerprints.read_manifest()) or digests


def are_the_articles(record):
    """Whether a run was on the article's pictures, encoded anew or not."""
    return isinstance(photos(record), str)


def setting(record, but=()):
    """All that makes two runs the same but for their seeds, and for what is named, as JSON text."""
    values = {name: record.get(name, default) for name, default in SETTING.items()}
    optimizer = record.get("optimizer") or {}
    values["optimizer"] = {name: optimizer.get(name) for name in OPTIMIZER}
    if optimizer:  # a process's second one is called rm_sprop_1
        values["optimizer"]["name"] = re.sub(r"_\d+$", "", optimizer["name"])
    values["photos"] = photos(record)
    values["classifier_epochs"] = classifier_epochs(record)
    return json.dumps(values | dict.fromkeys(but), sort_keys=True)


def group(records):
    """Lists of runs that differ in nothing but their seeds, each sorted by seed.

    Of several runs with the same seed the first counts: they are the same run again, and
    would make the spread look smaller than it is.
    """
    groups = {}
    for record in records:
        groups.setdefault(setting(record), {}).setdefault(record["seed"], record)
    return [[runs[seed] for seed in sorted(runs)] for runs in groups.values()]


def difference(some, other):
    """The names of what two runs' settings differ in, for a message."""
    some, other = json.loads(setting(some)), json.loads(setting(other))
    return ", ".join(name for name in some if some[name] != other[name])


def precision(record):
    """The Keras dtype policy of a run."""
    return record.get("precision", SETTING["precision"])


def fed_as_trained(record):
    """Whether VGG16 was fed with what it was trained on, not with the article's RGB × 1/255."""
    return "mode" in record.get("preprocessing", {})


def approaches(record):
    """The article's approaches to get to above 0.95 that a fine-tuning took, as texts."""
    return [
        name.replace("_", " ") + ("" if value is True else f" {value:g}")
        for name, value in record.get("approaches", {}).items()
    ]


def classifier_epochs(record):
    """How many epochs the classifier had that a fine-tuning started from; else None."""
    return record.get("top_model", {}).get("epochs")
