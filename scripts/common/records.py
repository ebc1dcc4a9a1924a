"""Records of runs: the lines of a .jsonl file, and which runs have the same settings.

Everything that reads or writes records goes through here.
"""

import functools
import json
import os
import re
from pathlib import Path

from common import files, fingerprints, recipes
from common.cli import InputError

RUNS = "runs.jsonl"  # in a folder of weights, and in results/
EXPERIMENTS = {*recipes.ARTICLE, "best", "step", "features"}  # the last two are original.py's

# The fields that make up a run's settings, and their values where a record lacks them.
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
    "pooling_gradient": None,  # "to all maxima" where that of 2016 was trained with
    "vgg16_weights": None,  # imagenet, random or other
    "vgg16_sha256": None,
    "frozen_layers": None,  # of VGG16, in fine-tuning
    "approaches": {},  # those the article suggests for more than 0.95
    "pooled_layers": None,  # these four are best's
    "mirrored": False,
    "gamma": None,
    "ridge": None,
    "distributed": None,  # {"strategy", "replicas"}
}
# setting() adds the photos from "data", the classifier's epochs from "top_model", and these of
# "optimizer", which every version of Keras names.
OPTIMIZER = ("name", "learning_rate", "momentum", "rho", "epsilon")
# Other fields. Machines and versions of Keras are not settings: they round differently, with as
# much effect as another seed.
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
    """The records in a file, as a list of dicts in its order; empty if there is no such file.

    Raises InputError for a line that is not a record, see problem().
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
    """Why this is not a record, or None. Values of a wrong type may raise any error."""
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
        if len(record["seconds_per_epoch"]) != record["epochs"]:
            return "not the seconds of each epoch"
    return None


def append(path, record):
    """Add a record to a file, whole or not at all, even while another process does so.

    Raises InputError if it can't be written.
    """
    if wrong := problem(record):
        raise InputError(f"{path}: not added, {wrong}")
    line = json.dumps(record).encode() + b"\n"
    with open(path, "a+b", buffering=0) as file:
        files.lock(file)
        end = file.seek(0, os.SEEK_END)
        if end and (file.seek(end - 1), file.read(1))[1] != b"\n":
            line = b"\n" + line  # an editor may have left the last line without one
        try:
            while line:  # a full disk takes the first bytes and refuses the rest
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except OSError as error:
            file.truncate(end)
            raise InputError(f"{path}: can't be written ({error.strerror})") from error


def photos(record):
    """ "exactly" for the article's files, "encoded anew" for its pictures, else their digests."""
    return _photos(json.dumps(record["data"], sort_keys=True))


@functools.cache  # there are few data sets, and each takes a pass over the manifest's 2,800 lines
def _photos(data):
    data = json.loads(data)
    digests = tuple(data[split]["sha256"] for split in ("train", "validation"))
    return fingerprints.are_the_articles(data, fingerprints.read_manifest()) or digests


def are_the_articles(record):
    """Whether a run used the article's pictures, encoded anew or not."""
    return isinstance(photos(record), str)


def setting(record, but=()):
    """A run's settings without its seed as JSON text; those named in `but` are set to null."""
    values = {name: record.get(name, default) for name, default in SETTING.items()}
    optimizer = record.get("optimizer") or {}
    values["optimizer"] = {name: optimizer.get(name) for name in OPTIMIZER}
    if optimizer:  # a process's second one is named rm_sprop_1
        values["optimizer"]["name"] = re.sub(r"_\d+$", "", optimizer["name"])
    values["photos"] = photos(record)
    values["classifier_epochs"] = classifier_epochs(record)
    return json.dumps(values | dict.fromkeys(but), sort_keys=True)


def group(records):
    """Lists of runs that differ only in their seeds, sorted by seed.

    Of several runs with the same seed, only the first counts: repetitions would make the spread
    look smaller than it is.
    """
    groups = {}
    for record in records:
        groups.setdefault(setting(record), {}).setdefault(record["seed"], record)
    return [[runs[seed] for seed in sorted(runs)] for runs in groups.values()]


def difference(some, other):
    """The names of the settings in which two runs differ, for a message."""
    some, other = json.loads(setting(some)), json.loads(setting(other))
    return ", ".join(name for name in some if some[name] != other[name])


def recipe(record):
    """The recipe of a run. What was called faithful before pooling was restored lacks that."""
    trains_pooling = record["experiment"] in ("scratch", "finetune")
    if record["recipe"] == "faithful" and trains_pooling and "pooling_gradient" not in record:
        return "as-printed-pooling"
    return record["recipe"]


def precision(record):
    """A run's Keras dtype policy."""
    return record.get("precision", SETTING["precision"])


def fed_as_trained(record):
    """Whether VGG16's input was as in its own training, not the article's RGB × 1/255."""
    return "mode" in record.get("preprocessing", {})


def approaches(record):
    """Which of the article's suggestions for more than 0.95 a fine-tuning used, as texts."""
    return [
        name.replace("_", " ") + ("" if value is True else f" {value:g}")
        for name, value in record.get("approaches", {}).items()
    ]


def classifier_epochs(record):
    """The epochs of the classifier that a fine-tuning started from; else None."""
    return record.get("top_model", {}).get("epochs")
