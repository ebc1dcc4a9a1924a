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
import subprocess

from common import cli, files, fingerprints, folders, parsers, recipes, records, tables
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
    parsers.add_folders(parser, "the photos of your runs", "where your runs are")
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
        publish(own, arguments.results, arguments.readme, arguments.data)
        return
    runs = records.read(own / "runs.jsonl")
    comparable = [run for run in runs if records.are_the_articles(run)]
    others = [run for run in runs if not records.are_the_articles(run)]
    if comparable or not others:
        published = records.read(arguments.results / "runs.jsonl")
        anew = [run for run in comparable if records.photos(run) == "encoded anew"]
        also = "; some of yours are on the same pictures encoded anew" if anew else ""
        print(f"Validation accuracy on the article's photos{also}:\n")
        # Of runs with the same seed, perhaps after a repair, one's last counts.
        print(tables.beside_published(comparable[::-1], published))
        if not comparable:
            print(f"\n{own}: no runs yet; `make scratch` makes the first")
    if others:
        print(
            "\nValidation accuracy on other pictures than the article's, with which its numbers "
            f"have nothing to do:\n\n{tables.every_setting(others)}"
        )


def take_over(own, results):
    """The published records of each file, and those of a person's that are to be added to them.

    Returns {file's name: (published, added)}; names those that are not fit.
    """
    found = {}
    for name, photos in TAKEN_OVER.items():
        published, added = records.read(results / name), []
        for record in records.read(own / name):
            if record not in published:
                problem = unfit(record, photos, published + added)
                if problem:
                    print(f"not taken over from {own / name}: {record.get('run')} ({problem})")
                else:
                    added.append(record)
        found[name] = (published, added)
    return found


def unfit(record, photos, published):
    """Why a run can't be published, or None."""
    if photos is None:
        if record["all_photos_sha256"] != fingerprints.data_set_digest(*all_photos()):
            return "not on the article's photos"
    elif not records.are_the_articles({"data": record[photos]}):
        return "not on the article's pictures"
    if not is_committed(record["commit"]):
        return "made by code that is in no commit of this repository"
    # What tells one run of a setting from another. Of a part of the photos, the setting is too.
    names = ("experiment", "epochs", "seed", "fold", "folds", "photos_per_class")
    but = [] if photos == "data" else ["photos"]
    for other in published:
        if all(record.get(name) == other.get(name) for name in names) and (
            "recipe" not in record
            or records.setting(record, but=but) == records.setting(other, but=but)
        ):
            return f"seed {record['seed']} of this setting is published already"
    return None


def is_committed(commit):
    """Whether code of that name is in this repository's history, whole and unchanged."""
    command = ["git", "-C", files.ROOT, "merge-base", "--is-ancestor", commit or "", "HEAD"]
    return not subprocess.run(command, capture_output=True).returncode


def all_photos():
    """Names and digests of all of the article's photos."""
    manifest = fingerprints.read_manifest()
    return list(manifest), [digest for digest, _ in manifest.values()]


def taken_over_json(own, published):
    """What bench.json or choice.json is to be: the published one, with a person's newer figures."""
    old, new = (read_json(path) for path in (published, own))
    if new is None:
        return old
    if own.name == "choice.json":
        problem = None if is_the_articles_choice(new) else "not of the article's photos"
        commits = [new["commit"]]
    else:
        commits = [commit for entry in new for commit in entry["commits"].values()]
        on_ours = all(is_trained_on(entry.get("photos_sha256")) for entry in new)
        problem = None if on_ours else "not on the article's photos"
    if not all(map(is_committed, commits)):
        problem = "made by code that is in no commit of this repository"
    if problem:
        print(f"not taken over: {own} ({problem})")
        return old
    if own.name == "choice.json":
        return max((e for e in (old, new) if e), key=lambda choice: choice.get("finished", ""))
    by_kind = {tables.kind(entry): entry for entry in old or []}
    for entry in new:  # of which parts may have been measured again
        earlier = by_kind.get(tables.kind(entry), {})
        if entry["started"] >= earlier.get("started", ""):
            commits = {"commits": earlier.get("commits", {}) | entry["commits"]}
            by_kind[tables.kind(entry)] = earlier | entry | commits
    return list(by_kind.values())


def read_json(path):
    """What a file holds, or None if there is none. Raises InputError."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(f"{path}: no JSON; repair or remove it") from error


def is_the_articles_choice(choice):
    """Whether choose.py's result is of the article's training photos and ImageNet's VGG16."""
    return is_trained_on(choice["photos"]["sha256"]) and choice["vgg16_weights"] == "imagenet"


def is_trained_on(digest):
    """Whether this is the digest of the article's training photos."""
    return digest == fingerprints.manifest_digest(fingerprints.read_manifest(), "train")


def picture(name, text, folder=""):
    """HTML of a picture in two versions, for light and dark pages."""
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{folder}{name}-dark.svg">'
        f'<img alt="{text}" src="{folder}{name}.svg"></picture>'
    )


def with_pictures(sections, folder):
    """The sections, those that have one with their picture above, and "curves" alone."""
    pictures = {
        "numbers": ("learning_curves", "Validation accuracy by epoch of the three experiments"),
        "changes": ("changes", "Accuracy of each run, by what the article's constants mean"),
        "fewer": ("label_efficiency", "Validation accuracy by training photos per class"),
    }
    html = {section: picture(*of, folder) for section, of in pictures.items()}
    above = {section: f"{html[section]}\n\n{sections[section]}" for section in pictures}
    return sections | above | {"curves": html["numbers"]}


def fill(path, sections):
    """A file's text with its marked sections replaced.

    sections: {name: Markdown}. Not every file has to have every section. Raises InputError
    for a mark that is not known.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file, and it is to be filled")
    text = path.read_text(encoding="utf-8")
    begin, end = "<!-- {}: written by make publish -->", "<!-- end of {} -->"
    for name in re.findall(begin.format(r"([\w ]+)"), text):
        pattern = f"{re.escape(begin.format(name))}.*?{re.escape(end.format(name))}"
        if name not in sections or not re.search(pattern, text, re.DOTALL):
            raise InputError(f"{path}: the section {name} is not known, or has no end")
        whole = f"{begin.format(name)}\n{sections[name]}\n{end.format(name)}"
        text = re.sub(pattern, lambda _, whole=whole: whole, text, flags=re.DOTALL)
    return text


def publish(own, results, readme, data):
    """Take a person's runs over, fill README.md and results/README.md, and draw the pictures.

    All that may be wrong with the records is found before anything is written.
    """
    from common import plots  # not above: matplotlib takes its time

    folders.lock(results)
    found = take_over(own, results)
    runs, original, drawn, folds = (
        published + added
        for published, added in (
            found[name]
            for name in ("runs.jsonl", "original.jsonl", "label_efficiency.jsonl", "crossval.jsonl")
        )
    )
    strange = [run.get("run") for run in runs if not records.are_the_articles(run)]
    if strange or not runs:
        what = f"not on the article's pictures: {', '.join(strange)}" if runs else "no runs"
        raise InputError(f"{results / 'runs.jsonl'}: {what}")
    cells = tables.cells(runs)
    original = tables.original_runs(original)
    everything = fingerprints.data_set_digest(*all_photos())
    crossval = [
        run
        for run in folds
        if run["all_photos_sha256"] == everything
        and run["epochs"] == recipes.EPOCHS
        and run.get("vgg16_weights", "imagenet") == "imagenet"
    ]
    fewer = tables.fewer_photos(drawn, runs, cells)
    names = fingerprints.photo_names(fingerprints.read_manifest(), "validation")
    hard = tables.hard_photos(cells, names)
    choice, bench = (
        taken_over_json(own / name, results / name) for name in ("choice.json", "bench.json")
    )
    sections = {
        "numbers": tables.headline(cells, original),
        "original": tables.beside_the_original(cells, original),
        "changes": tables.changes(cells),
        "beyond": tables.beyond(runs, cells),
        "approaches": tables.approaches_table(runs, cells),
        "choice": tables.choice_table(choice) if choice else "Not made yet.",
        "fewer": tables.label_efficiency_table(fewer),
        "crossval": tables.crossvalidation(crossval),
        "speed": tables.speed(bench) if bench else "Not measured yet.",
        "settings": tables.every_setting(runs),
        "hard": tables.hard_photos_table(hard[:HARD_PHOTOS]),
        "hard count": f"Of the 800 validation photos, {len(hard)} are got wrong by most runs.",
    }
    filled = {
        path: fill(path, with_pictures(sections, folder))
        for path, folder in ((readme, f"{results.name}/"), (results / "README.md", ""))
    }

    for name, (_, added) in found.items():
        for record in added:
            records.append(results / name, record)
    for name, value in ("choice.json", choice), ("bench.json", bench):
        if value:
            files.write_json(results / name, value)
    of_2016 = {experiment: tables.of_2016(of_recipe) for experiment, of_recipe in cells.items()}
    plots.learning_curves(of_2016, results / "learning_curves")
    plots.changes(cells, tables.RECIPES | tables.VARIANTS, results / "changes")
    plots.label_efficiency(fewer, results / "label_efficiency")
    if hard and all((data / "validation" / name).exists() for name, _ in hard):
        plots.hard_photos(hard[:HARD_PHOTOS], data, results / "hard_photos.jpg")

    for path, text in filled.items():
        with files.replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    print(f"Filled in: {readme}, {results / 'README.md'}")


if __name__ == "__main__":
    cli.run(lambda: main(parse()), after_interrupt="nothing was replaced")
