"""Your runs beside the published ones; for maintainers, the published report.

Prints a table: the article's accuracy, that of the runs in results/, and that of your own,
which are in their weights folder. The result of a run is the validation accuracy after its last
epoch; of several runs, mean ± standard deviation, with their number in brackets.

--publish copies your runs to results/, if they are on the article's pictures and were made by
a commit without changes; then it updates README.md and results/README.md and their pictures.
"""

import functools
import json
import re
import subprocess

from common import cli, files, fingerprints, folders, parsers, recipes, records, selection, tables
from common.cli import InputError

HARD_PHOTOS = 20  # how many to show of those that most runs get wrong
# The files whose lines are published, and the field that holds a line's photos.
PUBLISHED = {
    "runs.jsonl": "data",
    "original.jsonl": "data",
    "label_efficiency.jsonl": "drawn_from",
    "crossval.jsonl": None,  # it has "all_photos_sha256"
}
# By the section that it belongs to.
PICTURES = {
    "numbers": ("learning_curves", "Validation accuracy by epoch of the three experiments"),
    "changes": ("changes", "Accuracy of each run, by what the article's constants mean"),
    "fewer": ("label_efficiency", "Validation accuracy by training photos per class"),
}


def parse(argv=None):
    """The command line's options, or those of `argv`."""
    parser = cli.ArgumentParser(__doc__)
    parsers.add_folders(parser, "the photos of your runs", "where your runs are")
    parser.add_argument("--publish", action="store_true", help="publish your runs, see above")
    parser.add_argument(
        "--results",
        type=cli.path,
        default=files.ROOT / "results",
        metavar="FOLDER",
        help="where the published runs are, and their README.md (default: results)",
    )
    parser.add_argument(
        "--readme",
        type=cli.path,
        default=files.ROOT / "README.md",
        metavar="FILE",
        help="the other file to update (default: README.md)",
    )
    return parser.parse_args(argv)


def main(arguments):
    """Run the script with the options that parse() returned."""
    own = arguments.weights or folders.default_weights(arguments.data)
    if arguments.publish:
        publish(own, arguments.results, arguments.readme, arguments.data)
        return
    runs = records.read(own / "runs.jsonl")
    comparable = [run for run in runs if records.are_the_articles(run)]
    others = [run for run in runs if not records.are_the_articles(run)]
    if comparable or not others:
        published = records.read(arguments.results / "runs.jsonl")
        anew = any(records.photos(run) == "encoded anew" for run in comparable)
        also = "; some of yours are on the same pictures encoded anew" if anew else ""
        print(f"Validation accuracy on the article's photos{also}:\n")
        # Of runs with the same seed, perhaps after a fix, the last counts.
        print(tables.beside_published(comparable[::-1], published))
        if not comparable:
            print(f"\n{own}: no runs yet; `make scratch` makes the first")
    if others:
        print(
            "\nValidation accuracy on other pictures than the article's, not comparable with its "
            f"numbers:\n\n{tables.every_setting(others)}"
        )


def collect_records(own, results):
    """The published records of each file, and those of a user's that are to be added.

    Returns {file name: (published, added)}; prints why the user's others are skipped.
    """
    collected = {}
    for name, photos in PUBLISHED.items():
        published, added = records.read(results / name), []
        for record in records.read(own / name):
            if record in published or record in added:
                continue
            if problem := why_unfit(record, photos):
                print(f"not published from {own / name}: {record.get('run')} ({problem})")
            else:
                added.append(record)
        collected[name] = (published, added)
    return collected


def why_unfit(record, photos):
    """Why a run can't be published, or None. photos: see PUBLISHED.

    A seed that is published already is fit: it is kept, and the tables count the first.
    """
    if photos is None:
        if record["all_photos_sha256"] != all_photos_digest():
            return "not on the article's photos"
    elif not records.are_the_articles({"data": record[photos]}):
        return "not on the article's pictures"
    if not is_committed(record["commit"]):
        return "made by code that is in no commit of this repository"
    return None


def is_committed(commit):
    """Whether this is a commit in this repository's history, so without uncommitted changes."""
    command = ["git", "-C", files.ROOT, "merge-base", "--is-ancestor", commit or "", "HEAD"]
    return not subprocess.run(command, capture_output=True).returncode


@functools.cache  # asked for each fold
def all_photos_digest():
    """The digest of all of the article's photos."""
    manifest = fingerprints.read_manifest()
    return fingerprints.data_set_digest(manifest, [digest for digest, _ in manifest.values()])


def merge_json(own, published):
    """The new bench.json or choice.json: the published one with a user's newer figures.

    Of bench.py, the newest of each kind of machine; of choose.py, all, the newest last.
    """
    old, new = read_json(published) or [], read_json(own)
    old = [old] if isinstance(old, dict) else old  # choice.json, when it held but one
    if new is None or new in old:
        return old
    is_choice = own.name == "choice.json"
    if is_choice:
        commits, fits = [new["commit"]], is_the_articles_choice(new)
    else:
        commits = [commit for entry in new for commit in entry["commits"].values()]
        fits = all(is_trained_on(entry.get("photos_sha256")) for entry in new)
    problem = None if fits else "not on the article's photos"
    if not all(map(is_committed, commits)):
        problem = "made by code that is in no commit of this repository"
    if problem:
        print(f"not published: {own} ({problem})")
        return old
    if is_choice:
        return sorted([*old, new], key=lambda choice: choice.get("finished", ""))
    by_kind = {tables.kind(entry): entry for entry in old}
    for entry in new:  # parts of which may have been measured again
        earlier = by_kind.get(tables.kind(entry), {})
        if entry["started"] >= earlier.get("started", ""):
            commits = {"commits": earlier.get("commits", {}) | entry["commits"]}
            by_kind[tables.kind(entry)] = earlier | entry | commits
    return list(by_kind.values())


def read_json(path):
    """What a file holds, or None if it does not exist. Raises InputError."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON; repair or remove it") from error


def is_the_articles_choice(choice):
    """Whether choose.py's result is of the article's training photos and ImageNet's VGG16."""
    return is_trained_on(choice["photos"]["sha256"]) and choice["vgg16_weights"] == "imagenet"


def is_trained_on(digest):
    """Whether this is the digest of the article's training photos."""
    return digest == fingerprints.manifest_digest(fingerprints.read_manifest(), "train")


def add_pictures(sections, folder):
    """The sections, with their PICTURES above them, and "curves", a picture alone."""
    html = {
        section: '<picture><source media="(prefers-color-scheme: dark)" '
        f'srcset="{folder}{name}-dark.svg"><img alt="{text}" src="{folder}{name}.svg"></picture>'
        for section, (name, text) in PICTURES.items()
    }
    above = {section: f"{html[section]}\n\n{sections[section]}" for section in html}
    return sections | above | {"curves": html["numbers"]}


def fill(path, sections):
    """A file's text with its marked sections replaced.

    sections: {name: Markdown}; the file need not have all of them. Raises InputError for an
    unknown section or one without an end.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file to update")

    def section(match):
        name, rest = match.groups()
        if name not in sections or not rest:
            raise InputError(f"{path}: the section {name} is unknown, or has no end")
        begin, end = f"<!-- {name}: written by make publish -->", f"<!-- end of {name} -->"
        return f"{begin}\n{sections[name]}\n{end}"

    pattern = r"<!-- ([\w ]+): written by make publish -->(.*?<!-- end of \1 -->)?"
    return re.sub(pattern, section, path.read_text(encoding="utf-8"), flags=re.DOTALL)


def publish(own, results, readme, data):
    """Add a user's runs to the published ones, update both READMEs, and draw the pictures.

    Whatever may be wrong with the records is found before anything is written.
    """
    from common import plots  # not above: matplotlib is slow to import

    folders.lock(results)
    collected = collect_records(own, results)
    runs, original, drawn, folds = (old + new for old, new in collected.values())
    strange = [run.get("run") for run in runs if not records.are_the_articles(run)]
    if strange or not runs:
        what = f"not on the article's pictures: {', '.join(strange)}" if runs else "no runs"
        raise InputError(f"{results / 'runs.jsonl'}: {what}")
    cells = selection.cells(runs)
    faithful = {name: selection.faithful(by_recipe) for name, by_recipe in cells.items()}
    original = selection.original_runs(original)
    crossval = [
        run
        for run in folds
        if run["all_photos_sha256"] == all_photos_digest()
        and run["epochs"] == (1 if run["experiment"] == "best" else recipes.EPOCHS)
        and run.get("vgg16_weights", "imagenet") == "imagenet"
    ]
    fewer = selection.fewer_photos(drawn, runs, cells)
    names = fingerprints.photo_names(fingerprints.read_manifest(), "validation")
    hard = selection.hard_photos(cells, names)
    choices, bench = (
        merge_json(own / name, results / name) for name in ("choice.json", "bench.json")
    )
    sections = {
        "numbers": tables.headline(cells, original),
        "original": tables.beside_the_original(cells, original),
        "changes": tables.changes(cells),
        "beyond": tables.beyond(runs, cells),
        "approaches": tables.approaches_table(runs, cells),
        "choice": tables.choice_table(choices[-1]) if choices else "Not made yet.",
        "fewer": tables.label_efficiency_table(fewer),
        "crossval": tables.crossvalidation(crossval),
        "speed": tables.speed(bench) if bench else "Not measured yet.",
        "settings": tables.every_setting(runs),
        "without": tables.without_wrong_labels(
            faithful | {"best": selection.best_runs(runs, cells)}, names
        ),
        "hard": tables.hard_photos_table(hard[:HARD_PHOTOS]),
        "hard count": f"Of the 800 validation photos, {len(hard)} are wrong in most runs.",
    }
    filled = {
        path: fill(path, add_pictures(sections, folder))
        for path, folder in ((readme, f"{results.name}/"), (results / "README.md", ""))
    }

    for name, (_, added) in collected.items():
        for record in added:
            records.append(results / name, record)
    for name, value in ("choice.json", choices), ("bench.json", bench):
        if value:
            files.write_json(results / name, value)
    plots.learning_curves(faithful, results / "learning_curves")
    plots.changes(cells, selection.RECIPES | selection.VARIANTS, results / "changes")
    plots.label_efficiency(fewer, results / "label_efficiency")
    if hard and all((data / "validation" / name).exists() for name, _ in hard):
        plots.hard_photos(hard[:HARD_PHOTOS], data, results / "hard_photos.jpg")

    for path, text in filled.items():
        with files.replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    print(f"Updated: {readme}, {results / 'README.md'}")


if __name__ == "__main__":
    cli.run(lambda: main(parse()), after_interrupt="nothing was replaced")
