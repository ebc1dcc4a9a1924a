"""The report: tables of the runs, and figures in the README that the records give."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import cli
import files
import images
import pytest
import report
from conftest import SMALL

ROOT = Path(report.__file__).parent.parent


def run(*argv):
    """The report's exit status."""
    try:
        cli.run(lambda: report.main(report.parse([str(argument) for argument in argv])))
    except SystemExit as stop:
        return stop.code
    return 0


def record(experiment, accuracy, seed=0, **settings):
    return {
        "experiment": experiment,
        "recipe": "faithful",
        "seed": seed,
        "epochs": 50,
        "batch_size": 32,
        "image_size": [150, 150],
        "class_indices": {"cats": 0, "dogs": 1},
        "data": {
            "train": {"sha256": "a", "photos": 2000},
            "validation": {"sha256": "b", "photos": 800},
        },
        "hardware": {"processor": "a processor", "cores": 2, "gpus": []},
        "seconds_per_epoch": [1.0, 2.0, 9.0],
        "history": {"val_accuracy": [0.5, accuracy]},
        "val_accuracy": accuracy,
        **settings,
    }


def test_table_is_mean_spread_and_interval():
    records = [record("scratch", a, seed) for seed, a in enumerate([0.79, 0.80, 0.81])]
    (cells,) = (report.row(runs) for runs in report.group(records))
    # standard deviation of 0.79, 0.80, 0.81 by hand; Wilson's interval of 640 in 800:
    # (0.8 + 1.9208/800 ± 1.96·sqrt(0.16/800 + 0.9604/640000)) / (1 + 3.8416/800)
    assert cells == (
        "scratch",
        "0.79–0.81",
        "0.800 ± 0.010",
        "0.771–0.826",
        "3",
        "50",
        "float32",
        "2.0",
        "2 cores, a processor",
    )


def test_table_keeps_different_runs_apart():
    records = [
        record("finetune", 0.93, epochs=3),
        record("scratch", 0.70, recipe="as-printed"),
        record("scratch", 0.80),
        record("scratch", 0.81),  # the same seed again: one run, the last
        record("bottleneck", 0.60, vgg16_weights="random", vgg16_sha256="x"),
        record("bottleneck", 0.90, vgg16_weights="imagenet", vgg16_sha256="y"),
    ]
    cells = [report.row(runs)[:3] for runs in report.group(records)]
    assert [c[0] for c in cells] == [
        "scratch",
        "scratch (as-printed)",
        "bottleneck (VGG16 random)",
        "bottleneck",
        "finetune",
    ]
    assert [c[2] for c in cells] == ["0.810", "0.700", "0.600", "0.900", "0.930"]


def test_report_tells_the_articles_photos_from_others(tmp_path, capsys):
    manifest = files.read_manifest(report.MANIFEST)
    articles = {
        split: {
            "photos": count,
            "sha256": files.data_set_digest(
                *zip(
                    *(
                        (name.removeprefix(f"{split}/"), digest)
                        for name, digest in manifest.items()
                        if name.startswith(f"{split}/")
                    ),
                    strict=True,
                )
            ),
        }
        for split, count in {"train": 2000, "validation": 800}.items()
    }
    lines = [record("scratch", 0.8, data=articles), record("scratch", 0.5)]
    (tmp_path / "runs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run("--results", tmp_path) == 0
    on_photos, on_others = capsys.readouterr().out.split("on other pictures")
    assert "0.800" in on_photos and "0.500" not in on_photos
    assert "0.500" in on_others
    assert run("--results", tmp_path / "none") == 2


def test_rows_name_all_machines_and_the_times_of_each():
    other = {"processor": "another", "cores": 8, "gpus": ["a GPU"]}
    other = {"hardware": other, "seconds_per_epoch": [0.1]}
    records = [record("scratch", 0.8), record("scratch", 0.7, seed=1, **other)]
    ((_, _, here, *_, seconds, machines),) = map(report.row, report.group(records))
    assert here == "0.750 ± 0.071"
    assert (seconds, machines) == ("2.0; 0.1", "2 cores, a processor; a GPU")


def test_names_are_in_kerass_order(drawings):
    manifest = {
        f"validation/{path.relative_to(drawings / 'validation').as_posix()}": ""
        for path in (drawings / "validation").rglob("*.jpg")
    }
    generator = images.in_order_generator(drawings / "validation", SMALL, 4)
    assert files.photo_names(manifest, "validation") == generator.filenames


def test_the_report_is_of_whole_runs_in_the_most_common_precision():
    bfloat16 = {"precision": "mixed_bfloat16"}
    records = [
        record("scratch", 0.80, **bfloat16),
        record("scratch", 0.79, seed=1, **bfloat16),
        record("scratch", 0.75, recipe="as-printed", **bfloat16),
        record("scratch", 0.77),
        record("scratch", 0.60, epochs=3, **bfloat16),
        record("scratch", 0.61, batch_size=16, **bfloat16),
        record("bottleneck", 0.62, vgg16_weights="random", **bfloat16),
        record("finetune", 0.63, top_model={"epochs": 1}, **bfloat16),
        record("finetune", 0.94, top_model={"epochs": 50}, **bfloat16),
    ]
    articles = report.as_the_article(records)
    assert {
        experiment: {name: [run["val_accuracy"] for run in runs] for name, runs in recipes.items()}
        for experiment, recipes in articles.items()
    } == {
        "scratch": {"faithful": [0.80, 0.79], "as-printed": [0.75], "float32": [0.77]},
        "bottleneck": {},
        "finetune": {"faithful": [0.94]},
    }


def test_runs_of_keras_1_0_4_stand_beside_ours():
    ours = [record("scratch", a, seed) for seed, a in enumerate([0.79, 0.80, 0.81])]
    manifest = {f"{split}/cats/cat.0.jpg": "0" * 64 for split in ("train", "validation")}
    photos = {
        split: {"sha256": report.files.manifest_digest(manifest, split)}
        for split in ("train", "validation")
    }

    def original(accuracy, seed=0, epochs=50, data=photos):
        history = {"val_acc": [0.5, accuracy], "val_loss": [0.9, 0.6]}
        run = {"experiment": "scratch", "seed": seed, "epochs": epochs, "data": data}
        return run | {"val_accuracy": accuracy, "history": history}

    others = photos | {"train": {"sha256": "of other photos"}}
    records = [original(0.1, epochs=4), original(0.2, data=others)]  # neither counts
    records += [original(0.3), original(0.77), original(0.79, seed=1)]  # seed 0 again
    runs = report.original_runs(records, manifest)
    articles = report.as_the_article(ours)
    line = report.headline(articles, runs).splitlines()[2]
    # Welch's interval of 0.79, 0.80, 0.81 less 0.77, 0.79, by hand: degrees of freedom 1.68
    assert [cell.strip() for cell in line.split("|")[1:6]] == [
        "scratch",
        "0.79–0.81",
        "0.780 ± 0.014 (2)",
        "0.800 ± 0.010 (3)",
        "+0.020 (−0.040 to +0.080)",
    ]
    assert "0.780 ± 0.014 (2)" not in report.headline(articles, {})


def test_differences_have_welchs_interval():
    """By hand: means 0.81 and 0.79, variance 0.0001 each of 3, t = 2.776 with 4 degrees."""
    text = report.difference([0.80, 0.81, 0.82], [0.78, 0.79, 0.80])
    assert text == "+0.020 (−0.003 to +0.043)"
    assert report.difference([0.7], [0.78, 0.80]) == "−0.090"


def test_hard_photos_are_those_that_most_runs_get_wrong():
    names = ["cats/a.jpg", "cats/b.jpg", "dogs/a.jpg"]
    answers = [[0.9, 0.1, 0.9], [0.8, 0.6, 0.2], [0.7, 0.2, 0.4]]
    runs = [record("scratch", 0.5, n, val_probabilities=p) for n, p in enumerate(answers)]
    articles = {"scratch": {"faithful": runs}, "bottleneck": {}}
    (first, looks), (second, _) = report.hard_photos(articles, names)
    assert (first, second) == ("cats/a.jpg", "dogs/a.jpg")
    assert looks["scratch"] == (3, 3, pytest.approx(0.8))


def test_sections_are_filled_and_must_be_there():
    text = "a\n<!-- x: written by make report -->\nold\n<!-- end of x -->\nb\n"
    filled = report.fill(text, {"x": r"\1 new"}, "README.md")
    assert filled == text.replace("old", r"\1 new")
    assert report.fill(filled, {"x": r"\1 new"}, "README.md") == filled
    with pytest.raises(cli.InputError, match="end of y"):
        report.fill(text, {"y": ""}, "README.md")


@pytest.fixture
def committed(tmp_path):
    """A copy of the README, without its figures, and of the records."""
    changed = ["git", "-C", ROOT, "diff", "--quiet", "HEAD", "--", "results/*.json*"]
    if subprocess.run(changed).returncode:
        pytest.skip("the records differ from the committed ones, which the README is about")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    emptied = re.sub(
        r"(<!-- (\w+): written by make report -->\n).*?(?=<!-- end of \2 -->)",
        r"\1",
        readme,
        flags=re.DOTALL,
    )
    assert len(emptied) < len(readme) - 2000
    (tmp_path / "README.md").write_text(emptied, encoding="utf-8")
    (tmp_path / "results").mkdir()
    for path in (ROOT / "results").glob("*.json*"):
        shutil.copy(path, tmp_path / "results")
    return tmp_path


def test_make_report_brings_the_committed_figures_back(committed, capsys):
    results = committed / "results"
    assert run("--results", results, "--readme", committed / "README.md") == 0
    for name in "README.md", "results/README.md":
        assert (committed / name).read_text(encoding="utf-8") == (ROOT / name).read_text(
            encoding="utf-8"
        ), f"{name} is not what `make report` writes"
    for name in "learning_curves", "changes":
        for theme in "", "-dark":
            text = (results / f"{name}{theme}.svg").read_text()
            assert "<svg" in text and "</svg>" in text
            assert (ROOT / "results" / f"{name}{theme}.svg").exists()
