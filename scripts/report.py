"""Print the table of the article's numbers beside those of the runs in results/runs.jsonl.

The result of a run is the validation accuracy after its last epoch. Runs that differ
in nothing but the seed make one row: mean ± standard deviation over the seeds. The
interval is the 95 % that the number of validation photos allows (Wilson's).
"""

import json
import statistics
from pathlib import Path

from scipy.stats import binomtest

import cli
import files
from cli import InputError

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = ROOT / "data" / "manifest.sha256"

ARTICLE = {  # validation accuracies after 50 epochs
    "scratch": "0.79–0.81",
    "bottleneck": "0.90–0.91",
    "finetune": "0.94",
}
HEADER = ("experiment", "article", "here", "95 %", "runs", "epochs", "in", "s/epoch", "on")


def is_the_articles(record, manifest):
    """Whether a run used exactly the photos of data/manifest.sha256."""
    for split in "train", "validation":
        photos = {n: d for n, d in manifest.items() if n.startswith(f"{split}/")}
        names = [name.removeprefix(f"{split}/") for name in photos]
        if record["data"][split]["sha256"] != files.data_set_digest(names, photos.values()):
            return False
    return True


# What may differ between the runs of one row: the seed, and what is no setting.
NOT_SETTINGS = {
    "run",
    "seed",
    "started",
    "finished",
    "commit",
    "versions",
    "hardware",
    "seconds_per_epoch",
    "history",
    "val_accuracy",
    "val_probabilities",
    "top_model",  # that of the same seed; how many epochs it had is looked at
}


def group(records):
    """Runs that differ in nothing but their seeds, as lists, in the article's order.

    Of several runs with the same seed only the last counts: they are the same
    run again, and would make the spread look smaller than it is.
    """
    groups = {}
    for record in records:
        settings = {name: value for name, value in record.items() if name not in NOT_SETTINGS}
        settings["precision"] = precision(record)
        key = json.dumps([settings, classifier_epochs(record)], sort_keys=True)
        groups.setdefault(key, {})[record["seed"]] = record
    order = list(ARTICLE)
    return sorted(
        (list(runs.values()) for runs in groups.values()),
        key=lambda runs: (order.index(runs[0]["experiment"]), runs[0]["recipe"] != "faithful"),
    )


def precision(record):
    """The Keras dtype policy of a run; the first records say nothing of it."""
    return record.get("precision", "float32")


def classifier_epochs(record):
    """How many epochs the classifier had that a fine-tuning started from; else None."""
    return record.get("top_model", {}).get("epochs")


def row(runs):
    """The table's cells for runs that differ in nothing but their seeds."""
    first = runs[0]
    accuracies = [run["val_accuracy"] for run in runs]
    mean = statistics.mean(accuracies)
    here = f"{mean:.3f}"
    if len(runs) > 1:
        here += f" ± {statistics.stdev(accuracies):.3f}"
    photos = first["data"]["validation"]["photos"]
    interval = binomtest(round(mean * photos), photos).proportion_ci(method="wilson")
    notes = [first["recipe"]] if first["recipe"] != "faithful" else []
    if first.get("vgg16_weights", "imagenet") != "imagenet":
        notes.append(f"VGG16 {first['vgg16_weights']}")
    if classifier_epochs(first) not in (None, 50):
        notes.append(f"classifier of {classifier_epochs(first)} epochs")
    seconds = statistics.median(s for run in runs for s in run["seconds_per_epoch"])
    machines = {
        ", ".join(run["hardware"]["gpus"])
        or f"{run['hardware']['cores']} cores, {run['hardware']['processor']}"
        for run in runs
    }
    return (
        first["experiment"] + (f" ({', '.join(notes)})" if notes else ""),
        ARTICLE[first["experiment"]],
        here,
        f"{interval.low:.3f}–{interval.high:.3f}",
        str(len(runs)),
        str(first["epochs"]),
        precision(first).removeprefix("mixed_"),
        f"{seconds:.1f}",
        "; ".join(sorted(machines)),
    )


def table(records):
    """A Markdown table of these runs, aligned so that it reads well as text, too."""
    return cli.markdown([HEADER, *(row(runs) for runs in group(records))])


def main(argv=None):
    """Run the script with the command line's options, or with those of `argv`."""
    parser = cli.ArgumentParser(__doc__)
    parser.add_argument(
        "--results",
        type=cli.path,
        default=ROOT / "results",
        metavar="FOLDER",
        help="folder with runs.jsonl (default: results)",
    )
    results = parser.parse_args(argv).results / "runs.jsonl"
    records = files.read_records(results)
    if not records:
        raise InputError(f"{results}: no runs yet; `make scratch` makes the first")
    manifest = files.read_manifest(MANIFEST)
    ours = [record for record in records if is_the_articles(record, manifest)]
    others = [record for record in records if not is_the_articles(record, manifest)]
    if ours:
        print(f"Validation accuracy on the article's photos:\n\n{table(ours)}")
    if others:
        print(
            f"{chr(10) if ours else ''}Validation accuracy on other pictures than the article's; "
            f"the article's numbers are no measure for them:\n\n{table(others)}"
        )


if __name__ == "__main__":
    cli.run(main, after_interrupt="nothing was replaced")
