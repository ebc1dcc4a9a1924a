"""The report of the runs in results/: our numbers beside the article's, and what decides them.

The result of a run is the validation accuracy after its last epoch. Runs that differ
in nothing but the seed make one row: mean ± standard deviation over the seeds. The
interval is the 95 % that the number of validation photos allows (Wilson's). Prints the
table of all runs; with --readme it also writes the whole report to README.md and pictures
in the results folder, and fills the sections of the README that are marked as its own.
"""

import collections
import json
import re
import statistics
import warnings
from pathlib import Path

from scipy.stats import binomtest, ttest_ind

import bench
import cli
import files
from cli import InputError

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = ROOT / "data" / "manifest.sha256"

# The article's validation accuracies, after its 50 epochs of batches of 32.
ARTICLE = {"scratch": "0.79–0.81", "bottleneck": "0.90–0.91", "finetune": "0.94"}
EPOCHS, BATCH_SIZE = 50, 32
PHOTOS = 2000  # to train on
FEW_CLASSES = 5  # are named in the table, of more the number
HEADER = ("experiment", "article", "here", "95 %", "runs", "epochs", "in", "s/epoch", "on")

RECIPES = {
    "faithful": "faithful: all as in 2016",
    "as-printed-shear": "the shear in degrees",
    "as-printed-axes": "the shear of columns",
    "as-printed-centre": "the transform's centre",
    "as-printed-interpolation": "linear interpolation",
    "as-printed-resizing": "today's nearest neighbour",
    "as-printed-loss": "the unclipped loss",
    "as-printed-epsilon": "RMSprop's epsilon",
    "constants": "constants: as far as they restore it",
    "constants-as-printed-shear": "constants, the shear in degrees",
    "constants-as-printed-interpolation": "constants, linear interpolation",
    "constants-as-printed-epsilon": "constants, RMSprop's epsilon",
    "as-printed": "as printed: what they mean today",
}
# Recipes of 2016: what is compared with a run is of the same one.
OF_2016 = ("faithful", "constants")
LAST_FEW = 5  # epochs, whose mean is steadier than the last one
HARD_PHOTOS = 20  # as many are shown of those that most runs get wrong


def is_the_articles(record, manifest):
    """Whether a run used exactly the photos of data/manifest.sha256."""
    return all(
        record["data"][split]["sha256"] == files.manifest_digest(manifest, split)
        for split in ("train", "validation")
    )


# What may differ between the runs of one row: the seed, and what is no setting. Machines round
# differently, as much as another seed does; the table names them all.
NOT_SETTINGS = {
    "hardware",
    "model_sha256",
    "run",
    "seed",
    "started",
    "finished",
    "commit",
    "versions",
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
    experiments, recipes = [*ARTICLE, "best"], [*RECIPES, "best"]
    return sorted(
        ([runs[seed] for seed in sorted(runs)] for runs in groups.values()),
        key=lambda runs: (
            experiments.index(runs[0]["experiment"]),
            recipes.index(runs[0]["recipe"]),
            -runs[0]["epochs"],
            precision(runs[0]),
        ),
    )


def precision(record):
    """The Keras dtype policy of a run; the first records say nothing of it."""
    return record.get("precision", "float32")


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


def mean_and_spread(values):
    """ "mean ± standard deviation", or the only value."""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def interval(accuracy, photos):
    """The 95 % that so many photos allow."""
    ci = binomtest(round(accuracy * photos), photos).proportion_ci(method="wilson")
    return f"{ci.low:.3f}–{ci.high:.3f}"


def row(runs):
    """The table's cells for runs that differ in nothing but their seeds."""
    first = runs[0]
    accuracies = [run["val_accuracy"] for run in runs]
    notes = [first["recipe"]] if first["recipe"] not in ("faithful", "best") else []
    if first["experiment"] == "best":
        notes.append(f"{first['image_size'][0]} pixels")
    notes += approaches(first)
    if first["experiment"] in ARTICLE and fed_as_trained(first):
        notes.append("BGR less the mean")
    if first.get("vgg16_weights", "imagenet") != "imagenet":
        notes.append(f"VGG16 {first['vgg16_weights']}")
    if classifier_epochs(first) not in (None, EPOCHS):
        notes.append(f"classifier of {classifier_epochs(first)} epochs")
    if "distributed" in first:
        notes.append("{strategy}, {replicas} replicas".format(**first["distributed"]))
    if first["experiment"] in ARTICLE and first["batch_size"] != BATCH_SIZE:
        notes.append(f"batches of {first['batch_size']}")
    classes, photos = list(first["class_indices"]), first["data"]["train"]["photos"]
    if (classes, photos) != (["cats", "dogs"], PHOTOS):
        of = ", ".join(classes) if len(classes) <= FEW_CLASSES else f"{len(classes)} classes"
        notes.append(f"{photos:,} photos of {of}")
    places = {}
    for run in runs:
        hardware = run["hardware"]
        place = ", ".join(hardware["gpus"])
        place = place or "{cores} core{s}, {processor}".format(
            s="s" * (hardware["cores"] != 1), **hardware
        )
        places.setdefault(place, []).extend(run["seconds_per_epoch"])
    seconds = [f"{statistics.median(times):.1f}" for times in places.values()]
    return (
        first["experiment"] + (f" ({', '.join(notes)})" if notes else ""),
        ARTICLE.get(first["experiment"], ""),
        mean_and_spread(accuracies),
        interval(statistics.mean(accuracies), first["data"]["validation"]["photos"]),
        str(len(runs)),
        str(first["epochs"]),
        precision(first).removeprefix("mixed_"),
        "; ".join(seconds) if first["experiment"] in ARTICLE else "",
        "; ".join(places),
    )


def table(records):
    """A Markdown table of these runs, aligned so that it reads well as text, too."""
    return cli.markdown([HEADER, *(row(runs) for runs in group(records))])


# The report, of runs on the article's photos.


def is_whole(record):
    """Whether a run had the article's epochs and batches, ImageNet's VGG16, and one device."""
    return (
        record["experiment"] in ARTICLE
        and (record["epochs"], record["batch_size"]) == (EPOCHS, BATCH_SIZE)
        and record.get("vgg16_weights", "imagenet") == "imagenet"
        and classifier_epochs(record) in (None, EPOCHS)
        and "distributed" not in record
    )


def as_the_article(records):
    """{experiment: {recipe: runs}} of whole runs with ImageNet's VGG16, as the article has them.

    In the precision that most of the faithful ones, or else of all, were made in. The
    faithful runs in float32, if it is another precision, are under "float32".
    """
    whole = [
        runs
        for runs in group(records)
        if is_whole(runs[0]) and not fed_as_trained(runs[0]) and not approaches(runs[0])
    ]
    count = collections.Counter()
    are_there_faithful_ones = any(runs[0]["recipe"] == "faithful" for runs in whole)
    for runs in whole:
        if runs[0]["recipe"] == "faithful" or not are_there_faithful_ones:
            count[precision(runs[0])] += len(runs)
    result = {experiment: {} for experiment in ARTICLE}
    for runs in whole:
        most_common = count.most_common(1)[0][0]
        if precision(runs[0]) == most_common:
            result[runs[0]["experiment"]][runs[0]["recipe"]] = runs
        elif runs[0]["recipe"] == "faithful" and precision(runs[0]) == "float32":
            result[runs[0]["experiment"]]["float32"] = runs
    return result


def last_ten(run):
    """Mean validation accuracy of the last ten epochs: steadier than the last one's."""
    return statistics.mean(run["history"]["val_accuracy"][-10:])


def difference(values, reference):
    """Of the means, with Welch's 95 % interval."""
    text = f"{statistics.mean(values) - statistics.mean(reference):+.3f}"
    if min(len(values), len(reference)) > 1:
        # SciPy warns of values that are all alike, as three runs can be; the others are not.
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
            ci = ttest_ind(values, reference, equal_var=False).confidence_interval()
        text += f" ({ci.low:+.3f} to {ci.high:+.3f})"
    return text.replace("-", "−")


def headline(articles, original):
    """Markdown table of the runs of 2016's recipe, beside the article's and Keras 1.0.4's.

    Where there are not yet as many whole runs of the faithful recipe, those of `constants`.
    original: as original_runs() returns them.
    """
    rows = [("experiment", "article 2016", "Keras 1.0.4", "here", "difference", "95 %", "minutes")]
    places = {}  # in order
    for experiment, recipes in articles.items():
        if runs := of_2016(recipes):
            name, article, here, photos_allow, count, _, in_precision, _, on = row(runs)
            minutes = min(sum(run["seconds_per_epoch"]) for run in runs) / 60
            there = [run["val_accuracy"] for run in original.get(experiment, [])]
            cells = ("", "")
            if there:
                apart = difference([run["val_accuracy"] for run in runs], there)
                cells = (f"{mean_and_spread(there)} ({len(there)})", apart)
            here = f"{here} ({count})"
            rows.append((name, article, cells[0], here, cells[1], photos_allow, f"{minutes:.0f}"))
            places[f"{on}, in {in_precision}"] = None
    return f"{cli.markdown(rows)}\n\nOn {'; '.join(places)}." if places else "No whole runs yet."


def original_runs(records, manifest):
    """{experiment: runs} of original.py: whole and on the article's photos, of each seed one."""
    result = {}
    for record in records:
        if record["epochs"] == EPOCHS and is_the_articles(record, manifest):
            result.setdefault(record["experiment"], {})[record["seed"]] = record
    return {experiment: list(runs.values()) for experiment, runs in result.items()}


def beside_the_original(articles, original):
    """Markdown table: accuracy and loss of the last epochs in Keras 1.0.4 and here."""
    rows = [("experiment", "validation", "Keras 1.0.4", "here", "difference")]
    measures = (
        ("accuracy, last epoch", "val_acc", "val_accuracy", 1),
        ("accuracy, last ten epochs", "val_acc", "val_accuracy", 10),
        ("loss, last ten epochs", "val_loss", "val_loss", 10),
    )
    for experiment, recipes in articles.items():
        runs = of_2016(recipes)
        if not runs or experiment not in original:
            continue
        for name, then, now, epochs in measures:
            there, here = (
                [statistics.mean(run["history"][key][-epochs:]) for run in of]
                for of, key in ((original[experiment], then), (runs, now))
            )
            cells = (f"{mean_and_spread(values)} ({len(values)})" for values in (there, here))
            rows.append((row(runs)[0], name, *cells, difference(here, there)))
    return cli.markdown(rows)


def changes(articles):
    """Markdown table: what each of Keras's changes since 2016 costs."""
    head = ("experiment", "runs", "last epoch", "difference", "last ten epochs", "difference")
    rows = [head]
    for experiment, recipes in articles.items():
        if len(recipes) < 2:
            continue
        for recipe, label in (RECIPES | {"float32": "faithful, all of it in float32"}).items():
            if recipe not in recipes:
                continue
            cells = []
            for result in (lambda run: run["val_accuracy"]), last_ten:
                values = [result(run) for run in recipes[recipe]]
                of_constants = recipe.startswith("constants-")
                compared = recipes.get("constants", []) if of_constants else of_2016(recipes)
                reference = [result(run) for run in compared]
                cells.append(mean_and_spread(values))
                alone = compared in (recipes[recipe], [])
                cells.append("" if alone else difference(values, reference))
            rows.append((f"{experiment}, {label}", str(len(recipes[recipe])), *cells))
    return cli.markdown(rows)


def every_run(records):
    """Markdown table: the result of each seed."""
    rows = [("experiment", "recipe", "epochs", "in", "results of seeds")]
    for runs in group(records):
        first = runs[0]
        rows.append(
            (
                row(runs)[0],
                first["recipe"],
                str(first["epochs"]),
                precision(first).removeprefix("mixed_"),
                ", ".join(f"{run['seed']}: {run['val_accuracy']:.4f}" for run in runs),
            )
        )
    return cli.markdown(rows)


def crossvalidation(records):
    """Markdown table of the runs of crossval.py."""
    head = ("experiment", "recipe", "in", "folds", "trained on", "tested on")
    rows = [(*head, "here", "95 % of all photos")]
    groups = {}
    for record in records:
        names = ("experiment", "recipe", "epochs", "batch_size", "seed", "folds", "precision")
        names += ("all_photos_sha256",)
        groups.setdefault(tuple(record[name] for name in names), {})[record["fold"]] = record
    for (experiment, recipe, *_, folds, in_precision, _), runs in groups.items():
        accuracies = [run["val_accuracy"] for run in runs.values()]
        trained, tested = (
            [run["data"][split]["photos"] for run in runs.values()]
            for split in ("train", "validation")
        )
        right = sum(a * n for a, n in zip(accuracies, tested, strict=True))
        done = f"{len(runs)} of {folds}" if len(runs) < folds else f"{folds}"
        rows.append(
            (
                experiment,
                recipe,
                in_precision.removeprefix("mixed_"),
                done,
                f"{statistics.mean(trained):,.0f}",
                f"{statistics.mean(tested):,.0f}",
                mean_and_spread(accuracies),
                interval(right / sum(tested), sum(tested)),
            )
        )
    return cli.markdown(rows)


def choice_table(choice):
    """Markdown table of choose.py's results: the best kernel of each way to feed and pool VGG16."""
    head = ("pixels", "VGG16 is fed", "pooled", "gamma", "ridge", "accuracy", "squared error")
    rows = [head]
    ways = {}
    for tried in choice["choices"]:
        way = (tried["image_size"], fed_as_trained(tried), *tried["pooled_layers"])
        ways.setdefault(way, []).append(tried)
    for (size, as_trained, *pooled), tries in ways.items():
        kernel = min(tries, key=lambda tried: tried["mean_squared_error"])
        rows.append(
            (
                f"{size} × {size}",
                "BGR less the mean" if as_trained else "RGB × 1/255",
                ", ".join(pooled),
                f"{kernel['gamma']:g}",
                f"{kernel['ridge']:g}",
                f"{kernel['accuracy']:.4f}",
                f"{kernel['mean_squared_error']:.4f}",
            )
        )
    return cli.markdown(rows)


def by_photos(records, whole=()):
    """{experiment: {photos a class: runs}} of label_efficiency.py, both in rising order.

    whole: the runs with all the photos.
    """
    result = {experiment: {} for experiment in ("scratch", "bottleneck", "best")}
    for record in records:
        runs = result[record["experiment"]].setdefault(record["photos_per_class"], {})
        runs[record["seed"]] = record
    for record in whole:
        photos = record["data"]["train"]["photos"] // 2
        result[record["experiment"]].setdefault(photos, {})[record["seed"]] = record
    return {
        experiment: {photos: list(runs.values()) for photos, runs in sorted(sizes.items())}
        for experiment, sizes in result.items()
        if sizes
    }


def label_efficiency_table(experiments):
    """Markdown table of what by_photos() returned."""
    rows = [("photos a class", *experiments)]
    for photos in sorted({photos for sizes in experiments.values() for photos in sizes}):
        cells = (
            f"{mean_and_spread([run['val_accuracy'] for run in sizes[photos]])} "
            f"({len(sizes[photos])})"
            if photos in sizes
            else ""
            for sizes in experiments.values()
        )
        rows.append((f"{photos:,}", *cells))
    return cli.markdown(rows)


def hard_photos(articles, names):
    """The validation photos that most faithful runs get wrong, the hardest first.

    names: photo_names() of the validation photos. Returns tuples (name, {experiment: (runs
    that are wrong, runs, mean probability of dog)}), sorted by the mean share of wrong runs
    of the three experiments, then by how sure they are on average.
    """
    photos = []
    for number, name in enumerate(names):
        truth = name.startswith("dogs/")
        looks, shares, errors = {}, [], []
        for experiment, recipes in articles.items():
            runs = [r for r in of_2016(recipes) if "val_probabilities" in r]
            if not runs:
                continue
            answers = [run["val_probabilities"][number] for run in runs]
            wrong = sum((answer > 0.5) != truth for answer in answers)
            looks[experiment] = (wrong, len(runs), statistics.mean(answers))
            shares.append(wrong / len(runs))
            errors.append(abs(looks[experiment][2] - truth))
        if shares and statistics.mean(shares) > 0.5:
            photos.append(((statistics.mean(shares), sum(errors)), name, looks))
    photos.sort(key=lambda photo: photo[0], reverse=True)
    return [(name, looks) for _, name, looks in photos]


def hard_photos_table(photos):
    """Markdown table of what hard_photos() returned."""
    rows = [("photo", *(f"{experiment}: wrong, P(dog)" for experiment in ARTICLE))]
    for name, looks in photos[:HARD_PHOTOS]:
        cells = (
            f"{looks[e][0]} of {looks[e][1]}, {looks[e][2]:.2f}" if e in looks else ""
            for e in ARTICLE
        )
        rows.append((name, *cells))
    return cli.markdown(rows)


def of_2016(recipes):
    """Of an experiment's {recipe: runs}, the faithful ones, or those of `constants` if more."""
    return max((recipes.get(recipe, []) for recipe in OF_2016), key=len)


def precisions(articles):
    """The precision of as_the_article()'s runs, which what is compared with them must share."""
    return {
        precision(runs[0])
        for recipes in articles.values()
        for recipe, runs in recipes.items()
        if recipe != "float32"
    }


def best_runs(ours, articles):
    """The runs of best.py with ImageNet's VGG16: those made last, if its settings have changed."""
    groups = [
        runs
        for runs in group(ours)
        if runs[0]["experiment"] == "best"
        and runs[0]["vgg16_weights"] == "imagenet"
        and precision(runs[0]) in precisions(articles)
    ]
    return max(groups, key=lambda runs: max(run["finished"] for run in runs), default=[])


def beyond(ours, articles):
    """Markdown table: VGG16 fed as it was trained beside the article's way, and best.py."""
    rows = [("experiment", "photos", "VGG16 is fed", "here", "95 %", "runs")]
    compared = [
        runs
        for runs in group(ours)
        if runs[0]["experiment"] in ("bottleneck", "finetune")
        and is_whole(runs[0])
        and runs[0]["recipe"] in OF_2016
        and precision(runs[0]) in precisions(articles)
    ]
    compared.sort(
        key=lambda runs: (
            list(ARTICLE).index(runs[0]["experiment"]),
            OF_2016.index(runs[0]["recipe"]),
            fed_as_trained(runs[0]),
            len(approaches(runs[0])),
        )
    )
    # Nothing in best is random, so that its seeds are one run.
    for runs in [*compared, best_runs(ours, articles)[:1]]:
        if not runs:
            continue
        recipe = [runs[0]["recipe"]] if runs[0]["recipe"] == "constants" else []
        name = ", ".join([runs[0]["experiment"], *recipe, *approaches(runs[0])])
        _, _, here, photos_allow, count, *_ = row(runs)
        height, width = runs[0]["image_size"]
        way = "BGR less the mean" if fed_as_trained(runs[0]) else "RGB × 1/255"
        rows.append((name, f"{height} × {width}", way, here, photos_allow, count))
    return cli.markdown(rows)


def approaches_table(ours, articles):
    """Markdown table: fine-tuning with the article's approaches, and fed as VGG16 was trained.

    Such runs may have fewer epochs than the article's; beside each stand the runs of the same
    recipe without it as they were after as many. None if there are no such runs.
    """
    rows = []
    for runs in group(ours):
        first = runs[0]
        without = articles["finetune"].get(first["recipe"], [])
        if (
            first["experiment"] != "finetune"
            or not (approaches(first) or fed_as_trained(first))
            or not is_whole(first | {"epochs": EPOCHS})
            or first["recipe"] not in OF_2016
            or precision(first) not in precisions(articles)
            or not without
        ):
            continue
        notes = approaches(first) + (["BGR less the mean"] if fed_as_trained(first) else [])
        cells = []
        for compared in runs, without:
            curves = [run["history"]["val_accuracy"][: first["epochs"]] for run in compared]
            cells.append(mean_and_spread([curve[-1] for curve in curves]))
            cells.append(mean_and_spread([statistics.mean(curve[-LAST_FEW:]) for curve in curves]))
        name = ", ".join(notes)
        rows.append(
            (
                OF_2016.index(first["recipe"]),
                len(notes),
                name,
                first["recipe"],
                str(first["epochs"]),
                str(len(runs)),
                *cells,
            )
        )
    if not rows:
        return None
    head = ("fine-tuning with", "recipe", "epochs", "runs", "the last", f"mean of {LAST_FEW}")
    head = (*head, "without it, then", f"mean of {LAST_FEW}")
    return cli.markdown([head, *(row[2:] for row in sorted(rows))])


def read_choice(path, manifest):
    """What choose.py found on the article's training photos with ImageNet's VGG16, else None."""
    if not path.exists():
        return None
    choice = json.loads(path.read_text())
    photos_are_ours = choice["photos"]["sha256"] == files.manifest_digest(manifest, "train")
    return choice if photos_are_ours and choice["vgg16_weights"] == "imagenet" else None


def picture(name, text, folder=""):
    """HTML of a picture in two versions, for light and dark pages."""
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{folder}{name}-dark.svg">'
        f'<img alt="{text}" src="{folder}{name}.svg"></picture>'
    )


CURVES = ("learning_curves", "Validation accuracy by epoch of the three experiments")
COSTS = ("changes", "Accuracy of each run, by what the article's constants mean")
FEWER = ("label_efficiency", "Validation accuracy by the number of training photos a class")


def sections(articles, folder, crossval, ours, original):
    """The README's sections, {name: Markdown}, of the runs on the article's photos."""
    return {
        "beyond": beyond(ours, articles),
        "numbers": f"{picture(*CURVES, folder)}\n\n{headline(articles, original)}",
        "changes": f"{picture(*COSTS, folder)}\n\n{changes(articles)}",
        "crossval": crossvalidation(crossval),
    }


def fill(text, sections, path):
    """The text with its marked sections replaced; raises InputError where one is not there."""
    for name, content in sections.items():
        begin, end = f"<!-- {name}: written by make report -->", f"<!-- end of {name} -->"
        pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
        if not re.search(pattern, text, re.DOTALL):
            raise InputError(f"{path}: lacks the lines {begin} and {end}; put them back")
        whole = f"{begin}\n{content}\n{end}"
        text = re.sub(pattern, lambda _, whole=whole: whole, text, flags=re.DOTALL)
    return text


def report(ours, others, articles, original, crossval, photos, fewer, choice):
    """The text of results/README.md."""
    parts = [
        "# Results",
        "Written by `make report` from [runs.jsonl](runs.jsonl), which holds the settings, seed, "
        "versions, hardware, digests\nof photos and weights, the history of every epoch and the "
        "probabilities of the validation photos\nof each run, and from [crossval.jsonl]"
        "(crossval.jsonl).",
        "## Every setting\n\nValidation accuracy after the last epoch, on the article's photos.",
        table(ours) if ours else "No runs yet.",
    ]
    if others:
        parts += ["On other pictures, for which the article's numbers are no measure:"]
        parts += [table(others)]
    parts += ["## Every run", every_run(ours) if ours else "None."]
    parts += ["## Learning curves", picture(*CURVES)]
    parts += [
        "Mean over the runs of the faithful recipe, with a band from the lowest to the highest; "
        "dashed, the\narticle's number."
    ]
    parts += ["## What each change of Keras costs", picture(*COSTS), changes(articles)]
    parts += [
        "Differences are to the faithful recipe, of those that begin with constants to that "
        "recipe, with Welch's\n95 % interval. Each of the changes is made alone, the others "
        "left as they were in 2016. The mean of\nthe last ten epochs is less of a lottery than "
        "the last one, which is the result."
    ]
    if original:
        parts += ["## Beside Keras 1.0.4", beside_the_original(articles, original)]
        parts += [
            "The article's experiments in Keras 1.0.4 on Theano, Python 2.7 (`make original`, "
            "[original.jsonl](original.jsonl)),\non the same photos; in brackets, the number of "
            "runs. Differences with Welch's 95 % interval."
        ]
    if crossval:
        parts += ["## Cross-validation", crossvalidation(crossval)]
        parts += [
            "Over all photos, training and validation together: each is tested on once, by a "
            "network that has\nnot seen it. The interval is that of all of them."
        ]
    parts += ["## Beyond the article", beyond(ours, articles)]
    tuned = approaches_table(ours, articles)
    if tuned:
        parts += [
            "Fine-tuning with the article's approaches to get to above 0.95, and with VGG16 fed as "
            "it was trained:\nvalidation accuracy after the last epoch, and the mean of the last "
            f"{LAST_FEW}; beside it, that of the runs of the same\nrecipe without it after as many "
            "epochs.",
            tuned,
        ]
    if choice:
        parts += [
            "How the settings of best were chosen (`make choose`): by cross-validation in "
            f"{choice['folds']} folds inside the\n{choice['photos']['photos']:,} training photos; "
            "of each way, the kernel with the least squared error. The validation photos\n"
            "were not looked at.",
            choice_table(choice),
        ]
    if fewer:
        parts += ["## Fewer photos", picture(*FEWER), label_efficiency_table(fewer)]
        parts += [
            "Validation accuracy: mean ± standard deviation over draws of the training photos, "
            "with their number\n(`make efficiency`). Each training has its 50 epochs, so with "
            "fewer photos also fewer steps. With all\n1,000 photos a class it is seeds that "
            "differ, and best has no spread, since nothing in it is random."
        ]
    if photos:
        parts += ["## Photos that most runs get wrong", hard_photos_table(photos)]
        parts += [
            "Of the faithful runs that recorded their probabilities: how many of them are wrong, "
            "and the mean of\nwhat they answer. Sorted by the share of wrong runs, the three "
            f"experiments counting alike; {len(photos)} of the\n800 validation photos are got "
            "wrong by more than half. The photos are not part of this repository:\nwith them in "
            "`data/`, `make report` shows these on one sheet, `results/hard_photos.jpg`."
        ]
    return "\n\n".join(parts) + "\n"


def parse(argv=None):
    """The command line's options, or those of `argv`."""
    parser = cli.ArgumentParser(__doc__)
    parser.add_argument(
        "--results",
        type=cli.path,
        default=ROOT / "results",
        metavar="FOLDER",
        help="folder with runs.jsonl (default: results)",
    )
    parser.add_argument(
        "--readme",
        type=cli.path,
        metavar="FILE",
        help="write the report, and fill the sections of this file",
    )
    parser.add_argument(
        "--data",
        type=cli.path,
        default=ROOT / "data",
        metavar="FOLDER",
        help="where the article's photos are, to show some of them (default: data)",
    )
    return parser.parse_args(argv)


def main(arguments):
    """Run the script with the options that parse() returned."""
    results = arguments.results / "runs.jsonl"
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
    if arguments.readme:
        write(arguments, ours, others, manifest)


def write(arguments, ours, others, manifest):
    """Write the whole report: the README's sections, results/README.md and the pictures."""
    import plots  # not above: matplotlib takes its time

    folder = arguments.results
    articles = as_the_article(ours)
    all_photos = files.data_set_digest(manifest, manifest.values())
    crossval = [
        record
        for record in files.read_records(folder / "crossval.jsonl")
        if record["all_photos_sha256"] == all_photos and record["epochs"] == EPOCHS
    ]
    names = files.photo_names(manifest, "validation")
    photos = hard_photos(articles, names)
    readme = arguments.readme.read_text(encoding="utf-8")
    fewer = [
        record
        for record in files.read_records(folder / "label_efficiency.jsonl")
        if is_the_articles({"data": record["drawn_from"]}, manifest)
        and record.get("vgg16_weights", "imagenet") == "imagenet"
        and (record["experiment"] == "best" or is_whole(record))
        and precision(record) in precisions(articles)
    ]
    # Of the recipe that there are most runs of; best is of none.
    count = collections.Counter(r["recipe"] for r in fewer if r["experiment"] != "best")
    recipe = max(count, key=count.get, default=None)
    fewer = [record for record in fewer if record["recipe"] in (recipe, "best")]
    whole = best_runs(ours, articles)[:1]
    for experiment in "scratch", "bottleneck":
        whole += articles[experiment].get(recipe, [])
    fewer = by_photos(fewer, whole) if fewer else None
    choice = read_choice(folder / "choice.json", manifest)
    original = original_runs(files.read_records(folder / "original.jsonl"), manifest)
    filled = sections(articles, f"{folder.name}/", crossval, ours, original)
    if fewer:
        text = f"{picture(*FEWER, f'{folder.name}/')}\n\n{label_efficiency_table(fewer)}"
        filled["fewer"] = text
        plots.label_efficiency(fewer, folder / FEWER[0])
    tuned = approaches_table(ours, articles)
    if tuned:
        filled["approaches"] = tuned
    if (folder / "bench.json").exists():
        filled["speed"] = bench.table(json.loads((folder / "bench.json").read_text()))
    readme = fill(readme, filled, arguments.readme)
    curves = {experiment: of_2016(recipes) for experiment, recipes in articles.items()}
    plots.learning_curves(curves, folder / CURVES[0])
    plots.changes(articles, RECIPES, folder / COSTS[0])
    if all((arguments.data / "validation" / name).exists() for name, _ in photos):
        plots.hard_photos(photos[:HARD_PHOTOS], arguments.data, folder / "hard_photos.jpg")
    with files.replacing(folder / "README.md") as temporary:
        temporary.write_text(
            report(ours, others, articles, original, crossval, photos, fewer, choice),
            encoding="utf-8",
        )
    with files.replacing(arguments.readme) as temporary:
        temporary.write_text(readme, encoding="utf-8")
    print(f"\nThe report: {folder / 'README.md'}   Filled in: {arguments.readme}")


if __name__ == "__main__":
    cli.run(lambda: main(parse()), after_interrupt="nothing was replaced")
