"""The report: tables of the runs, and the README's figures, which come from the records."""

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

from common import cli, fingerprints, images
import pytest
from common import records
import report
from common import selection, tables
from conftest import ARTICLES, SMALL, example

ROOT = Path(report.__file__).parent.parent


def run(*argv):
    """The report's exit status."""
    try:
        cli.run(lambda: report.main(report.parse([str(argument) for argument in argv])))
    except SystemExit as stop:
        return stop.code
    return 0


def write(path, *runs):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(run) + "\n" for run in runs))


def cells(table):
    """The cells of a Markdown table's rows, without its head."""
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_table_is_mean_spread_and_interval():
    runs = [example("scratch", a, seed) for seed, a in enumerate([0.79, 0.80, 0.81])]
    # standard deviation of 0.79, 0.80, 0.81 by hand; Wilson's interval of 640 in 800:
    # (0.8 + 1.9208/800 ± 1.96·sqrt(0.16/800 + 0.9604/640000)) / (1 + 3.8416/800)
    here = ["scratch", "0.79–0.81", "0.800 ± 0.010 (3)", "0.771–0.826"]
    here += ["0: 0.7900, 1: 0.8000, 2: 0.8100", "50", "float32", "2.0", "2 cores, a processor"]
    assert cells(tables.every_setting(runs)) == [here]


def test_table_keeps_different_runs_apart():
    runs = [
        example("finetune", 0.93, epochs=3),
        example("scratch", 0.70, recipe="as-printed"),
        example("scratch", 0.80),
        example("scratch", 0.81),  # the same seed again: one run, the first
        example("bottleneck", 0.60, vgg16_weights="random", vgg16_sha256="x"),
        example("bottleneck", 0.90, vgg16_weights="imagenet", vgg16_sha256="y"),
    ]
    assert [(row[0], row[2]) for row in cells(tables.every_setting(runs))] == [
        ("scratch", "0.800 (1)"),
        ("scratch (as-printed)", "0.700 (1)"),
        ("bottleneck (VGG16 random)", "0.600 (1)"),
        ("bottleneck", "0.900 (1)"),
        ("finetune", "0.930 (1)"),
    ]


def test_what_was_called_faithful_lacks_what_was_restored_later():
    """The record stays as it is; the tables say what it was."""
    old, whole = example("scratch", 0.8), example("scratch", 0.8)
    del old["pooling_gradient"]
    others = example("bottleneck", 0.9)  # which trains through no pooling
    names = [row[0] for row in cells(tables.every_setting([old, whole, others]))]
    assert names == ["scratch", "scratch (as-printed-pooling)", "bottleneck"]
    found = selection.cells([old, whole])["scratch"]
    assert (found["as-printed-pooling"], found["faithful"]) == ([old], [whole])


OTHERS = {split: ARTICLES[split] | {"sha256": "of other photos"} for split in ARTICLES}
ANEW = OTHERS | {"train": {"photos": 1999, "sha256": "x"}}
ANEW["articles"] = {"train": 1999, "validation": 800}


def test_runs_on_the_articles_pictures_are_compared_and_others_are_not(tmp_path, capsys):
    published, own = tmp_path / "results", tmp_path / "weights"
    values = [0.79, 0.80, 0.81]
    curves = [{"val_accuracy": [0.5, 0.6 + n / 10] + [v] * 48} for n, v in enumerate(values)]
    runs = [example("scratch", v, n, history=curves[n]) for n, v in enumerate(values)]
    write(published / "runs.jsonl", *runs)
    places = "--results", published, "--weights", own
    assert run(*places) == 0
    assert "no runs yet; `make scratch` makes the first" in capsys.readouterr().out
    runs = [
        example("scratch", 0.8, data=ANEW, precision="mixed_bfloat16", history=curves[1]),
        example("scratch", 0.7, recipe="as-printed", history={"val_accuracy": [0.7] * 50}),
        example("scratch", 0.6, epochs=2, history={"val_accuracy": [0.5, 0.6]}),
        example("bottleneck", 0.5, data=OTHERS),
    ]
    write(own / "runs.jsonl", *runs)
    assert run(*places) == 0
    on_pictures, on_others = capsys.readouterr().out.split("on other pictures")
    found = {name: row for name, *row in cells(on_pictures)}
    nothing, within = "no published runs, too few to compare with", "within what seeds give"
    anew = ["0.79–0.81", "0.800 ± 0.010 (3)", "0.800 (1)", within]
    assert found["scratch (photos encoded anew)"] == anew
    assert found["scratch (as-printed)"] == ["0.79–0.81", "", "0.700 (1)", nothing]
    assert found["scratch, 2 epochs"] == ["", "0.700 ± 0.100 (3)", "0.600 (1)", within]
    assert "0.500" not in on_pictures and "0.500" in on_others
    # by hand: 4.303 · 0.01 · sqrt(1/3 + 1) is 0.0497
    assert tables.verdict([0.751], values) == within
    assert tables.verdict([0.749], values).startswith("lower than 3 of 3 published runs: see")
    assert tables.verdict([0.8, 0.9], values).startswith("higher than 3 of 3 published runs")
    # three runs that are alike by chance: 4.303 · 0.0025 · sqrt(1/3 + 1) is 0.0124
    assert tables.verdict([0.92], [0.931] * 3) == within
    assert tables.verdict([0.918], [0.931] * 3).startswith("lower than 3 of 3")
    assert tables.verdict([0.8], [0.91, 0.92]) == "two published runs, too few to compare with"


def test_nothing_that_is_added_falsifies_what_is_published():
    """A field more, another model, Keras, GPU, devices, or the same seed again."""
    published = [example("scratch", a, n) for n, a in enumerate([0.79, 0.80, 0.81])]
    before = tables.headline(selection.cells(published), {})

    def after(**more):
        added = example("scratch", 0.5, **more)
        return tables.headline(selection.cells([*published, added]), {})

    for same_seed in {}, {"model_sha256": "x"}, {"versions": {"keras": "9"}}, {"commit": "x"}:
        assert after(**same_seed) == before
    gpu = {"processor": "a processor", "cores": 8, "gpus": ["a GPU"]}
    assert after(hardware=gpu) == before
    assert "0.725 ± 0.150 (4)" in after(hardware=gpu, seed=3)  # a seed more is a run more
    for other in {"distributed": {"replicas": 2}}, {"epochs": 3}, {"batch_size": 16}:
        assert after(seed=3, **other) == before
    with pytest.raises(cli.InputError, match=r"two settings .* scratch, faithful.* image_size"):
        after(seed=3, image_size=[160, 160])
    with pytest.raises(cli.InputError, match=r"differ in gamma"):
        after(seed=3, gamma=1)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda line: line[:-9], "no record"),
        (lambda line: "[]", "no record"),
        (lambda line: "{}", "no record"),
        (lambda line: line.replace("scratch", "scr\udcffatch"), "no record"),
        (lambda line: line.replace('"seed": 0', '"seed": 0, "colour": "red"'), "fields colour"),
        (lambda line: line.replace('"seed": 0', '"seed": "0"'), "must be whole numbers"),
        (lambda line: line.replace('"scratch"', '"cooking"'), "unknown experiment cooking"),
        (lambda line: line.replace('"faithful"', '"pancakes"'), "unknown recipe pancakes"),
        (lambda line: line.replace('"val_accuracy": 0.8', '"val_accuracy": 0.9'), "not that of"),
        (lambda line: line.replace('"history"', '"no history"'), "unknown fields no history"),
        (lambda line: re.sub(r'"history": {.*?}', '"history": null', line), "no record"),
        (lambda line: re.sub(r"\[0.5, .*?\]", "[]", line), "not that of"),
        (lambda line: re.sub(r"\[0.5, ", "[0.5, null, ", line), "no record"),
        (lambda line: re.sub(r"\[0.5, ", "[0.5, 7, ", line), "an accuracy that is none"),
        (lambda line: line.replace("[9.0, ", "["), "not the seconds of each epoch"),
    ],
)
def test_a_line_that_is_no_record_is_refused_by_its_number(tmp_path, spoil, message):
    path = tmp_path / "runs.jsonl"
    line = json.dumps(example("scratch", 0.8))
    spoilt = spoil(line)
    assert spoilt != line
    path.write_bytes(f"{line}\n{spoilt}".encode("utf-8", "surrogateescape"))
    with pytest.raises(cli.InputError, match=f"line 2: .*{message}"):
        records.read(path)
    path.write_text(line)  # without the end of the line, as an editor may leave it
    records.append(path, example("scratch", 0.7))
    assert [record["val_accuracy"] for record in records.read(path)] == [0.8, 0.7]


HEAD = subprocess.run(
    ["git", "-C", ROOT, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True
).stdout.strip()


@pytest.mark.parametrize("file", ["runs.jsonl", "label_efficiency.jsonl", "crossval.jsonl"])
def test_only_fit_runs_are_published(tmp_path, capsys, file):
    def run(name, accuracy, seed=0, data=ARTICLES, **more):
        if file == "label_efficiency.jsonl":
            more |= {"photos_per_class": 25, "drawn_from": data}
        elif file == "crossval.jsonl":
            everything = "x" if data is OTHERS else report.all_photos_digest()
            more |= {"fold": seed, "folds": 5, "all_photos_sha256": everything}
        return example(
            "scratch", accuracy, seed, **{"commit": HEAD, **more, "run": name, "data": data}
        )

    there = run("there", 0.81)
    fit = [
        run("good", 0.8, 1),
        run("again", 0.5),  # none is left out; the tables count the first of a seed
        run("another Keras", 0.5, model_sha256="x", versions={"keras": "9"}),
    ]
    unfit = {
        "not on the article's p": [run("others", 0.5, 2, data=OTHERS)],
        "made by code that is in no commit of this repository": [
            run("changed", 0.5, 3, commit=f"{HEAD}-dirty"),
            run("resumed", 0.5, 3, commit=f"{HEAD}, then {HEAD}-dirty"),
            run("nowhere", 0.5, 4, commit=None),
            run("elsewhere", 0.5, 4, commit="fffffffffff1"),
        ],
    }
    own, published = tmp_path / "weights", tmp_path / "results"
    write(published / file, there)
    write(own / file, there, *fit, *fit, *itertools.chain(*unfit.values()))
    _, added = report.collect_records(own, published)[file]
    assert added == fit
    said = capsys.readouterr().out
    for why, runs in unfit.items():
        assert all(f": {run['run']} ({why}" in said for run in runs)
    assert records.read(published / file) == [there]  # nothing is written here


@pytest.mark.parametrize("name", ["bench.json", "choice.json"])
def test_only_fit_figures_are_published(tmp_path, name, capsys):
    old = json.loads((ROOT / "results" / name).read_text())
    digest = ARTICLES["train"]["sha256"]
    (tmp_path / "old.json").write_text(json.dumps(old))

    def taken_over(commit=HEAD, finished="2099", photos=digest):
        new = json.loads(json.dumps(old))
        if name == "bench.json":
            new[0] |= {"commits": {"scratch": commit}, "started": finished, "scratch_ratio": 9}
            new = [new[0] | {"photos_sha256": photos}]
        else:
            new = new[-1] | {"commit": commit, "finished": finished, "choices": ["new"]}
            new["photos"] = new["photos"] | {"sha256": photos}
        (tmp_path / name).write_text(json.dumps(new))
        found = report.merge_json(tmp_path / name, tmp_path / "old.json")
        (tmp_path / "found.json").write_text(json.dumps(found))  # and published once more
        assert report.merge_json(tmp_path / name, tmp_path / "found.json") == found
        if name == "bench.json":
            return found[0]["scratch_ratio"] == 9
        assert all(choice in found for choice in old)  # none is lost
        return found == [*old, new]

    assert taken_over()
    for unfit in {"commit": f"{HEAD}-dirty"}, {"commit": None}, {"photos": "x"}:
        assert not taken_over(**unfit)
        assert "not published: " in capsys.readouterr().out
    if name == "bench.json":
        assert not taken_over(finished="1999")
    if name == "choice.json":  # as it was while it held but one
        (tmp_path / "old.json").write_text(json.dumps(old[0]))
        old = old[:1]
        assert taken_over()
    (tmp_path / name).write_text("[{")
    with pytest.raises(cli.InputError, match=f"{name}: not valid JSON"):
        report.merge_json(tmp_path / name, tmp_path / "old.json")


def test_rows_name_all_machines_and_the_times_of_each():
    other = {"processor": "another", "cores": 8, "gpus": ["a GPU"]}
    other = {"hardware": other, "seconds_per_epoch": [0.1]}
    runs = [example("scratch", 0.8), example("scratch", 0.7, seed=1, **other)]
    ((*_, seconds, machines),) = cells(tables.every_setting(runs))
    assert (seconds, machines) == ("2.0; 0.1", "2 cores, a processor; a GPU")


def test_names_are_in_kerass_order(drawings):
    manifest = {
        f"validation/{path.relative_to(drawings / 'validation').as_posix()}": ""
        for path in (drawings / "validation").rglob("*.jpg")
    }
    generator = images.in_order_generator(drawings / "validation", SMALL, 4)
    assert fingerprints.photo_names(manifest, "validation") == generator.filenames


def test_the_report_is_of_whole_runs_in_the_most_common_precision():
    bfloat16 = {"precision": "mixed_bfloat16"}
    runs = [
        example("scratch", 0.80, **bfloat16),
        example("scratch", 0.79, seed=1, **bfloat16),
        example("scratch", 0.75, recipe="as-printed", **bfloat16),
        example("scratch", 0.77),
        example("scratch", 0.60, epochs=3, **bfloat16),
        example("scratch", 0.61, batch_size=16, **bfloat16),
        example("bottleneck", 0.62, vgg16_weights="random", **bfloat16),
        example("finetune", 0.63, top_model={"epochs": 1}, **bfloat16),
        example("finetune", 0.94, top_model={"epochs": 50}, **bfloat16),
        example("finetune", 0.92, top_model={"epochs": 50}, data=ANEW, **bfloat16),
    ]
    articles = selection.cells(runs)
    assert {
        experiment: {name: [run["val_accuracy"] for run in runs] for name, runs in recipes.items()}
        for experiment, recipes in articles.items()
    } == {
        "scratch": {"faithful": [0.80, 0.79], "as-printed": [0.75], "float32": [0.77]},
        "bottleneck": {},
        "finetune": {"faithful": [0.94], "encoded anew": [0.92]},
    }


def test_runs_of_keras_1_0_4_stand_beside_ours():
    ours = [example("scratch", a, seed) for seed, a in enumerate([0.79, 0.80, 0.81])]

    def original(accuracy, seed=0, epochs=50, data=ARTICLES):
        history = {"val_acc": [0.5, accuracy], "val_loss": [0.9, 0.6]}
        run = {"experiment": "scratch", "seed": seed, "epochs": epochs, "data": data}
        return run | {"val_accuracy": accuracy, "history": history}

    found = [original(0.1, epochs=4), original(0.2, data=OTHERS)]  # neither counts
    found += [original(0.77), original(0.3), original(0.79, seed=1)]  # seed 0 again
    runs = selection.original_runs(found)
    articles = selection.cells(ours)
    ((*row, _, _, _),) = cells(tables.headline(articles, runs))
    # Welch's interval of 0.79, 0.80, 0.81 less 0.77, 0.79, by hand: degrees of freedom 1.68
    there, here, apart = "0.780 ± 0.014 (2)", "0.800 ± 0.010 (3)", "+0.020 (−0.040 to +0.080)"
    assert row == ["scratch", "0.79–0.81", there, here, apart]
    assert "0.780 ± 0.014 (2)" not in tables.headline(articles, {})


def test_the_headline_is_of_the_faithful_runs_alone():
    others = [example("scratch", 0.7, seed, recipe="constants") for seed in range(3)]
    assert tables.headline(selection.cells(others), {}) == "No whole runs yet."
    ((_, _, _, here, *_),) = cells(
        tables.headline(selection.cells([*others, example("scratch", 0.8)]), {})
    )
    assert here == "0.800 (1)"


def test_minutes_are_of_the_fastest_run_on_a_processor_and_on_a_gpu():
    def run(seconds, seed, *gpus):
        hardware = {"processor": "a", "cores": 2, "gpus": list(gpus)}
        others_use_it = [100 * seconds] * 9  # the machine, for a time
        epochs = [11 * seconds] + [seconds] * 20 + others_use_it + [seconds] * 20
        more = {"seconds_per_epoch": epochs, "hardware": hardware}
        return example("scratch", 0.8, seed, **more)

    ours = [run(12, 0), run(6, 1), run(1.2, 2, "H100")]
    for runs, told in (ours, ["6", "1"]), (ours[:2], ["6", ""]), (ours[2:], ["", "1"]):
        ((*_, minutes, on_gpu),) = cells(tables.headline(selection.cells(runs), {}))
        assert [minutes, on_gpu] == told


def test_differences_have_welchs_interval():
    """By hand: means 0.81 and 0.79, variance 0.0001 each of 3, t = 2.776 with 4 degrees."""
    text = tables.difference([0.80, 0.81, 0.82], [0.78, 0.79, 0.80])
    assert text == "+0.020 (−0.003 to +0.043)"
    assert tables.difference([0.7], [0.78, 0.80]) == "−0.090"


def test_hard_photos_are_those_that_most_runs_get_wrong():
    names = ["cats/a.jpg", "cats/b.jpg", "dogs/a.jpg"]
    answers = [[0.9, 0.1, 0.9], [0.8, 0.6, 0.2], [0.7, 0.2, 0.4]]
    runs = [example("scratch", 0.5, n, val_probabilities=p) for n, p in enumerate(answers)]
    articles = {"scratch": {"faithful": runs}, "bottleneck": {}}
    (first, looks), (second, _) = selection.hard_photos(articles, names)
    assert (first, second) == ("cats/a.jpg", "dogs/a.jpg")
    assert looks["scratch"] == (3, 3, pytest.approx(0.8))


def test_sections_are_filled_and_must_be_known(tmp_path):
    path = tmp_path / "README.md"
    text = "a\n<!-- x y: written by make publish -->\nold\n<!-- end of x y -->\nb\n"
    path.write_text(text)
    for _ in range(2):
        filled = report.fill(path, {"x y": r"\1 new", "z": "not there"})
        assert filled == text.replace("old", r"\1 new")
        path.write_text(filled)
    with pytest.raises(cli.InputError, match="section x y is unknown"):
        report.fill(path, {"z": ""})


@pytest.fixture
def committed(tmp_path):
    """A copy of both READMEs, without their figures, and of the records."""
    shutil.copytree(ROOT / "results", tmp_path / "results")
    shutil.copy(ROOT / "README.md", tmp_path)
    section = r"(<!-- ([\w ]+): written by make publish -->\n).*?(?=<!-- end of \2 -->)"
    for path in tmp_path.glob("**/README.md"):
        text = path.read_text(encoding="utf-8")
        emptied = re.sub(section, r"\1", text, flags=re.DOTALL)
        assert len(emptied) < len(text) - 2000
        path.write_text(emptied, encoding="utf-8")
    for path in (tmp_path / "results").glob("*.svg"):
        path.unlink()
    return tmp_path


def publish(folder, *runs):
    """Publish these runs into the folder of committed(); the exit status."""
    write(folder / "weights" / "runs.jsonl", *runs)
    places = "--results", folder / "results", "--readme", folder / "README.md"
    return run("--publish", *places, "--weights", folder / "weights")


def test_make_publish_changes_nothing_if_a_new_run_does_not_fit_in(committed):
    def contents():
        paths = (path for path in committed.rglob("*.*") if path.is_file())
        return {path: path.read_bytes() for path in paths if path.name != ".lock"}

    there = contents()
    clashing = example("bottleneck", 0.5, 99, image_size=[160, 160], commit=HEAD, run="clashing")
    assert publish(committed, clashing | {"precision": "mixed_bfloat16"}) == 2
    (committed / "weights" / "runs.jsonl").unlink()
    assert contents() == there


def test_make_publish_adds_a_run_and_brings_everything_up_to_date(committed):
    results = committed / "results"
    new = json.loads((ROOT / "results/runs.jsonl").read_text().splitlines()[-1])
    new |= {"seed": 99, "run": "new", "commit": HEAD}
    for _ in range(2):
        assert publish(committed, new) == 0
        assert [record["run"] for record in records.read(results / "runs.jsonl")].count("new") == 1
    assert f"99: {new['val_accuracy']:.4f}" in (results / "README.md").read_text()


def test_make_publish_brings_the_committed_figures_back(committed):
    assert publish(committed) == 0
    for name in "README.md", "results/README.md":
        made, there = ((f / name).read_text(encoding="utf-8") for f in (committed, ROOT))
        assert made == there, f"{name} is not what `make publish` writes"
    for name in "learning_curves", "changes", "label_efficiency":
        for theme in "", "-dark":
            text = (committed / f"results/{name}{theme}.svg").read_text()
            assert "<svg" in text and "</svg>" in text
            assert (ROOT / "results" / f"{name}{theme}.svg").exists()


def test_photos_with_wrong_labels_are_left_out_of_one_line(monkeypatch):
    names = ["cats/cat.1.jpg", "dogs/dog.1.jpg", "dogs/dog.2.jpg", "dogs/dog.3.jpg"]
    monkeypatch.setattr(tables, "WRONG_LABELS", {"dogs/dog.2.jpg": "a cat"})
    runs = [
        example("scratch", 0.5, seed, val_probabilities=answers)
        for seed, answers in enumerate([[0.1, 0.9, 0.2, 0.2], [0.1, 0.9, 0.2, 0.9]])
    ]
    told = tables.without_wrong_labels({"scratch": runs, "best": [example("best", 0.9)]}, names)
    assert told == "Without dogs/dog.2.jpg (a cat): scratch 0.833 ± 0.236 (2)."
