"""Markdown tables of what the records say; nothing here reads a file.

The result of a run is the validation accuracy after its last epoch. Runs that differ in
nothing but the seed make one row: mean ± standard deviation over the seeds. The interval is
the 95 % that the number of validation photos allows (Wilson's).

articles, in what follows, are what selection.cells() returned, original what
selection.original_runs() did.
"""

import functools
import json
import statistics
import warnings

from scipy.stats import binomtest, t, ttest_ind, ttest_rel

from common import cli, records
from common.recipes import ARTICLE, BATCH_SIZE, EPOCHS
from common.records import approaches, classifier_epochs, fed_as_trained, precision
from common.selection import PRECISIONS, RECIPES, VARIANTS
from common.selection import best_runs, cells, comparable, faithful, is_whole, ordered, rank

PHOTOS = 2000  # the article's, to train on
FEW_CLASSES = 5  # are named in the table, of more the number
LAST_FEW = 5  # epochs, whose mean is steadier than the last one
SMALLEST_SPREAD = 0.0025  # two of 800 photos; a few runs can be alike by chance

# Of the validation photos that nearly all models, or best, get wrong, looked at one by one, those
# that are not what their label says, and what is seen on them.
WRONG_LABELS = {"dogs/dog.1043.jpg": "a shelter's house and its name, no animal"}


def accuracies(runs):
    """Of each run the accuracy after its last epoch."""
    return [run["val_accuracy"] for run in runs]


def mean_of_last(runs, epochs, metric="val_accuracy"):
    """Of each run the metric's mean over its last epochs, which is steadier than the last one."""
    return [statistics.mean(run["history"][metric][-epochs:]) for run in runs]


def mean_and_spread(values):
    """ "mean ± standard deviation", or the only value."""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def with_count(values):
    """The same, with their number; nothing of none."""
    return f"{mean_and_spread(values)} ({len(values)})" if values else ""


def interval(accuracy, photos):
    """The 95 % that so many photos allow."""
    ci = binomtest(round(accuracy * photos), photos).proportion_ci(method="wilson")
    return f"{ci.low:.3f}–{ci.high:.3f}"


def allowed(runs):
    """The interval that the runs' validation photos allow around their mean."""
    photos = runs[0]["data"]["validation"]["photos"]
    return interval(statistics.mean(accuracies(runs)), photos)


def difference(values, reference, paired=False):
    """Of the means, with Welch's 95 % interval, or that of the differences of pairs."""
    text = f"{statistics.mean(values) - statistics.mean(reference):+.3f}"
    if min(len(values), len(reference)) > 1:
        # SciPy warns of values that are all alike, as three runs can be; the others are not.
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
            test = ttest_rel if paired else functools.partial(ttest_ind, equal_var=False)
            ci = test(values, reference).confidence_interval()
        text += f" ({ci.low:+.3f} to {ci.high:+.3f})"
    return text.replace("-", "−")


def in_words(policy):
    """A Keras dtype policy without its prefix."""
    return policy.removeprefix("mixed_")


def fed(run):
    """What VGG16 is fed with."""
    return "BGR less the mean" if fed_as_trained(run) else "RGB × 1/255"


def mirrored(run):
    """What follows the name of runs whose features are those of the mirror image, too."""
    return ", mirrored" if run.get("mirrored") else ""


def article(experiment):
    """The article's accuracy of an experiment, as text; empty for best."""
    return "–".join(f"{accuracy:.2f}" for accuracy in ARTICLE.get(experiment, ()))


def fastest(runs, on_gpu):
    """The fewest minutes of training on a processor or on a GPU; nothing where none was.

    By the first epoch and the median one, since others may have used the machine in between.
    """
    epochs = [r["seconds_per_epoch"] for r in runs if bool(r["hardware"]["gpus"]) == on_gpu]
    times = [first + statistics.median(rest) * len(rest) for first, *rest in epochs if rest]
    if not times:
        return ""
    return f"{min(times) / 60:.0f}" if min(times) >= 60 else "< 1"


def place(run):
    """What a run was made on: its GPUs, or else as much of a processor as it could use."""
    hardware = run["hardware"]
    if hardware["gpus"]:
        return ", ".join(hardware["gpus"])
    plural = "s" if hardware["cores"] != 1 else ""
    return f"{hardware['cores']} core{plural}, {hardware['processor']}"


def other_epochs(run):
    """What follows the name of runs with other epochs than the article's."""
    epochs = run["epochs"]
    other = run["experiment"] in ARTICLE and epochs != EPOCHS
    return f", {epochs} epoch{'s' * (epochs != 1)}" if other else ""


def label(runs):
    """The name of runs that differ in nothing but their seeds: what is not as in the article."""
    first = runs[0]
    notes = [records.recipe(first)] if records.recipe(first) not in ("faithful", "best") else []
    if first["experiment"] == "best":
        notes.append(f"{first['image_size'][0]} pixels{mirrored(first)}")
    notes += approaches(first)
    if first["experiment"] in ARTICLE and fed_as_trained(first):
        notes.append(fed(first))
    if first.get("vgg16_weights", "imagenet") != "imagenet":
        notes.append(f"VGG16 {first['vgg16_weights']}")
    if classifier_epochs(first) not in (None, EPOCHS):
        plural = "s" if classifier_epochs(first) > 1 else ""
        notes.append(f"classifier of {classifier_epochs(first)} epoch{plural}")
    if "distributed" in first:
        notes.append("{strategy}, {replicas} replicas".format(**first["distributed"]))
    if first["experiment"] in ARTICLE and first["batch_size"] != BATCH_SIZE:
        notes.append(f"batches of {first['batch_size']}")
    classes, photos = list(first["class_indices"]), first["data"]["train"]["photos"]
    if records.photos(first) == "encoded anew":
        notes.append("photos encoded anew")
    elif (classes, photos) != (["cats", "dogs"], PHOTOS):
        of = ", ".join(classes) if len(classes) <= FEW_CLASSES else f"{len(classes)} classes"
        notes.append(f"{photos:,} photos of {of}")
    return first["experiment"] + (f" ({', '.join(notes)})" if notes else "")


def every_setting(runs):
    """A row for each setting, with all that there is to say of it."""
    head = ("experiment", "article", "here", "95 %", "results of seeds", "epochs", "in")
    rows = [(*head, "s/epoch", "on")]
    for group in ordered(runs):
        first, places = group[0], {}
        for run in group:
            places.setdefault(place(run), []).extend(run["seconds_per_epoch"])
        seconds = [f"{statistics.median(times):.1f}" for times in places.values()]
        rows.append(
            (
                label(group),
                article(first["experiment"]) if records.are_the_articles(first) else "",
                with_count(accuracies(group)),
                allowed(group),
                ", ".join(f"{run['seed']}: {run['val_accuracy']:.4f}" for run in group),
                str(first["epochs"]),
                in_words(precision(first)),
                "; ".join(seconds) if first["experiment"] in ARTICLE else "",
                "; ".join(places),
            )
        )
    return cli.markdown(rows)


def headline(articles, original):
    """The faithful runs, beside the article's and Keras 1.0.4's."""
    head = ("experiment", "article 2016", "Keras 1.0.4", "here", "difference", "95 %")
    rows = [(*head, "minutes", "on a GPU")]
    places = {}  # in order
    for experiment, recipes in articles.items():
        runs, there = faithful(recipes), accuracies(original.get(experiment, []))
        if not runs:
            continue
        here = accuracies(runs)
        minutes = [fastest(runs, on_gpu) for on_gpu in (False, True)]
        apart = difference(here, there) if there else ""
        named = (label(runs), article(experiment), with_count(there), with_count(here))
        rows.append((*named, apart, allowed(runs), *minutes))
        places |= {f"{place(run)}, in {in_words(precision(run))}": None for run in runs}
    return (
        f"{cli.markdown(rows)}\n\nMade on: {'; '.join(places)}." if places else "No whole runs yet."
    )


def beside_the_original(articles, original):
    """Accuracy and loss of the last epochs in Keras 1.0.4 and here."""
    rows = [("experiment", "validation", "Keras 1.0.4", "here", "difference")]
    measures = (
        ("accuracy, last epoch", "val_acc", "val_accuracy", 1),
        ("accuracy, last ten epochs", "val_acc", "val_accuracy", 10),
        ("loss, last ten epochs", "val_loss", "val_loss", 10),
    )
    for experiment, recipes in articles.items():
        runs = faithful(recipes)
        for name, then, now, epochs in measures if runs and experiment in original else ():
            there = mean_of_last(original[experiment], epochs, then)
            here = mean_of_last(runs, epochs, now)
            apart = difference(here, there)
            rows.append((label(runs), name, with_count(there), with_count(here), apart))
    return cli.markdown(rows)


def changes(articles):
    """What each of Keras's changes since 2016 costs."""
    rows = [("experiment", "runs", "last epoch", "difference", "last ten epochs", "difference")]
    for experiment, recipes in articles.items():
        for recipe, name in (RECIPES | VARIANTS).items() if len(recipes) > 1 else ():
            if recipe not in recipes:
                continue
            of_constants = recipe.startswith("constants-")
            reference = recipes.get("constants", []) if of_constants else faithful(recipes)
            alone = reference in (recipes[recipe], [])
            found = [f"{experiment}, {name}", str(len(recipes[recipe]))]
            for epochs in 1, 10:
                here = mean_of_last(recipes[recipe], epochs)
                apart = "" if alone else difference(here, mean_of_last(reference, epochs))
                found += [mean_and_spread(here), apart]
            rows.append(found)
    return cli.markdown(rows)


def crossvalidation(runs):
    """The runs of crossval.py."""
    head = ("experiment", "recipe", "in", "folds", "trained on", "tested on")
    rows = [(*head, "here", "95 % of all photos")]
    groups = {}
    for run in runs:
        setting = records.setting(run, but=["photos"])
        key = (setting, run["seed"], run["folds"], run["all_photos_sha256"])
        groups.setdefault(key, {}).setdefault(run["fold"], run)
    lists = [list(by_fold.values()) for by_fold in groups.values()]
    for runs in sorted(lists, key=lambda runs: rank(runs[0])):
        first, folds = runs[0], runs[0]["folds"]
        trained, tested = (
            [run["data"][split]["photos"] for run in runs] for split in ("train", "validation")
        )
        right = sum(a * n for a, n in zip(accuracies(runs), tested, strict=True))
        rows.append(
            (
                first["experiment"] + mirrored(first) + other_epochs(first),
                records.recipe(first),
                in_words(precision(first)),
                f"{len(runs)} of {folds}" if len(runs) < folds else f"{folds}",
                f"{statistics.mean(trained):,.0f}",
                f"{statistics.mean(tested):,.0f}",
                mean_and_spread(accuracies(runs)),
                interval(right / sum(tested), sum(tested)),
            )
        )
    return cli.markdown(rows)


def choice_table(choice):
    """choose.py's results: the best kernel of each way to feed and pool VGG16.

    Errors by fold, where they are known, are compared with those of what best uses.
    """
    rows, ways, of_best = [], {}, None
    head = ("pixels", "VGG16 is fed", "pooled", "gamma", "ridge", "accuracy", "squared error")
    for tried in choice["choices"]:
        same = choice.get("compared_with", {"image_size": None}).items() <= tried.items()
        if same and "with" not in tried and "mode" in tried["preprocessing"]:
            of_best = tried["mean_squared_errors"]
        more = f" and {tried['with']}" if "with" in tried else ""
        way = (f"{tried['image_size']} × {tried['image_size']}{more}{mirrored(tried)}", fed(tried))
        ways.setdefault((*way, ", ".join(tried["pooled_layers"])), []).append(tried)
    for way, tries in ways.items():
        kernel = min(tries, key=lambda tried: tried["mean_squared_error"])
        found = [f"{kernel['gamma']:g}", f"{kernel['ridge']:g}", f"{kernel['accuracy']:.4f}"]
        found.append(f"{kernel['mean_squared_error']:.4f}")
        if of_best:
            pairs = zip(kernel["mean_squared_errors"], of_best, strict=True)
            less = [error - other for error, other in pairs]
            told = f"{statistics.mean(less):+.4f} ± {statistics.stdev(less):.4f}".replace("-", "−")
            found.append(told if any(less) else "")
        rows.append((*way, *found))
    return cli.markdown([(*head, "less best's, by fold") if of_best else head, *rows])


def label_efficiency_table(experiments):
    """What selection.by_photos() returned."""
    heads = []
    for experiment, sizes in experiments.items():
        run = next(iter(sizes.values()))[0]
        recipe = records.recipe(run)
        named = f" ({recipe})" * (recipe not in ("faithful", "best"))
        heads.append(experiment + named + other_epochs(run))
    rows = [("photos per class", *heads)]
    for photos in sorted({photos for sizes in experiments.values() for photos in sizes}):
        found = [accuracies(sizes.get(photos, [])) for sizes in experiments.values()]
        rows.append((f"{photos:,}", *map(with_count, found)))
    return cli.markdown(rows)


def hard_photos_table(photos):
    """These of what selection.hard_photos() returned."""
    rows = [("photo", *(f"{experiment}: wrong, P(dog)" for experiment in ARTICLE))]
    for name, looks in photos:
        told = {e: f"{wrong} of {count}, {dog:.2f}" for e, (wrong, count, dog) in looks.items()}
        rows.append((name, *(told.get(experiment, "") for experiment in ARTICLE)))
    return cli.markdown(rows)


def without_wrong_labels(groups, names):
    """The accuracies without WRONG_LABELS, as text.

    groups: runs by experiment. names: the validation photos', in order.
    """
    kept = [number for number, name in enumerate(names) if name not in WRONG_LABELS]
    told = []
    for experiment, runs in groups.items():
        found = []
        for answers in [run["val_probabilities"] for run in runs if "val_probabilities" in run]:
            right = [(answers[n] > 0.5) == names[n].startswith("dogs/") for n in kept]
            found.append(statistics.mean(right))
        if found:
            told.append(f"{experiment} {with_count(found)}")
    without = " and ".join(f"{name} ({seen})" for name, seen in WRONG_LABELS.items())
    return f"Without {without}: {', '.join(told)}."


def beyond(runs, articles):
    """The faithful runs with VGG16, the approaches and other ways to feed it, and best.py."""
    rows = [("experiment", "photos", "VGG16 is fed", "here", "95 %")]
    compared = [
        group
        for group in ordered(comparable(runs, articles))
        if group[0]["experiment"] in ("bottleneck", "finetune")
        and is_whole(group[0])
        and records.recipe(group[0]) == "faithful"
    ]
    compared.sort(
        key=lambda group: (
            list(ARTICLE).index(group[0]["experiment"]),
            fed_as_trained(group[0]),
            len(approaches(group[0])),
        )
    )
    # Nothing in best is random, so that its seeds are one run.
    for group in filter(None, [*compared, best_runs(runs, articles)[:1]]):
        first = group[0]
        name = ", ".join([first["experiment"], *approaches(first)])
        size = "{} × {}".format(*first["image_size"]) + mirrored(first)
        rows.append((name, size, fed(first), with_count(accuracies(group)), allowed(group)))
    return cli.markdown(rows)


def approaches_table(runs, articles):
    """Fine-tuning with the article's approaches, or fed as VGG16 was trained, or neither.

    Each run is compared with the one of the same seed without them. "From": what the classifier
    that is fine-tuned had reached by itself.
    """
    head = ("fine-tuning with", "runs", "from", "last epoch", "difference")
    rows, without = [], faithful(articles["finetune"])
    for group in ordered(comparable(runs, articles)):
        first = group[0]
        notes = approaches(first) + ([fed(first)] if fed_as_trained(first) else [])
        is_one = first["experiment"] == "finetune" and is_whole(first)
        seeds = {run["seed"] for run in group} & {run["seed"] for run in without}
        if not (is_one and seeds and records.recipe(first) == "faithful"):
            continue
        found = [mean_and_spread([run["top_model"]["val_accuracy"] for run in group])]
        for last in 1, LAST_FEW:
            means, others = (
                dict(zip((r["seed"] for r in some), mean_of_last(some, last), strict=True))
                for some in (group, without)
            )
            pairs = [[some[seed] for seed in seeds] for some in (means, others)]
            apart = difference(*pairs, paired=True) if notes else ""
            found += mean_and_spread(list(means.values())), apart
        named = (", ".join(notes) or "nothing more", str(len(group)))
        rows.append((fed_as_trained(first), len(notes), *named, *found))
    head = (*head, f"mean of {LAST_FEW}", "difference")
    return cli.markdown([head, *(row[2:] for row in sorted(rows))]) if rows else "None yet."


def beside_published(own, published):
    """Each setting of a person's own runs beside the published ones.

    own, published: runs on the article's pictures. Runs with fewer epochs are compared with
    the published ones after as many. An experiment without own runs has a row, too.
    """
    rows = [("experiment", "article", "published", "yours", "that is")]
    there, of_own = ordered(published), ordered(own)
    for group in of_own:
        first, epochs = group[0], group[0]["epochs"]
        other = other_epochs(first)
        compared = _same_setting(first, there)
        values = [run["history"]["val_accuracy"][epochs - 1] for run in compared]
        mine = accuracies(group)
        told = (with_count(values), with_count(mine), verdict(mine, values))
        compared_with = "" if other else article(first["experiment"])
        rows.append((label(group) + other, compared_with, *told))
    for experiment, recipes in cells(published).items():
        if experiment not in {group[0]["experiment"] for group in of_own}:
            values = with_count(accuracies(faithful(recipes)))
            rows.append((experiment, article(experiment), values, "", ""))
    return cli.markdown(rows)


def _same_setting(run, groups):
    """Those of the groups' runs that had as many epochs or more; their precision may differ."""

    def free(record):
        some = dict.fromkeys(("precision", "photos", "epochs"))
        return json.loads(records.setting(record)) | some

    same = [g for g in groups if free(g[0]) == free(run) and g[0]["epochs"] >= run["epochs"]]
    # The nearest: of as many epochs, of the same photos, in the same precision; then the most.
    return max(
        same,
        key=lambda group: (
            group[0]["epochs"] == run["epochs"],
            records.photos(group[0]) == records.photos(run),
            precision(group[0]) == precision(run),
            len(group),
        ),
        default=[],
    )


def verdict(mine, published):
    """In plain words, whether accuracies are where the published ones let expect them.

    That is, within the 95 % that as many more runs of the same kind would be in.
    """
    if len(published) < 3:
        many = {0: "no published runs", 1: "one published run", 2: "two published runs"}
        return f"{many[len(published)]}, too few to compare with"
    mean, here = statistics.mean(published), statistics.mean(mine)
    spread = max(statistics.stdev(published), SMALLEST_SPREAD)
    reach = t.ppf(0.975, len(published) - 1) * spread
    reach *= (1 / len(published) + 1 / len(mine)) ** 0.5
    if abs(here - mean) <= reach:
        return "within what seeds give"
    side, sign = ("lower", 1) if here < mean else ("higher", -1)
    count = sum(sign * (value - here) > 0 for value in published)
    return f"{side} than {count} of {len(published)} published runs: see results/README.md"


# The benchmark: of each part what it measures, its figure, and how that is written.
WHAT = {
    "loader": ("augmentation on one core, warm", "photos_per_second", "{:,.0f} photos/s"),
    "scratch": ("an epoch of scratch", "seconds", "{:.1f} s"),
    "features": ("VGG16's features", "seconds", "{:.1f} s"),
    "finetune": ("an epoch of finetune", "seconds", "{:.1f} s"),
}


def kind(entry):
    """What tells one kind of machine from another, of an entry in bench.json."""
    return json.dumps([entry["hardware"], entry["precision"], entry.get("emulated")])


def machine(entry):
    """A kind of machine in words, of an entry in bench.json."""
    hardware = entry["hardware"]
    name = hardware["gpus"][0] if hardware["gpus"] else hardware["processor"]
    emulated = f" with {entry['emulated']} alone" if "emulated" in entry else ""
    return f"{name}{emulated}, {in_words(entry['precision'])}"


def speed(entries):
    """What bench.json holds: a column for each kind of machine."""
    rows = [("", *map(machine, entries))]

    def add(what, cell, *arguments):
        found = []
        for entry in entries:
            try:
                found.append(cell(entry, *arguments))
            except KeyError:  # a part that was not measured there, or not in such detail
                found.append("")
        if any(found):
            rows.append((what, *found))

    def medians(entry, part, figure, form):
        pairs = entry[part]["pairs"]
        sides = (statistics.median(p[side][figure] for p in pairs) for side in ("plain", "ours"))
        return " → ".join(map(form.format, sides))

    def ratio(entry, part, *figure):
        return f"{medians(entry, part, *figure)}: **{entry[f'{part}_ratio']:.1f}**"

    def gflops(entry, policy):
        return "{gflops:,.0f} of {matmul_gflops:,.0f}".format(**entry["vgg16"][policy])

    def grown(entry, experiment, form="{seconds:.0f} s"):
        lines = [line for line in entry["growth"] if line["experiment"] == experiment]
        return ", ".join(form.format(**line) for line in lines)

    for part, (what, *figure) in WHAT.items():
        photos = {f"{entry[part]['photos']:,}" for entry in entries if part in entry}
        add(f"{what}, {' or '.join(sorted(photos))} photos", ratio, part, *figure)
    for part in "scratch", "features", "finetune":
        add(f"peak memory of {part}, MiB", medians, part, "peak_mib", "{:,.0f}")
    for part in "scratch", "finetune":
        add(f"first step of {part} after", medians, part, "first_step", "{:.0f} s")
    for policy in reversed(PRECISIONS):
        add(f"VGG16 forward in {in_words(policy)}, of tf.matmul's GFLOP/s", gflops, policy)
    for experiment in ARTICLE:
        sizes = {grown(e, experiment, "{photos:,}"): None for e in entries if "growth" in e}
        add(f"{experiment} with {' or '.join(sizes)} photos", grown, experiment)
    return cli.markdown(rows)
