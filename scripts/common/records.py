"""The records of runs: what a line of a .jsonl file holds, and which runs are of one setting.

All that reads or writes records goes through here.
"""

import fcntl
import json
import os
from pathlib import Path

from common import fingerprints
from common.cli import InputError

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
    *("data", "optimizer", "model_sha256", "top_model"),
    *("validation_photos", "majority_accuracy"),  # where classes differ in size
    *("seconds_per_epoch", "history", "val_accuracy", "val_probabilities"),
    *("fold", "folds", "all_photos_sha256"),  # of crossval.jsonl
    *("photos_per_class", "drawn_from"),  # of label_efficiency.jsonl
    "features",  # of original.jsonl: what made them
}


def read(path):
    """The records of a file, as a list of dicts in its order; none if there is no such file.

    Raises InputError for a line that is no record: cut off, with a field that is not known
    here, or with another result than its last epoch's.
    """
    if not Path(path).exists():
        return []
    result = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        try:
            record = json.loads(line)
            unknown = record.keys() - SETTING.keys() - REST
        except (ValueError, AttributeError) as error:
            raise InputError(f"{path}, line {number}: no record; repair or remove it") from error
        if unknown:
            raise InputError(
                f"{path}, line {number}: unknown fields {', '.join(sorted(unknown))}; of another "
                "version of this repository? Update this one, or remove the line"
            )
        last = record.get("history", {}).get("val_accuracy", [record.get("val_accuracy")])[-1]
        if record.get("val_accuracy") != last:
            raise InputError(
                f"{path}, line {number}: val_accuracy is not that of the last epoch; remove it"
            )
        result.append(record)
    return result


def append(path, record):
    """Add one line to a file of records, whole or not at all, also beside another writer.

    Raises InputError if it can't be written.
    """
    line = json.dumps(record).encode() + b"\n"
    with open(path, "ab", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
        file.seek(0, os.SEEK_END)
        end = file.tell()
        try:
            while line:  # a full disk takes the first bytes and refuses the rest
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except OSError as error:
            file.truncate(end)
            raise InputError(f"{path}: can't be written ({error.strerror})") from error


def photos(record):
    """Whose photos: "exactly" the article's, those "encoded anew", else their digests."""
    data = record["data"]
    digests = [data[split]["sha256"] for split in ("train", "validation")]
    return fingerprints.are_the_articles(data, fingerprints.read_manifest()) or digests


def are_the_articles(record):
    """Whether a run was on the article's pictures, encoded anew or not."""
    return isinstance(photos(record), str)


def setting(record):
    """All that makes two runs the same but for their seeds, as JSON text."""
    values = {name: record.get(name, default) for name, default in SETTING.items()}
    optimizer = record.get("optimizer") or {}
    values["optimizer"] = {name: optimizer.get(name) for name in OPTIMIZER}
    values["photos"] = photos(record)
    values["classifier_epochs"] = classifier_epochs(record)
    return json.dumps(values, sort_keys=True)


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
