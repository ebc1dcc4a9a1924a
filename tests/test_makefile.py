"""make does nothing twice and uses nothing stale: the Makefile, with a stand-in for Python.

The stand-in notes its command in the file `log` and makes what the script would make.
"""

import os
import shutil
import subprocess
from pathlib import Path

from common import files, folders
import pytest

ROOT = Path(__file__).parent.parent

STAND_IN = """#!/bin/sh
echo "$@" >> log
case "$1 $FAIL" in
  *scratch.py*" fail" | *finetune.py*" finetune") exit 2 ;;
  *data.py*) mkdir -p data/train/cats data/validation/cats
    echo photo > data/train/cats/cat.0.jpg; echo photo > data/validation/cats/cat.1.jpg
    echo > data/photos.json ;;
  *scratch.py*) mkdir -p $WEIGHTS; echo > $WEIGHTS/first_try.weights.h5 ;;
  *bottleneck.py*) echo > $WEIGHTS/bottleneck_fc_model.weights.h5 ;;
  *finetune.py*) echo > $WEIGHTS/fine_tuned.weights.h5 ;;
  *best.py*) echo > $WEIGHTS/best.weights.h5 ;;
  *preview.py*) mkdir -p preview; echo > preview/contact_sheet.jpg ;;
esac
"""


REPORT = "report --data data"
DEFAULTS = "--data data --seed 0 --epochs 50 --batch-size 32"


class Make:
    def __init__(self, folder):
        self.folder = folder

    def __call__(self, *arguments, status=0, **environment):
        """Run make; the scripts it has run, as `name options`."""
        log = self.folder / "log"
        log.unlink(missing_ok=True)
        clean = {key: os.environ[key] for key in ("PATH", "HOME")}
        done = subprocess.run(
            ["make", *arguments],
            cwd=self.folder,
            env={**clean, **environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == status, done.stdout + done.stderr
        self.output = done.stdout + done.stderr
        commands = log.read_text().splitlines() if log.exists() else []
        return [command.removeprefix("scripts/").replace(".py", "", 1) for command in commands]

    def change(self, name):
        """Write to a file, long after make was here."""
        for path in self.folder.rglob("*"):
            times = path.stat()
            os.utime(path, (times.st_atime - 100, times.st_mtime - 100))
        path = self.folder / name
        path.write_text(path.read_text() + "\n")


@pytest.fixture
def make(tmp_path):
    for name in "Makefile", "requirements.txt":
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    for folder in "data", "weights", ".venv/bin":
        (tmp_path / folder).mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    shutil.copy(ROOT / "requirements.txt", tmp_path / ".venv")
    return Make(tmp_path)


def test_make_alone_is_help_on_every_target_and_variable(make):
    assert make() == []
    text = (ROOT / "Makefile").read_text()
    (phony,) = [line for line in text.splitlines() if line.startswith(".PHONY:")]
    for target in set(phony.split()[1:]) - {"help", "FORCE"}:
        assert f"\n  {target} " in make.output
    variables = [line.split()[0] for line in text.splitlines() if " ?=" in line]
    assert len(variables) == 21
    for variable in variables:
        assert f"\n  {variable} " in make.output


def test_everything_is_made_once(make):
    assert make("reproduce") == [
        "data",
        f"scratch {DEFAULTS}",
        f"bottleneck {DEFAULTS}",
        f"finetune {DEFAULTS}",
        REPORT,
    ]
    assert make("reproduce") == [REPORT]
    assert make("scratch", "bottleneck", "finetune", "data", "EPOCHS=50") == []


def test_everything_is_made_once_in_any_order(make):
    assert make("finetune") == [
        "data",
        "bottleneck --data data --seed 0",
        f"finetune {DEFAULTS}",
    ]
    assert make("scratch") == [f"scratch {DEFAULTS}"]
    assert make("preview", "SEED=1") == ["preview data/train --seed 1"]
    assert make("scratch", "SEED=1") == ["scratch --data data --seed 1 --epochs 50 --batch-size 32"]
    assert make("reproduce") == [f"scratch {DEFAULTS}", REPORT]  # but not the others
    assert make("reproduce") == [REPORT]


def test_variables_reach_the_scripts_also_from_the_environment(make):
    options = {"EPOCHS": "5", "BATCH_SIZE": "16", "SEED": "3", "RECIPE": "as-printed"}
    expected = "scratch --data data --seed 3 --recipe as-printed --epochs 5 --batch-size 16"
    assert make("scratch", *(f"{k}={v}" for k, v in options.items()))[-1] == expected
    assert make("clean") == []
    (make.folder / "weights" / "first_try.weights.h5").unlink(missing_ok=True)
    assert make("scratch", **options)[-1] == expected


def test_precision_reaches_the_scripts_and_makes_outputs_stale(make):
    assert len(make("scratch")) == 2
    assert make("scratch", "PRECISION=float32") == [
        "scratch --data data --seed 0 --precision float32 --epochs 50 --batch-size 32"
    ]
    assert make("scratch", PRECISION="float32") == []
    make("scratch", "PRECISION=half", status=2)
    assert "must be float32 or mixed_bfloat16" in make.output


def test_reproduce_takes_seeds_and_goes_on_where_it_was(make):
    def seed(number):
        options = f"--data data --seed {number} --epochs 50 --batch-size 32"
        return [f"{script} {options}" for script in ("scratch", "bottleneck", "finetune")]

    assert make("reproduce", "SEEDS=2", "SEED=3") == ["data", *seed(3), *seed(4), REPORT]
    assert make("reproduce", "SEEDS=3", "SEED=3") == [*seed(5), REPORT]
    make("scratch", "SEED=9")
    assert make("reproduce", "SEEDS=3", "SEED=3") == [REPORT]
    assert len(make("reproduce", "SEED=9", FAIL="finetune", status=2)) == 2
    assert make("reproduce", "SEED=9") == [seed(9)[2], REPORT]
    make.change("scripts/scratch.py")
    assert make("reproduce", "SEED=9") == [seed(9)[0], REPORT]
    for wrong in "SEEDS=0", "SEEDS=many", "SEED=x":
        make("reproduce", wrong, status=2)
        assert "must be whole numbers" in make.output


def test_crossval(make):
    assert make("crossval", "EXPERIMENT=scratch", "FOLDS=3", "VGG16_WEIGHTS=my.h5")[1:] == [
        "crossval scratch --folds 3 --data data --seed 0 --epochs 50 --batch-size 32 "
        "--vgg16-weights my.h5"
    ]


def test_beyond_the_article(make):
    assert make("best", "SEED=2", "PRECISION=float32", "VGG16_WEIGHTS=my.h5")[1:] == [
        "best --data data --seed 2 --precision float32 --vgg16-weights my.h5"
    ]
    assert make("choose")[-1:] == ["choose --data data --seed 0"]
    assert make("efficiency", "DRAWS=2") == [
        "bottleneck --data data --seed 0",
        "best --data data --seed 0",
        "efficiency --data data --seed 0 --draws 2 --epochs 50 --batch-size 32",
    ]


def test_original(make):
    assert make("original", "SEEDS=3", "PYTHON27=/opt/python2.7")[1:] == [
        "original --data data --python27 /opt/python2.7 --seed 0 --seeds 3 --epochs 50"
    ]


def test_bench(make):
    assert make("bench", "VGG16_WEIGHTS=my.h5") == [
        "data",
        "bench --data data --vgg16-weights my.h5 --output weights/bench.json",
    ]


def test_changed_variables_and_photos_make_outputs_stale(make):
    assert len(make("scratch")) == 2
    assert make("scratch", "SEED=1") == ["scratch --data data --seed 1 --epochs 50 --batch-size 32"]
    assert make("scratch", "SEED=1", "EPOCHS=2") == [
        "scratch --data data --seed 1 --epochs 2 --batch-size 32"
    ]
    assert make("scratch", "SEED=1", "EPOCHS=2") == []
    make.change("data/train/cats/cat.0.jpg")
    assert len(make("scratch", "SEED=1", "EPOCHS=2")) == 1
    make.change("scripts/common/images.py")
    assert len(make("scratch", "SEED=1", "EPOCHS=2")) == 1
    make.change("scripts/finetune.py")
    assert make("scratch", "SEED=1", "EPOCHS=2") == []


def test_finetune_keeps_the_classifier_that_is_there(make):
    assert len(make("bottleneck", "EPOCHS=7")) == 2
    assert make("finetune", "EPOCHS=3") == [
        "finetune --data data --seed 0 --epochs 3 --batch-size 32"
    ]
    assert make("finetune", "EPOCHS=3") == []
    assert make("finetune", "SEED=1", "EPOCHS=3") == [
        "bottleneck --data data --seed 1",
        "finetune --data data --seed 1 --epochs 3 --batch-size 32",
    ]
    assert make("bottleneck", "SEED=1") == []


def test_several_devices_are_for_the_experiments_that_can(make):
    assert make("finetune", "DISTRIBUTE=1") == [
        "data",
        "bottleneck --data data --seed 0",
        f"finetune {DEFAULTS} --distribute",
    ]
    assert make("scratch", "DISTRIBUTE=1") == [f"scratch {DEFAULTS} --distribute"]
    assert make("scratch", "DISTRIBUTE=1") == make("bottleneck") == []
    assert make("scratch") == [f"scratch {DEFAULTS}"]
    make("scratch", "DISTRIBUTE=2", status=2)
    assert "DISTRIBUTE=2: must be 1 or nothing" in make.output


def test_a_classifier_made_below_is_known_to_have_the_defaults(make):
    assert len(make("bottleneck", "EPOCHS=3")) == 2
    assert len(make("finetune", "EPOCHS=1", "SEED=1")) == 2
    assert make("bottleneck", "SEED=1") == []
    expected = "bottleneck --data data --seed 1 --epochs 3 --batch-size 32"
    assert make("bottleneck", "EPOCHS=3", "SEED=1") == [expected]


def test_a_tilde_means_the_home_folder(make):
    photo = make.folder / "photos" / "train" / "cats" / "a.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_text("photo")
    given = {"DATA": "~/photos", "HOME": str(make.folder)}
    expected = f"scratch --data {make.folder}/photos --weights weights/photos {DEFAULTS[12:]}"
    assert make("scratch", "DATA=~/photos", HOME=str(make.folder)) == [expected]
    assert make("scratch", **given) == []
    (photo.parent / "notes.txt").write_text("no photo")
    assert make("scratch", **given) == []
    photo.write_text("another photo")
    assert make("scratch", **given) == [expected]


def test_a_failure_is_not_made(make):
    assert len(make("scratch", status=2, FAIL="fail")) == 2
    assert make("scratch") == [f"scratch {DEFAULTS}"]


def test_archive_and_weights_count_where_they_are_given(make):
    archive, weights = make.folder / "my photos.zip", make.folder / "my 'vgg'.h5"
    archive.write_text("zip")
    weights.write_text("h5")
    given = {"ARCHIVE": archive.name, "VGG16_WEIGHTS": weights.name}
    assert make("bottleneck", **given) == [
        "data my photos.zip",
        f"bottleneck {DEFAULTS} --vgg16-weights my 'vgg'.h5",
    ]
    assert make("bottleneck", **given) == []
    assert make("bottleneck") == []
    make.change(weights.name)
    weights.write_text("other weights")
    assert len(make("bottleneck", **given)) == 1
    archive.write_text("another zip")
    assert make("bottleneck", **given)[0].startswith("data")


def test_missing_photos_are_prepared_again(make):
    assert make("data") == ["data"]
    assert make("data") == []
    shutil.rmtree(make.folder / "data" / "train")
    assert make("data") == ["data"]
    (make.folder / "data" / ".replacement").mkdir()  # data.py was interrupted
    assert make("scratch") == ["data", f"scratch {DEFAULTS}"]


def test_photos_of_ones_own(make):
    for folder in "data", "my photos":
        for split in "train", "validation":
            (make.folder / folder / split / "cats").mkdir(parents=True)
            (make.folder / folder / split / "cats" / "a.jpg").write_text("photo")
    assert make("scratch") == [f"scratch {DEFAULTS}"]
    assert make("scratch") == []
    own = f"scratch --data my photos --weights weights/my_photos {DEFAULTS[12:]}"
    assert make("scratch", "DATA=my photos") == [own]
    assert make("scratch", "DATA=my photos") == make("scratch") == []  # each has its own
    flat = make.folder / "föhn's"
    (flat / "cats").mkdir(parents=True)
    (flat / "cats" / "a.jpg").write_text("photo")
    weights = folders.default_weights(flat).relative_to(files.ROOT)  # make and Python agree
    own = f"scratch --data {flat} --weights {weights} {DEFAULTS[12:]}"
    assert make("scratch", f"DATA={flat}") == [own]
    (flat / "cats" / "b.jpg").write_text("photo")
    assert make("scratch", f"DATA={flat}") == [own]
    own = own.replace(str(weights), "elsewhere")
    assert make("scratch", f"DATA={flat}", "WEIGHTS=elsewhere") == [own]


def test_predict_and_evaluate(make):
    make("predict", status=2)
    assert "name the photos: make predict PHOTOS=" in make.output
    assert make("predict", "PHOTOS=a.jpg 'b c'/", "TOP=2", "CSV=my list.csv") == [
        "predict --data data --top 2 --csv my list.csv -- a.jpg 'b c'/"
    ]
    options = {"PHOTOS": "my photos", "MODEL": "my model.h5", "VGG16_WEIGHTS": "my.h5"}
    assert make("evaluate", **options) == [
        "evaluate --data data --model my model.h5 --vgg16-weights my.h5 -- my photos"
    ]


def test_app_installs_what_it_needs_once(make):
    shutil.copy(ROOT / "requirements-app.txt", make.folder)
    install = "-m pip install --disable-pip-version-check -c requirements.txt"
    install += " -r requirements-app.txt"
    serve = "app --data data --port 8501"
    assert make("app") == [install, serve]
    assert make("app") == [serve]
    assert make("app", "DATA=mine", "PORT=80", MODEL="my model.h5", VGG16_WEIGHTS="my.h5") == [
        "app --data mine --weights weights/mine --model my model.h5 --vgg16-weights my.h5 --port 80"
    ]
    make.change("requirements-app.txt")
    assert make("app") == [install, serve]
    make.change(".venv/requirements.txt")  # .venv was made anew
    assert make("app") == [install, serve]


def test_the_environment_is_made_when_it_is_missing_or_old(make):
    make.change("requirements.txt")
    make("report", "PYTHON=false", status=2)
    assert "error: false is not Python 3.11" in make.output
    shutil.rmtree(make.folder / ".venv")
    make("report", "PYTHON=false", status=2)
    assert "error: false is not Python 3.11" in make.output


def test_a_linked_environment_is_not_emptied(make):
    make.change("requirements.txt")
    elsewhere = (make.folder / ".venv").rename(make.folder / "elsewhere")
    (make.folder / ".venv").symlink_to(elsewhere)
    make("report", "PYTHON=python3", status=2)
    assert "error: .venv is a link" in make.output
    assert (elsewhere / "bin" / "python").exists()


def test_clean_keeps_photos_records_and_what_is_committed(make):
    make("reproduce", "preview")
    kept = [
        "weights/README.md",
        "weights/runs.jsonl",
        "weights/bench.json",
        "weights/mine/runs.jsonl",
        "weights/mine/photos.txt",
        "data/train/cats/cat.0.jpg",
        "data/photos.json",
    ]
    gone = [
        "weights/bottleneck_features_train.npy",
        "weights/bottleneck_features_train.json",
        "weights/checkpoints/scratch-0/state.json",
        "weights/.partial-1-first_try.weights.h5",
        "weights/mine/split/train/a/1.jpg",
        "demo/weights/runs.jsonl",
    ]
    for name in [*kept, *gone]:
        (make.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (make.folder / name).touch()
    make("clean")
    assert all((make.folder / name).exists() for name in kept)
    left = {path.name for path in (make.folder / "weights").iterdir()}
    assert left == {"README.md", "runs.jsonl", "bench.json", "mine"}
    assert not (make.folder / "weights/mine/split").exists()
    assert not any((make.folder / name).exists() for name in ("demo", "preview", ".made"))
    assert (make.folder / ".venv").exists()
