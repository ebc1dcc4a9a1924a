"""Every script from the command line: help, unknown options, drawings, preview, the table."""

import json
import subprocess
import sys
from pathlib import Path

import cli
import draw
import files
import preview
import pytest
import report
from PIL import Image

ROOT = Path(report.__file__).parent.parent
SCRIPTS = ["scratch", "bottleneck", "finetune", "prepare", "preview", "draw", "report"]


def start(*command, **options):
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, **options
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_and_unknown_options(script, tmp_path):
    """From another folder, and with Keras set to another backend."""
    path = ROOT / "scripts" / f"{script}.py"
    environment = {"KERAS_BACKEND": "jax", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    options = {"cwd": tmp_path, "env": environment}
    shown = start(path, "--help", **options)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"usage: {script}.py" in shown.stdout
    refused = start(path, "--epoch5", "3", **options)
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "--epoch5" in refused.stderr and "--help" in refused.stderr


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", "", "٣", str(2**32)])
def test_epochs_must_be_a_whole_number(value):
    with pytest.raises(cli.argparse.ArgumentTypeError, match="whole number"):
        cli.positive(value)


def run(main, *argv):
    """A script's exit status."""
    try:
        cli.run(lambda: main([str(argument) for argument in argv]))
    except SystemExit as stop:
        return stop.code
    return 0


def test_drawings_repeat_with_their_seed(tmp_path):
    for name, seed in ("a", 0), ("b", 0), ("c", 1):
        options = ("--train", 2, "--validation", 1, "--seed", seed)
        assert run(draw.main, tmp_path / name, *options) == 0
    a, b, c = (
        {p.relative_to(tmp_path / n): files.sha256(p) for p in (tmp_path / n).rglob("*.jpg")}
        for n in "abc"
    )
    assert a == b and len(a) == len(set(a.values())) == 6
    assert a.keys() == c.keys() and not set(a.values()) & set(c.values())


def test_drawings_never_replace_a_folder(tmp_path):
    (tmp_path / "mine").mkdir()
    assert run(draw.main, tmp_path / "mine") == 2


def test_preview_is_the_articles_20_pictures_of_one_photo(drawings, tmp_path, capsys):
    output = tmp_path / "preview"
    photo = drawings / "train" / "cats" / "cat.0.jpg"
    for _ in range(2):  # the second replaces the first
        assert run(preview.main, drawings / "train", "--output", output) == 0
        pictures = sorted(output.glob("cat.0_*.jpg"))
        assert len(pictures) == len({files.sha256(path) for path in pictures}) == 20
        assert {Image.open(path).size for path in pictures} == {Image.open(photo).size}
        assert (output / "contact_sheet.jpg").exists()
    assert run(preview.main, tmp_path / "none.jpg", "--output", output) == 2
    assert len(list(output.iterdir())) == 21
    mine = output / "mine.png"
    mine.write_bytes(b"mine")
    assert run(preview.main, photo, "--output", output) == 2
    assert mine.exists() and len(pictures) == 20


def record(experiment, accuracy, seed=0, **settings):
    return {
        "experiment": experiment,
        "recipe": "faithful",
        "seed": seed,
        "epochs": 50,
        "batch_size": 32,
        "data": {"train": {"sha256": "a"}, "validation": {"sha256": "b", "photos": 800}},
        "hardware": {"processor": "a processor", "cores": 2, "gpus": []},
        "seconds_per_epoch": [1.0, 2.0, 9.0],
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
    assert run(report.main, "--results", tmp_path) == 0
    on_photos, on_others = capsys.readouterr().out.split("on other pictures")
    assert "0.800" in on_photos and "0.500" not in on_photos
    assert "0.500" in on_others
    assert run(report.main, "--results", tmp_path / "none") == 2


def test_readme_shows_the_table_of_the_committed_records():
    """Skipped where runs of one's own have been added: the README is about the committed ones."""
    unchanged = subprocess.run(
        ["git", "-C", ROOT, "diff", "--quiet", "HEAD", "--", "results/runs.jsonl"]
    )
    if unchanged.returncode:
        pytest.skip("results/runs.jsonl differs from the committed one")
    manifest = files.read_manifest(report.MANIFEST)
    records = files.read_records(ROOT / "results" / "runs.jsonl")
    ours = [r for r in records if report.is_the_articles(r, manifest)]
    assert report.table(ours) in (ROOT / "README.md").read_text(encoding="utf-8")
