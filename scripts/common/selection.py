"""Which runs stand in which row of the tables and line of the pictures.

"Articles" below is what cells() returns: {experiment: {recipe or variant: runs}}.
"""

import statistics

from common import records
from common.cli import InputError
from common.recipes import ARTICLE, BATCH_SIZE, EPOCHS
from common.records import approaches, classifier_epochs, fed_as_trained, precision

PRECISIONS = ("mixed_bfloat16", "float32")  # the first that there are runs in

RECIPES = {
    "faithful": "faithful: all as in 2016",
    "as-printed-shear": "the shear in degrees",
    "as-printed-axes": "the shear of columns",
    "as-printed-centre": "the transform's centre",
    "as-printed-interpolation": "linear interpolation",
    "as-printed-resizing": "today's nearest neighbour",
    "as-printed-loss": "the unclipped loss",
    "as-printed-pooling": "today's gradient of max-pooling",
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


def rank(run):
    """What sorts runs in the article's order."""
    experiments, recipes = [*ARTICLE, "best"], [*RECIPES, "best"]
    place = (experiments.index(run["experiment"]), recipes.index(records.recipe(run)))
    return (*place, -run["epochs"], precision(run))


def ordered(runs):
    """records.group() in the article's order."""
    return sorted(records.group(runs), key=lambda group: rank(group[0]))


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
        names = ["encoded anew"] if records.photos(first) == "encoded anew" else []
        names += [precision(first)] if precision(first) != common else []
        if names and (records.recipe(first) != "faithful" or len(names) > 1):
            continue  # every_setting() has a row for it
        name = names[0] if names else records.recipe(first)
        claimed = result[first["experiment"]]
        if name in claimed:
            raise InputError(
                f"two settings claim to be {first['experiment']}, {name}: runs "
                f"{claimed[name][0].get('run')} and {first.get('run')} differ in "
                f"{records.difference(claimed[name][0], first)}; remove one from the records"
            )
        claimed[name] = group
    return result


def faithful(recipes):
    """Those of an experiment's {recipe: runs}."""
    return recipes.get("faithful", [])


def comparable(runs, articles):
    """Those on the article's own files, in the precision of what cells() returned."""
    common = {
        precision(group[0])
        for recipes in articles.values()
        for recipe, group in recipes.items()
        if recipe not in VARIANTS
    }
    return [r for r in runs if records.photos(r) == "exactly" and precision(r) in common]


def best_runs(runs, articles):
    """The runs of best.py with ImageNet's VGG16: those made last, if its settings have changed."""
    groups = [
        group
        for group in ordered(comparable(runs, articles))
        if group[0]["experiment"] == "best" and group[0]["vgg16_weights"] == "imagenet"
    ]
    return max(groups, key=lambda group: max(run["finished"] for run in group), default=[])


def original_runs(runs):
    """{experiment: runs} of original.py: whole and on the article's files, of each seed one."""
    result = {}
    for record in runs:
        if record["epochs"] == EPOCHS and records.photos(record) == "exactly":
            result.setdefault(record["experiment"], {}).setdefault(record["seed"], record)
    return {experiment: list(runs.values()) for experiment, runs in result.items()}


def may_differ(run):
    """The settings in which runs in one row of fewer photos may differ."""
    return ["photos"] + (["batch_size"] if run["experiment"] == "best" else [])  # best's memory


def by_photos(drawn, whole=()):
    """{experiment: {photos per class: runs}} of efficiency.py, both in rising order.

    whole: the runs with all the photos. Raises InputError if two settings claim one cell.
    """
    result = {experiment: {} for experiment in ("scratch", "bottleneck", "best")}
    sizes = [(run, run["photos_per_class"]) for run in drawn]
    sizes += [(run, run["data"]["train"]["photos"] // 2) for run in whole]
    for run, photos in sizes:
        runs = result[run["experiment"]].setdefault(photos, {})
        first = next(iter(runs.values()), run)
        some, other = (records.setting(r, but=may_differ(r)) for r in (first, run))
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

    Of the faithful recipe; of best, with its settings of today.
    """
    drawn = [
        run
        for run in comparable([run | {"data": run["drawn_from"]} for run in drawn], articles)
        if run.get("vgg16_weights", "imagenet") == "imagenet"
        and (run["experiment"] == "best" or is_whole(run))
    ]
    whole = best_runs(runs, articles)[:1]
    of_best = {records.setting(run, but=may_differ(run)) for run in whole}
    for experiment in "scratch", "bottleneck":
        whole += faithful(articles[experiment])
    drawn = [
        run
        for run in drawn
        if records.recipe(run) == "faithful" or records.setting(run, but=may_differ(run)) in of_best
    ]
    return by_photos(drawn, whole) if drawn else {}


def hard_photos(articles, names):
    """The validation photos that most faithful runs get wrong, the hardest first.

    names: photo_names() of the validation photos. Returns tuples (name, {experiment: (runs
    that are wrong, runs, mean probability of dog)}), sorted by the mean share of wrong runs
    of the three experiments, then by how sure they are on average.
    """
    photos = []
    for number, name in enumerate(names):
        truth, looks = name.startswith("dogs/"), {}
        for experiment, recipes in articles.items():
            runs = [run for run in faithful(recipes) if "val_probabilities" in run]
            if runs:
                answers = [run["val_probabilities"][number] for run in runs]
                wrong = sum((answer > 0.5) != truth for answer in answers)
                looks[experiment] = (wrong, len(runs), statistics.mean(answers))
        shares = [wrong / count for wrong, count, _ in looks.values()]
        if shares and statistics.mean(shares) > 0.5:
            error = sum(abs(answer - truth) for *_, answer in looks.values())
            photos.append(((statistics.mean(shares), error), name, looks))
    photos.sort(key=lambda photo: photo[0], reverse=True)
    return [(name, looks) for _, name, looks in photos]
