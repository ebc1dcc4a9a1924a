"""Drawings to test on, and scripts run as a user would, but in this process."""

import contextlib
import json
import resource
import sys
import zipfile

import backend  # noqa: F401  first, it sets Keras up
import best
import bottleneck
import cli
import draw
import finetune
import folders
import keras
import pytest
import scratch

SMALL = (48, 48)  # VGG16 needs 32; ten times as fast as the article's 150


@pytest.fixture(autouse=True)
def float32():
    """Scripts set the policy of their precision; each test starts with Keras's default."""
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def drawings(tmp_path_factory):
    """A data folder with 20 drawings to train on, not a multiple of the batch size, and 12 more."""
    folder = tmp_path_factory.mktemp("drawings") / "data"
    draw.draw_data_set(folder, {"train": 10, "validation": 6}, seed=0)
    return folder


@pytest.fixture
def data(drawings, tmp_path):
    """A copy of the drawings, to spoil."""
    for path in drawings.rglob("*.jpg"):
        copy = tmp_path / "data" / path.relative_to(drawings)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return tmp_path / "data"


@pytest.fixture
def small(monkeypatch):
    """The experiments at SMALL size."""
    for script in scratch, bottleneck, finetune:
        monkeypatch.setattr(script, "IMAGE_SIZE", SMALL)


class Workplace:
    """A user's folders. run() starts a script in them; error() one that must refuse."""

    def __init__(self, folder, data, monkeypatch, capsys):
        self.weights, self.results, self.data = folder / "weights", folder / "results", data
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def status(self, script, *options):
        """Run a script's main() as its command line would, and return its exit status."""
        arguments = ["--data", self.data, "--weights", self.weights, "--results", self.results]
        if script in (bottleneck, finetune, best) and "--vgg16-weights" not in options:
            arguments += ["--vgg16-weights", "random"]
        command = [f"{script.__name__}.py", *map(str, [*arguments, *options])]
        self.monkeypatch.setattr(sys, "argv", command)
        keras.utils.clear_session()  # layers are named and numbered as in a process of their own
        try:
            cli.run(script.main)
        except SystemExit as stop:
            return stop.code
        finally:  # as at the end of a process of its own
            for lock in folders._locked.values():
                lock.close()
            folders._locked.clear()
        return 0

    def run(self, script, *options):
        """Run a script that must succeed; its record."""
        assert self.status(script, *options) == 0, self.capsys.readouterr().err
        return self.records()[-1]

    def error(self, script, *options):
        """Run a script that must refuse with one line and status 2; that line."""
        self.capsys.readouterr()
        assert self.status(script, *options) == 2
        lines = self.capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    def records(self):
        lines = (self.results / "runs.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture
def workplace(tmp_path, drawings, small, monkeypatch, capsys):
    return Workplace(tmp_path, drawings, monkeypatch, capsys)


@contextlib.contextmanager
def full_disk(room):
    """No file gets larger than that many bytes: a write beyond fails as on a full disk."""
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
