"""Drawings as test photos, and scripts run as a user would, but in this process."""

import contextlib
import functools
import gc
import importlib
import json
import resource
import shutil
import subprocess
import sys
import types
import zipfile
from pathlib import Path

from common import backend  # noqa: F401  first, it sets Keras up
import h5py
import keras
import pytest

del sys.modules["bottleneck"]  # which common keeps from pandas

import best
import bottleneck
import draw
import finetune
import scratch
import small
from common import cli, files, fingerprints, folders, keras2016, kernel, parts
from common.records import RUNS

SMALL = small.SIZE
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
SCRIPTS = files.ROOT / "scripts"
MANIFEST = fingerprints.read_manifest()
MODELS = {
    scratch: "first_try.weights.h5",
    bottleneck: "bottleneck_fc_model.weights.h5",
    finetune: "fine_tuned.weights.h5",
    best: "best.weights.h5",
}
EXPERIMENTS = (scratch, bottleneck, finetune)
SIZES = {script: script.IMAGE_SIZE for script in EXPERIMENTS}  # the article's
# What the models of Workplace.after() are trained with. 20 photos make batches of 8, 8 and 4.
SETTINGS = ("--epochs", 4, "--batch-size", 8, "--seed", 3)


@pytest.fixture(autouse=True)
def keras_defaults():
    """Scripts set precision and pooling for their process; each test starts with the defaults."""
    keras.config.set_dtype_policy("float32")
    keras2016.set_pooling("as-printed")


@pytest.fixture(scope="session", autouse=True)
def small_experiments():
    """The article's experiments on SMALL photos with a small VGG16."""
    small.shrink(*EXPERIMENTS, kernel)


@pytest.fixture
def whole_vgg16(monkeypatch):
    """VGG16 and the article's experiments as they are."""
    monkeypatch.setattr(keras.applications, "VGG16", small.VGG16)
    for script, size in SIZES.items():
        monkeypatch.setattr(script, "IMAGE_SIZE", size)
    yield
    gc.collect()  # 60 MB each


@pytest.fixture(scope="session")
def drawings(tmp_path_factory):
    """A data folder with 20 drawings to train on and 12 to validate on."""
    folder = tmp_path_factory.mktemp("drawings") / "data"
    draw.draw_data_set(folder, {"train": 10, "validation": 6}, seed=0)
    return folder


@pytest.fixture
def data(drawings, tmp_path):
    """A copy of the drawings, to be changed."""
    return shutil.copytree(drawings, tmp_path / "data")


@pytest.fixture
def scripts_in_this_process():
    """Run in this process what crossval.py and efficiency.py start as processes: faster."""

    def run(command):
        script = importlib.import_module(Path(command[1]).stem)
        small.start(script, command[2:])
        return subprocess.CompletedProcess(command, 0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "subprocess", types.SimpleNamespace(run=run))
        yield patch


ARTICLES = {
    split: {"photos": count, "sha256": fingerprints.manifest_digest(MANIFEST, split)}
    for split, count in {"train": 2000, "validation": 800}.items()
}


def example(experiment, accuracy, seed=0, **more):
    """A record of a run on the article's photos."""
    epochs = more.get("epochs", 50)
    curve = [0.5] * (epochs - 1) + [accuracy]
    if experiment in ("scratch", "finetune") and more.get("recipe", "faithful") == "faithful":
        more = {"pooling_gradient": "to all maxima", **more}
    return {
        "experiment": experiment,
        "recipe": "faithful",
        "seed": seed,
        "epochs": epochs,
        "batch_size": 32,
        "image_size": [150, 150],
        "class_indices": {"cats": 0, "dogs": 1},
        "data": ARTICLES,
        "hardware": {"processor": "a processor", "cores": 2, "gpus": []},
        "seconds_per_epoch": [9.0, *[2.0] * (epochs - 1)],
        "history": {"val_accuracy": curve},
        "val_accuracy": accuracy,
        "commit": "0123456789ab",
        **more,
    }


class Workplace:
    """A user's folders. run() starts a script in them; error() one that must refuse."""

    def __init__(self, folder, data, monkeypatch, capsys=None, train_once=None):
        self.weights, self.data = folder / "weights", data
        self.monkeypatch, self.capsys, self.train_once = monkeypatch, capsys, train_once

    @property
    def folders(self):
        """As options, for a script that starter() runs."""
        return ["--data", self.data, "--weights", self.weights]

    def status(self, script, *options):
        """Run a script's main() as its command line would, and return its exit status."""
        arguments = self.folders
        if "--precision" not in options:  # the same on every processor
            arguments += ["--precision", "float32"]
        if script in (bottleneck, finetune, best) and "--vgg16-weights" not in options:
            arguments += ["--vgg16-weights", "random"]
        command = [f"{script.__name__}.py", *map(str, [*arguments, *options])]
        self.monkeypatch.setattr(sys, "argv", command)
        keras.utils.clear_session()  # layers are named and numbered as in a process of their own
        try:
            cli.run(lambda: small.start(script))
        except SystemExit as stop:
            return stop.code or 0
        finally:  # as at the end of a process of its own
            for lock in folders._locked.values():
                lock.close()
            folders._locked.clear()
        return 0

    def run(self, script, *options):
        """Run a script that must succeed; its record."""
        assert self.status(script, *options) == 0
        return self.records()[-1]

    def after(self, *scripts):
        """Have these scripts' outputs as after runs with SETTINGS; the last one's record.

        finetune comes with bottleneck's outputs and record.
        """
        for script in scripts:
            there = self.train_once(script)
            shutil.copytree(there, self.weights, ignore=lambda *_: [RUNS], dirs_exist_ok=True)
            with open(self.weights / RUNS, "a") as file:
                file.write((there / RUNS).read_text())
        (self.weights / folders.NOTE).write_text(f"{self.data}\n")  # a copy of the drawings perhaps
        self.capsys.readouterr()
        return self.records()[-1]

    def error(self, script, *options):
        """Run a script that must refuse with one line and status 2; that line."""
        self.capsys.readouterr()
        assert self.status(script, *options) == 2
        lines = self.capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    def records(self):
        return [json.loads(line) for line in (self.weights / RUNS).read_text().splitlines()]


@pytest.fixture(scope="session")
def train_once(tmp_path_factory, drawings):
    """Called with a script, the weights folder after its run with SETTINGS; not to be changed."""

    @functools.cache
    def train(script):
        folder = tmp_path_factory.mktemp(script.__name__)
        if script is finetune:
            shutil.copytree(train(bottleneck), folder / "weights")
        with pytest.MonkeyPatch.context() as patch:
            there = Workplace(folder, drawings, patch)
            there.run(script, *([] if script is best else SETTINGS))
        return there.weights

    return train


@pytest.fixture
def workplace(tmp_path, drawings, monkeypatch, capsys, train_once):
    return Workplace(tmp_path, drawings, monkeypatch, capsys, train_once)


def stored_model(path):
    """The model in a file, with its weights, and its record, as weights/README.md has it."""
    with h5py.File(path) as file:
        model = keras.models.model_from_json(file["about/architecture"][()])
        record = json.loads(file["about/record"][()])
    model.load_weights(path)
    return model, record


def interrupt(*_, **__):
    """Ctrl-C, to stand in for a function."""
    raise KeyboardInterrupt


# A process that imports TensorFlow once and forks for each script. It reads a JSON object per
# line: code, argv, environment, output, and seconds, after which the script is killed.
STARTER = f"""
import json, os, signal, sys, time
sys.path[:0] = {[str(SCRIPTS), str(Path(__file__).parent)]!r}
from common import backend, cli, images, kernel, networks, runs, transform
del sys.modules["bottleneck"]
import best, bottleneck, finetune, predict, scratch, small
small.shrink(bottleneck, finetune, kernel, scratch)
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        break
    started = time.monotonic()
    while not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if time.monotonic() - started > job["seconds"]:
            os.kill(child, signal.SIGKILL)
            break
        time.sleep(0.002)
    _, status = os.waitpid(child, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), time.monotonic() - started]), flush=True)
else:
    sys.exit()
os.setsid()
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.dup2(output, 1)
os.dup2(output, 2)
os.environ |= job["environment"]
sys.argv = job["argv"]
script = globals()[sys.argv[0].removesuffix(".py")]
exec(job["code"])
cli.run(lambda: small.start(script))
"""


@pytest.fixture(scope="session")
def starter(tmp_path_factory):
    """Run a small script in a process of its own: its exit status, seconds, and output.

    Call it with the script's name and options. code: Python to run first, with the scripts' names
    and `script`, this one. seconds: after which it is killed.
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", STARTER], **pipes)
    output = tmp_path_factory.mktemp("starter") / "output"

    def start(script, *options, code="", seconds=60, **environment):
        argv = [f"{script}.py", *map(str, options)]
        job = {"code": code, "argv": argv, "environment": environment, "seconds": seconds}
        process.stdin.write(json.dumps({**job, "output": str(output)}) + "\n")
        process.stdin.flush()
        status, took = json.loads(process.stdout.readline())
        return status, took, output.read_text(errors="replace")

    yield start
    process.stdin.close()
    assert process.wait(10) == 0


@contextlib.contextmanager
def full_disk(room):
    """Limit files to `room` bytes: writing beyond fails as on a full disk."""
    limit, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))


def write_zip(path, files):
    """A zip archive of {name: bytes}."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def pytest_addoption(parser):
    parser.addoption("--write", action="store_true", help="see tests/test_commands.py")
