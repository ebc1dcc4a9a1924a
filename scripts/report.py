"""Your runs beside the published ones; for maintainers, the published report.

Prints a table: the article's accuracy, that of the runs in results/, and that of your own,
which are in the folder of their weights. The result of a run is the validation accuracy after
its last epoch, of several runs mean ± standard deviation, with their number in brackets.

With --publish, your runs are taken over into results/, if they are on the article's
pictures and were made by a commit without changes; then README.md and results/README.md
are filled anew, with their pictures.
"""

import json
import re

from common import cli, files, fingerprints, folders, recipes, records, tables
from common.cli import InputError

RESULTS = files.ROOT / "results"
HARD_PHOTOS = 20  # as many are shown of those that most runs get wrong
# What is taken over line by line, and under which name a line tells of its photos.
TAKEN_OVER = {
    "runs.jsonl": "data",
    "original.jsonl": "data",
    "label_efficiency.jsonl": "drawn_from",
    "crossval.jsonl": None,  # it has "all_photos_sha256"
}


def parse(argv=None):
    """The command line's options, or those of `argv`."""
    parser = cli.ArgumentParser(__doc__)
    parser.add_argument(
        "--data",
        type=cli.path,
        default=folders.DATA,
        metavar="FOLDER",
        help="the photos of your runs (default: data)",
    )
    parser.add_argument(
        "--weights",
        type=cli.path,
        metavar="FOLDER",
        help="where your runs are (default: weights, for another --data than data weights/NAME)",
    )
    parser.add_argument(
        "--publish", action="store_true", help="take your runs over, fill the READMEs anew"
    )
    parser.add_argument(
        "--results",
        type=cli.path,
        default=RESULTS,
        metavar="FOLDER",
        help="where the published runs are, and their README.md (default: results)",
    )
    parser.add_argument(
        "--readme",
        type=cli.path,
        default=files.ROOT / "README.md",
        metavar="FILE",
        help="the other file to fill (default: README.md)",
    )
    return parser.parse_args(argv)


def main(arguments):
    """Run the script with the options that parse() returned."""
    own = arguments.weights or folders.default_weights(arguments.data)
    if arguments.publish:
        take_over(own, arguments.results)
        publish(arguments.results, arguments.readme, arguments.data)
        return
    runs = records.read(own / "runs.jsonl")
    comparable = [run for run in runs if records.are_the_articles(run)]
    others = [run for run in runs if not records.are_the_articles(run)]
    if comparable or not others:
        published = records.read(arguments.results / "runs.jsonl")
        anew = [run for run in comparable if records.photos(run) == "encoded anew"]
        also = "; some of yours are on the same pictures encoded anew" if anew else ""
        print(f"Validation accuracy on the article's photos{also}:\n")
        print(tables.beside_published(comparable, published))
        if not comparable:
            print(f"\n{own}: no runs yet; `make scratch` makes the first")
    if others:
        print(
            "\nValidation accuracy on other pictures than the article's, with which its numbers "
            f"have nothing to do:\n\n{tables.every_setting(others)}"
        )


def take_over(own, results):
    """Add a person's runs to the published ones; those that are not fit are named."""
    for name, photos in TAKEN_OVER.items():
        published = records.read(results / name)
        for record in records.read(own / name):
            if record in published:
                continue
            problem = unfit(record, photos, published)
            if problem:
                print(f"not taken over from {own / name}: {record.get('run')} ({problem})")
            else:
                records.append(results / name, record)
                published.append(record)
    for name in "choice.json", "bench.json":
        if (own / name).exists():
            take_over_json(own / name, results / name)


def unfit(record, photos, published):
    """Why a run can't be published, or None."""
    if photos is None:
        everything = fingerprints.data_set_digest(*all_photos())
        if record["all_photos_sha256"] != everything:
            return "not on the article's photos"
        names = ("experiment", "recipe", "epochs", "seed", "fold", "folds", "precision")
    elif not records.are_the_articles({"data": record[photos]}):
        return "not on the article's pictures"
    else:
        names = ("experiment", "seed", "epochs", "photos_per_class")
    if (record["commit"] or "-dirty").endswith("-dirty"):
        return "made by code that is in no commit"
    for other in published:
        same = all(record.get(name) == other.get(name) for name in names)
        if same and ("recipe" not in record or records.setting(record) == records.setting(other)):
            return f"seed {record['seed']} of this setting is published already"
    return None


def all_photos():
    """Names and digests of all of the article's photos."""
    manifest = fingerprints.read_manifest()
    return list(manifest), [digest for digest, _ in manifest.values()]


def take_over_json(own, published):
    """Replace choice.json if it is of the article's photos; in bench.json, machines of a kind."""
    found = json.loads(own.read_text())
    if own.name == "bench.json":
        kept = json.loads(published.read_text()) if published.exists() else []
        by_kind = {tables.kind(entry): entry for entry in kept}
        for entry in found:  # of which parts may have been measured again
            old = by_kind.get(tables.kind(entry), {})
            commits = {"commits": old.get("commits", {}) | entry["commits"]}
            by_kind[tables.kind(entry)] = old | entry | commits
        found = list(by_kind.values())
    elif not is_the_articles_choice(found):
        print(f"not taken over: {own} (not of the article's photos)")
        return
    files.write_json(published, found)


def is_the_articles_choice(choice):
    """Whether choose.py's result is of the article's training photos and ImageNet's VGG16."""
    digest = fingerprints.manifest_digest(fingerprints.read_manifest(), "train")
    return choice["photos"]["sha256"] == digest and choice["vgg16_weights"] == "imagenet"


def picture(name, text, folder=""):
    """HTML of a picture in two versions, for light and dark pages."""
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{folder}{name}-dark.svg">'
        f'<img alt="{text}" src="{folder}{name}.svg"></picture>'
    )


def fill(path, sections):
    """Replace the marked sections of a file; raises InputError for a mark that is not known.

    sections: {name: Markdown}. Not every file has to have every section.
    """
    text = path.read_text(encoding="utf-8")
    begin, end = "<!-- {}: written by make publish -->", "<!-- end of {} -->"
    names = re.findall(begin.format(r"([\w ]+)"), text)
    for name in names:
        pattern = f"{re.escape(begin.format(name))}.*?{re.escape(end.format(name))}"
        if name not in sections or not re.search(pattern, text, re.DOTALL):
            raise InputError(f"{path}: the section {name} is not known, or has no end")
        whole = f"{begin.format(name)}\n{sections[name]}\n{end.format(name)}"
        text = re.sub(pattern, lambda _, whole=whole: whole, text, flags=re.DOTALL)
    with files.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def publish(results, readme, data):
    """Fill README.md and results/README.md from the published records, and draw the pictures."""
    from common import plots  # not above: matplotlib takes its time

    manifest = fingerprints.read_manifest()
    runs = records.read(results / "runs.jsonl")
    strange = [run.get("run") for run in runs if not records.are_the_articles(run)]
    if strange or not runs:
        what = f"not on the article's pictures: {', '.join(strange)}" if runs else "no runs"
        raise InputError(f"{results / 'runs.jsonl'}: {what}")
    cells = tables.cells(runs)
    original = tables.original_runs(records.read(results / "original.jsonl"))
    everything = fingerprints.data_set_digest(*all_photos())
    crossval = [
        run
        for run in records.read(results / "crossval.jsonl")
        if run["all_photos_sha256"] == everything and run["epochs"] == recipes.EPOCHS
    ]
    fewer = tables.fewer_photos(records.read(results / "label_efficiency.jsonl"), runs, cells)
    hard = tables.hard_photos(cells, fingerprints.photo_names(manifest, "validation"))
    choice, bench = (
        json.loads((results / name).read_text()) if (results / name).exists() else None
        for name in ("choice.json", "bench.json")
    )
    if choice and not is_the_articles_choice(choice):
        raise InputError(f"{results / 'choice.json'}: not of the article's photos")

    of_2016 = {experiment: tables.of_2016(of_recipe) for experiment, of_recipe in cells.items()}
    plots.learning_curves(of_2016, results / "learning_curves")
    plots.changes(cells, tables.RECIPES | tables.VARIANTS, results / "changes")
    plots.label_efficiency(fewer, results / "label_efficiency")
    if hard and all((data / "validation" / name).exists() for name, _ in hard):
        plots.hard_photos(hard[:HARD_PHOTOS], data, results / "hard_photos.jpg")

    for path, folder in (readme, f"{results.name}/"), (results / "README.md", ""):
        if not path.exists():
            raise InputError(f"{path}: no such file, and it is to be filled")
        curves, costs, sizes = (
            picture(name, text, folder)
            for name, text in (
                ("learning_curves", "Validation accuracy by epoch of the three experiments"),
                ("changes", "Accuracy of each run, by what the article's constants mean"),
                ("label_efficiency", "Validation accuracy by training photos per class"),
            )
        )
        sections = {
            "numbers": f"{curves}\n\n{tables.headline(cells, original)}",
            "curves": curves,
            "original": tables.beside_the_original(cells, original),
            "changes": f"{costs}\n\n{tables.changes(cells)}",
            "beyond": tables.beyond(runs, cells),
            "approaches": tables.approaches_table(runs, cells),
            "choice": tables.choice_table(choice) if choice else "Not made yet.",
            "fewer": f"{sizes}\n\n{tables.label_efficiency_table(fewer)}",
            "crossval": tables.crossvalidation(crossval),
            "speed": tables.speed(bench) if bench else "Not measured yet.",
            "settings": tables.every_setting(runs),
            "runs": tables.every_run(runs),
            "hard": tables.hard_photos_table(hard[:HARD_PHOTOS]),
            "hard count": f"Of the 800 validation photos, {len(hard)} are got wrong by most runs.",
        }
        fill(path, sections)
    print(f"Filled in: {readme}, {results / 'README.md'}")


if __name__ == "__main__":
    cli.run(lambda: main(parse()), after_interrupt="nothing was replaced")
