"""Markdown tables of what the records say; nothing here reads a file.

The result of a run is the validation accuracy after its last epoch. Runs that differ in
nothing but the seed make one row: mean ± standard deviation over the seeds. The interval is
the 95 % that the number of validation photos allows (Wilson's).
"""

import collections
import json
import statistics
import warnings

from scipy.stats import binomtest, t, ttest_ind

from common import cli, records
from common.cli import InputError
from common.recipes import ARTICLE, BATCH_SIZE, EPOCHS
from common.records import approaches, classifier_epochs, fed_as_trained, precision

PHOTOS = 2000  # the article's, to train on
FEW_CLASSES = 5  # are named in the table, of more the number
PRECISIONS = ("mixed_bfloat16", "float32")  # the first that there are runs in
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
# Of the faithful recipe, too, but not as the others are.
VARIANTS = {
    "float32": "faithful, all of it in float32",
    "encoded anew": "faithful, the photos encoded anew",
}
# Recipes of 2016: what is compared with a run is of the same one.
OF_2016 = ("faithful", "constants")
LAST_FEW = 5  # epochs, whose mean is steadier than the last one


def mean_and_spread(values):
    """ "mean ± standard deviation", or the only value."""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def interval(accuracy, photos):
    """The 95 % that so many photos allow."""
    ci = binomtest(round(accuracy * photos), photos).proportion_ci(method="wilson")
    return f"{ci.low:.3f}–{ci.high:.3f}"


def ordered(runs):
    """records.group() in the article's order."""
    experiments, recipes = [*ARTICLE, "best"], [*RECIPES, "best"]
    return sorted(
        records.group(runs),
        key=lambda runs: (
            experiments.index(runs[0]["experiment"]),
            recipes.index(runs[0]["recipe"]),
            -runs[0]["epochs"],
            precision(runs[0]),
        ),
    )


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
    if records.photos(first) == "encoded anew":
        notes.append("photos encoded anew")
    elif (classes, photos) != (["cats", "dogs"], PHOTOS):
        of = ", ".join(classes) if len(classes) <= FEW_CLASSES else f"{len(classes)} classes"
        notes.append(f"{photos:,} photos of {of}")
    places = {}
    for run in runs:
        places.setdefault(place(run), []).extend(run["seconds_per_epoch"])
    seconds = [f"{statistics.median(times):.1f}" for times in places.values()]
    return (
        first["experiment"] + (f" ({', '.join(notes)})" if notes else ""),
        article(first["experiment"]),
        mean_and_spread(accuracies),
        interval(statistics.mean(accuracies), first["data"]["validation"]["photos"]),
        str(len(runs)),
        str(first["epochs"]),
        precision(first).removeprefix("mixed_"),
        "; ".join(seconds) if first["experiment"] in ARTICLE else "",
        "; ".join(places),
    )


def place(run):
    """What a run was made on: its GPUs, or else as much of a processor as it could use."""
    hardware = run["hardware"]
    if hardware["gpus"]:
        return ", ".join(hardware["gpus"])
    plural = "s" if hardware["cores"] != 1 else ""
    return f"{hardware['cores']} core{plural}, {hardware['processor']}"


def article(experiment):
    """The article's accuracy of an experiment, as text; empty for best."""
    return "–".join(f"{accuracy:.2f}" for accuracy in ARTICLE.get(experiment, ()))


def every_setting(runs):
    """A row for each setting, with all that there is to say of it."""
    return cli.markdown([HEADER, *(row(group) for group in ordered(runs))])


def is_whole(record):
    """Whether a run had the article's epochs and batches, ImageNet's VGG16, and one device."""
    return (
        record["experiment"] in ARTICLE
        and (record["epochs"], record["batch_size"]) == (EPOCHS, BATCH_SIZE)
        and record.get("vgg16_weights", "imagenet") == "imagenet"
        and classifier_epochs(record) in (None, EPOCHS)
        and "distributed" not in record
    )


def cells(runs):
    """{experiment: {recipe or variant: runs}} of whole runs, as the article has them.

    runs: of the article's pictures. In bfloat16 if there are such runs, else in float32, and of
    the article's own files; the faithful ones that are not are VARIANTS. Raises InputError if
    two settings claim one cell.
    """
    whole = [
        group
        for group in ordered(runs)
        if is_whole(group[0]) and not fed_as_trained(group[0]) and not approaches(group[0])
    ]
    common = min((precision(group[0]) for group in whole), key=PRECISIONS.index, default=None)
    result = {experiment: {} for experiment in ARTICLE}
    for group in whole:
        first = group[0]
        names = [
            *(["encoded anew"] if records.photos(first) == "encoded anew" else []),
            *([precision(first)] if precision(first) != common else []),
        ]
        if names and (first["recipe"] != "faithful" or len(names) > 1):
            continue  # every_setting() has a row for it
        name = names[0] if names else first["recipe"]
        claimed = result[first["experiment"]]
        if name in claimed:
            raise InputError(
                f"two settings claim to be {first['experiment']}, {name}: runs "
                f"{claimed[name][0].get('run')} and {first.get('run')} differ in "
                f"{records.difference(claimed[name][0], first)}; remove one from the records"
            )
        claimed[name] = group
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
            name, said, here, photos_allow, count, *_ = row(runs)
            minutes = min(sum(run["seconds_per_epoch"]) for run in runs) / 60
            there = [run["val_accuracy"] for run in original.get(experiment, [])]
            cells = ("", "")
            if there:
                apart = difference([run["val_accuracy"] for run in runs], there)
                cells = (f"{mean_and_spread(there)} ({len(there)})", apart)
            here = f"{here} ({count})"
            rows.append((name, said, cells[0], here, cells[1], photos_allow, f"{minutes:.0f}"))
            for run in runs:
                places[f"{place(run)}, in {precision(run).removeprefix('mixed_')}"] = None
    return f"{cli.markdown(rows)}\n\nOn {'; '.join(places)}." if places else "No whole runs yet."


def original_runs(runs):
    """{experiment: runs} of original.py: whole and on the article's files, of each seed one."""
    result = {}
    for record in runs:
        if record["epochs"] == EPOCHS and records.photos(record) == "exactly":
            result.setdefault(record["experiment"], {}).setdefault(record["seed"], record)
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
        for recipe, label in (RECIPES | VARIANTS).items():
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


def every_run(runs):
    """Markdown table: the result of each seed."""
    rows = [("experiment", "recipe", "epochs", "in", "results of seeds")]
    for group in ordered(runs):
        first = group[0]
        rows.append(
            (
                row(group)[0],
                first["recipe"],
                str(first["epochs"]),
                precision(first).removeprefix("mixed_"),
                ", ".join(f"{run['seed']}: {run['val_accuracy']:.4f}" for run in group),
            )
        )
    return cli.markdown(rows)


def crossvalidation(runs):
    """Markdown table of the runs of crossval.py."""
    head = ("experiment", "recipe", "in", "folds", "trained on", "tested on")
    rows = [(*head, "here", "95 % of all photos")]
    groups = {}
    for run in runs:
        key = (records.setting(run, but=["photos"]), run["seed"], run["folds"])
        key = (*key, run["all_photos_sha256"])
        groups.setdefault(key, {}).setdefault(run["fold"], run)
    for runs in groups.values():
        first = next(iter(runs.values()))
        experiment, recipe, folds = first["experiment"], first["recipe"], first["folds"]
        in_precision = precision(first)
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


def by_photos(drawn, whole=()):
    """{experiment: {photos a class: runs}} of efficiency.py, both in rising order.

    whole: the runs with all the photos.
    """
    result = {experiment: {} for experiment in ("scratch", "bottleneck", "best")}
    sizes = [(run, run["photos_per_class"]) for run in drawn]
    sizes += [(run, run["data"]["train"]["photos"] // 2) for run in whole]
    for run, photos in sizes:
        runs = result[run["experiment"]].setdefault(photos, {})
        first = next(iter(runs.values()), run)
        some, other = (records.setting(r, but=["photos"]) for r in (first, run))
        if some != other:
            raise InputError(
                f"two settings claim to be {run['experiment']} with {photos} photos per class; "
                f"they differ in {records.difference(first, run)}; remove one from the records"
            )
        runs.setdefault(run["seed"], run)
    return {
        experiment: {photos: list(runs.values()) for photos, runs in sorted(sizes.items())}
        for experiment, sizes in result.items()
        if sizes
    }


def fewer_photos(drawn, runs, articles):
    """by_photos() of efficiency.py's runs that are as the article's, with those of all.

    Of the recipe that there are most runs of; best is of none.
    """
    drawn = [
        run
        for run in drawn
        if records.photos({"data": run["drawn_from"]}) == "exactly"
        and run.get("vgg16_weights", "imagenet") == "imagenet"
        and (run["experiment"] == "best" or is_whole(run))
        and precision(run) in precisions(articles)
    ]
    count = collections.Counter(run["recipe"] for run in drawn if run["experiment"] != "best")
    recipe = max(count, key=count.get, default=None)
    drawn = [run for run in drawn if run["recipe"] in (recipe, "best")]
    whole = best_runs(runs, articles)[:1]
    for experiment in "scratch", "bottleneck":
        whole += articles[experiment].get(recipe, [])
    return by_photos(drawn, whole) if drawn else {}


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
    """Markdown table of these of what hard_photos() returned."""
    rows = [("photo", *(f"{experiment}: wrong, P(dog)" for experiment in ARTICLE))]
    for name, looks in photos:
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
    """The precision of cells()'s runs, which what is compared with them must share."""
    return {
        precision(runs[0])
        for recipes in articles.values()
        for recipe, runs in recipes.items()
        if recipe not in VARIANTS
    }


def best_runs(ours, articles):
    """The runs of best.py with ImageNet's VGG16: those made last, if its settings have changed."""
    groups = [
        runs
        for runs in ordered(ours)
        if runs[0]["experiment"] == "best"
        and records.photos(runs[0]) == "exactly"
        and runs[0]["vgg16_weights"] == "imagenet"
        and precision(runs[0]) in precisions(articles)
    ]
    return max(groups, key=lambda runs: max(run["finished"] for run in runs), default=[])


def beyond(ours, articles):
    """Markdown table: VGG16 fed as it was trained beside the article's way, and best.py."""
    rows = [("experiment", "photos", "VGG16 is fed", "here", "95 %", "runs")]
    compared = [
        runs
        for runs in ordered(ours)
        if runs[0]["experiment"] in ("bottleneck", "finetune")
        and records.photos(runs[0]) == "exactly"
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
    recipe without it as they were after as many.
    """
    rows = []
    for runs in ordered(ours):
        first = runs[0]
        without = articles["finetune"].get(first["recipe"], [])
        if (
            first["experiment"] != "finetune"
            or records.photos(first) != "exactly"
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
        return "None yet."
    head = ("fine-tuning with", "recipe", "epochs", "runs", "the last", f"mean of {LAST_FEW}")
    head = (*head, "without it, then", f"mean of {LAST_FEW}")
    return cli.markdown([head, *(row[2:] for row in sorted(rows))])


def beside_published(own, published):
    """Markdown table: each setting of a person's own runs beside the published ones.

    own, published: runs on the article's pictures. Runs with fewer epochs are compared with
    the published ones after as many. An experiment without own runs has a row, too.
    """
    rows = [("experiment", "article", "published", "yours", "that is")]
    there, of_own = ordered(published), ordered(own)
    for group in of_own:
        first = group[0]
        name, said, *_, epochs, _, _, _ = row(group)
        if first["experiment"] in ARTICLE and first["epochs"] != EPOCHS:
            name += f", {epochs} epoch{'s' * (first['epochs'] != 1)}"
        values = _accuracies(_same_setting(first, there), first["epochs"])
        mine = _accuracies(group, first["epochs"])
        rows.append((name, said, _with_count(values), _with_count(mine), verdict(mine, values)))
    for experiment, recipes in cells(published).items():
        if experiment not in {group[0]["experiment"] for group in of_own}:
            values = _accuracies(of_2016(recipes), EPOCHS)
            rows.append((experiment, article(experiment), _with_count(values), "", ""))
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


def _accuracies(runs, epochs):
    return [run["history"]["val_accuracy"][epochs - 1] for run in runs]


def _with_count(values):
    return f"{mean_and_spread(values)} ({len(values)})" if values else ""


SMALLEST_SPREAD = 0.0025  # two of 800 photos; a few runs can be alike by chance


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


WHAT = {
    "loader": "augmentation on one core, warm",
    "scratch": "an epoch of scratch",
    "features": "VGG16's features",
    "finetune": "an epoch of finetune",
}


def kind(entry):
    """What tells one kind of machine from another, of an entry in bench.json."""
    return json.dumps([entry["hardware"], entry["precision"], entry.get("emulated")])


def machine(entry):
    """A kind of machine in words, of an entry in bench.json."""
    hardware = entry["hardware"]
    place = hardware["gpus"][0] if hardware["gpus"] else hardware["processor"]
    emulated = f" with {entry['emulated']} alone" if "emulated" in entry else ""
    return f"{place}{emulated}, {entry['precision'].removeprefix('mixed_')}"


def speed(entries):
    """Markdown table of what bench.json holds: a column for each kind of machine."""
    rows = [("", *map(machine, entries))]

    def add(what, cell):
        cells = []
        for entry in entries:
            try:
                cells.append(cell(entry))
            except KeyError:  # a part that was not measured there, or not in such detail
                cells.append("")
        if any(cells):
            rows.append((what, *cells))

    def medians(entry, part, figure, form):
        sides = (
            statistics.median(pair[side][figure] for pair in entry[part]["pairs"])
            for side in ("plain", "ours")
        )
        found = map(form.format, sides)
        return " → ".join(found)

    for part, what in WHAT.items():
        photos = {f"{entry[part]['photos']:,}" for entry in entries if part in entry}
        figure, form = "seconds", "{:.1f} s"
        if part == "loader":
            figure, form = "photos_per_second", "{:,.0f} photos/s"
        add(
            f"{what}, {' or '.join(sorted(photos))} photos",
            lambda entry, part=part, figure=figure, form=form: (
                f"{medians(entry, part, figure, form)}: **{entry[f'{part}_ratio']:.1f}**"
            ),
        )
    for part in "scratch", "features", "finetune":
        what = f"peak memory of {part}, MiB"
        add(what, lambda entry, part=part: medians(entry, part, "peak_mib", "{:,.0f}"))
    for part in "scratch", "finetune":
        what = f"first step of {part} after"
        add(what, lambda entry, part=part: medians(entry, part, "first_step", "{:.0f} s"))
    for policy in "float32", "mixed_bfloat16":
        add(
            f"VGG16 forward in {policy.removeprefix('mixed_')}, of tf.matmul's GFLOP/s",
            lambda entry, policy=policy: "{gflops:,.0f} of {matmul_gflops:,.0f}".format(
                **entry["vgg16"][policy]
            ),
        )
    for experiment in "scratch", "bottleneck", "finetune":
        sizes = {
            f"{line['photos']:,}": None
            for entry in entries
            for line in entry.get("growth", ())
            if line["experiment"] == experiment
        }
        add(
            f"{experiment} with {', '.join(sizes)} photos",
            lambda entry, experiment=experiment: ", ".join(
                f"{line['seconds']:.0f} s"
                for line in entry["growth"]
                if line["experiment"] == experiment
            ),
        )
    return cli.markdown(rows)
