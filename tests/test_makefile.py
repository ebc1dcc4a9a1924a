"""make starts each script with what the variables say, with a stand-in for Python.

The stand-in logs its command in the file `log`. That the scripts repeat no work is tested in
test_made.py.
"""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

STAND_IN = """#!/bin/sh
echo "$@" >> log
case "$* " in
  *"$FAIL.py "*) exit 2 ;;
  *--is-recorded*) case "$*" in *"--seed $RECORDED --is-recorded"*) ;; *) exit 1 ;; esac ;;
esac
"""


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
            env={"FAIL": "none", **clean, **environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == status, done.stdout + done.stderr
        self.output = done.stdout + done.stderr
        commands = log.read_text().splitlines() if log.exists() else []
        commands = [" ".join(command.split()) for command in commands]
        return [command.removeprefix("scripts/").replace(".py", "", 1) for command in commands]

    def change(self, name):
        """Make a file newer than all others."""
        for path in self.folder.rglob("*"):
            os.utime(path, (1000, 1000))
        os.utime(self.folder / name)


@pytest.fixture
def make(tmp_path):
    for name in "Makefile", "requirements.txt", "requirements-app.txt":
        shutil.copy(ROOT / name, tmp_path)
    for folder in "data", "weights", ".venv/bin":
        (tmp_path / folder).mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    shutil.copy(ROOT / "requirements.txt", tmp_path / ".venv")
    return Make(tmp_path)


def test_make_alone_is_help_on_every_target_and_variable(make):
    assert make() == []
    text = (ROOT / "Makefile").read_text().replace("\\\n", "")
    (phony,) = [line for line in text.splitlines() if line.startswith(".PHONY:")]
    for target in set(phony.split()[1:]) - {"help"}:
        assert f"\n  {target} " in make.output
    told = {word.strip(",") for word in make.output.split("Variables")[1].split()}
    (exported,) = [line for line in text.splitlines() if line.startswith("VARIABLES := ")]
    assert {*exported.split()[2:], "ARGS", "PYTHON"} <= told


@pytest.mark.parametrize(
    ("target", "expected"),
    {
        "data ARCHIVE=my.zip": "data my.zip",
        "scratch": "data; scratch --unless made",
        "scratch DATA=own SEED=3 RECIPE=as-printed PRECISION=float32 DISTRIBUTE=1 EPOCHS=5": (
            "scratch --data own --seed 3 --precision float32 --recipe as-printed --distribute "
            "--epochs 5 --unless made"
        ),
        "bottleneck BATCH_SIZE=8 WEIGHTS=w VGG16_WEIGHTS=my.h5": (
            "data; bottleneck --weights w --vgg16-weights my.h5 --batch-size 8 --unless made"
        ),
        # EPOCHS is for what is named; another script's options are not bottleneck's
        "finetune EPOCHS=3 DISTRIBUTE=1": (
            "data; bottleneck --unless usable; finetune --distribute --epochs 3 --unless made"
        ),
        "finetune DATA=own ARGS='--l2 0.1 --preprocessing imagenet'": (
            "bottleneck --data own --unless usable --preprocessing imagenet; "
            "finetune --data own --unless made --l2 0.1 --preprocessing imagenet"
        ),
        "best SEED=2": "data; best --seed 2 --unless made",
        "choose": "data; choose",
        "efficiency EPOCHS=2": (
            "data; bottleneck --unless usable; best --unless made; efficiency --epochs 2"
        ),
        "efficiency EXPERIMENT=best": "data; best --unless made; efficiency --experiment best",
        "preview PHOTOS='my cat.jpg'": "preview my cat.jpg",
        "efficiency EXPERIMENT=scratch": "data; efficiency --experiment scratch",
        "crossval EXPERIMENT=scratch ARGS='--folds 3'": "data; crossval scratch --folds 3",
        "original SEEDS=3 PYTHON27=py": "data; original --seeds 3 --python27 py",
        "bench PRECISION=float32": "data; bench --precision float32",
        "preview SEED=1": "data; preview --seed 1",
        "preview DATA=own": "preview own",
        "report DATA=own": "report --data own",
        "publish": "report --publish",
        "predict PHOTOS='a b' MODEL=m.h5 ARGS='--top 2'": "predict --model m.h5 --top 2 -- a b",
        "evaluate PHOTOS='a b' DATA=own": "evaluate --data own -- a b",
    }.items(),
)
def test_variables_reach_the_scripts(make, target, expected):
    target, *given = shlex.split(target)
    assert "; ".join(make(target, *given)) == expected
    environment = dict(variable.split("=", 1) for variable in given)
    assert "; ".join(make(target, **environment)) == expected


def test_values_may_have_blanks_and_quotes(make):
    given = {"DATA": "my photo's", "VGG16_WEIGHTS": 'a "b" $HOME.h5', "PHOTOS": "c d"}
    (best,) = make("best", **given)
    options = '--data my photo\'s   --vgg16-weights a "b" $HOME.h5 --unless made'
    assert " ".join(best.split()) == f"best {' '.join(options.split())}"
    assert make("evaluate", **given)[0].endswith("-- c d")


def test_wrong_values_and_failures_stop_make(make):
    for target in "predict", "evaluate":
        assert make(target, status=2) == []
        assert f"name the photos: make {target} PHOTOS=" in make.output
    for wrong in "SEEDS=0", "SEEDS=many", "SEED=x":
        make("reproduce", wrong, status=2)
        assert "must be whole numbers" in make.output
    assert len(make("scratch", FAIL="data", status=2)) == 1
    assert make("efficiency", "EXPERIMENT=finetune", status=2) == []
    assert "EXPERIMENT=finetune: must be scratch, bottleneck or best" in make.output
    assert make("scratch", "EPOCH=3", status=2) == []
    assert "no such variable: EPOCH;" in make.output


def test_reproduce_trains_the_seeds_that_are_not_recorded(make):
    def seed(number):
        steps = ("scratch", "bottleneck", "bottleneck", "finetune")
        return [f"{script} --seed {number}" for script in steps]

    def trained(*arguments, **environment):
        found = make("reproduce", *arguments, **environment)
        assert found[-1].startswith("report")
        return [c.split(" --unless")[0] for c in found if "--unless" in c]

    assert trained("SEEDS=2", "SEED=3") == [*seed(3), *seed(4)]
    assert trained("SEEDS=2", "SEED=3", RECORDED="3") == seed(4)
    assert trained(RECORDED="0") == []
    assert any("--epochs 2 --seed 0 --is-recorded" in c for c in make("reproduce", "EPOCHS=2"))
    assert "report" not in make("reproduce", FAIL="finetune", status=2)


def test_app_installs_what_it_needs_once(make):
    install = "-m pip install --disable-pip-version-check -c requirements.txt"
    install += " -r requirements-app.txt"
    assert make("app") == [install, "app"]
    given = {"ARGS": "--port 80", "MODEL": "my model.h5"}
    assert make("app", **given) == ["app --model my model.h5 --port 80"]
    for changed in "requirements-app.txt", ".venv/requirements.txt":  # .venv was made anew
        make.change(changed)
        assert make("app") == [install, "app"]


def test_the_environment_is_made_when_it_is_missing_or_old(make):
    make.change("requirements.txt")
    for _ in range(2):
        make("report", "PYTHON=false", status=2)
        assert "error: false is not Python 3.11" in make.output
        shutil.rmtree(make.folder / ".venv", ignore_errors=True)


def test_a_linked_environment_is_not_emptied(make):
    make.change("requirements.txt")
    elsewhere = (make.folder / ".venv").rename(make.folder / "elsewhere")
    (make.folder / ".venv").symlink_to(elsewhere)
    make("report", "PYTHON=python3", status=2)
    assert "error: .venv is a link" in make.output
    assert (elsewhere / "bin" / "python").exists()


def test_clean_keeps_photos_records_and_what_is_committed(make):
    kept = [
        *("weights/README.md", "weights/runs.jsonl", "weights/bench.json"),
        *("weights/mine/runs.jsonl", "weights/mine/photos.txt"),
        *("data/train/cats/cat.0.jpg", "data/photos.json"),
    ]
    gone = [
        *("weights/best.weights.h5", "weights/bottleneck_features_train.json"),
        *("weights/.listing.json", "weights/checkpoints/scratch-0/state.json"),
        *("weights/.partial-1-first_try.weights.h5", "weights/mine/split/train/a/1.jpg"),
        *("demo/weights/runs.jsonl", "preview/contact_sheet.jpg"),
    ]
    for name in [*kept, *gone]:
        (make.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (make.folder / name).touch()
    (make.folder / "weights/vgg16.h5").symlink_to("weights of somebody who unplugged his disk")
    make("clean")
    assert (make.folder / "weights/vgg16.h5").is_symlink()
    assert all((make.folder / name).exists() for name in kept)
    assert not any((make.folder / name).exists() for name in gone)
    left = {path.name for path in (make.folder / "weights").iterdir()}
    assert left == {"README.md", "runs.jsonl", "bench.json", "vgg16.h5", "mine"}
    assert not (make.folder / "weights/mine/split").exists()
    assert (make.folder / ".venv").exists()
