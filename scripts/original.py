"""The article's experiments in Keras 1.0.4 itself, on Theano and Python 2.7, as in June 2016.

Sets up .venv-2016/ with the packages of the time and runs scripts/original/train.py, written
from the article, on the article's photos. scratch and bottleneck are trained in full, the
latter on the float32 features that bottleneck.py has left in weights/; features compares 32
photos' features with those of Theano's VGG16; step times a few of fine-tuning's steps.
finetune itself, a night or more, runs only if named. Each run adds a line to
weights/original.jsonl. scratch takes most of an hour per seed. Interrupted, training on photos
resumes after its last completed epoch when you rerun the command. Needs Python 2.7, g++, and
Debian's libopenblas-dev, libjpeg-dev and zlib1g-dev.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from common import cli, files, fingerprints, folders, parsers, recipes, records
from common.cli import InputError

HERE = files.ROOT / "scripts" / "original"
VENV = files.ROOT / ".venv-2016"
VIRTUALENV = "virtualenv==20.15.1"  # the last that makes environments of Python 2.7
PACKAGES = ("Keras", "Theano", "numpy", "scipy", "Pillow", "h5py")
COUNTS = {"features": 32, "step": 4}  # photos to compare, steps to time
EXPERIMENTS = ("features", "bottleneck", "step", "scratch", "finetune")


def parse(argv=None):
    """The command line's options, or those of `argv`."""
    parser = cli.ArgumentParser(__doc__)
    parser.add_argument(
        "experiments",
        nargs="*",
        default=EXPERIMENTS[:-1],
        metavar="EXPERIMENT",
        help=f"of {', '.join(EXPERIMENTS)} (default: all but finetune)",
    )
    parser.add_argument(
        "--seeds",
        type=cli.not_negative_whole,
        default=1,
        metavar="N",
        help="how many, from --seed on; 0: only set up",
    )
    parser.add_argument("--seed", type=cli.seed, default=0, metavar="N", help="the first (0)")
    parser.add_argument("--epochs", type=cli.positive, default=50, metavar="N", help="(50)")
    where = "where bottleneck.py's features are, and original.jsonl goes"
    parsers.add_folders(parser, "the article's photos", where)
    parsers.add_vgg16(parser)
    parser.add_argument("--python27", default="python2.7", metavar="FILE", help="(python2.7)")
    arguments = parser.parse_args(argv)
    for name in arguments.experiments:
        if name not in EXPERIMENTS:
            raise InputError(f"{name}: no such experiment; there are {', '.join(EXPERIMENTS)}")
    for folder in arguments.data, arguments.data / "train", arguments.data / "validation":
        if arguments.seeds and not folder.is_dir():
            raise InputError(f"{folder}: no such folder; run `make data`")
    if shutil.which(arguments.python27) is None:
        raise InputError(
            f"{arguments.python27}: no such program; name a Python 2.7: make PYTHON27=..."
        )
    return arguments


def environment():
    """The variables that the packages of 2016 need, and none that today's set."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "LANG", "SSL_CERT_FILE")
        or name.lower().endswith("_proxy")
        or name.startswith("PIP_")
    } | {
        "HOME": str(VENV / "home"),
        "KERAS_BACKEND": "theano",
        # A second thread makes a step of scratch slower: 0.82 s instead of 0.71 s on a Xeon.
        "OMP_NUM_THREADS": "1",
        "PIP_CONSTRAINT": "",
    }


def set_up(python27):
    """Make .venv-2016/, complete or not at all."""
    done = VENV / "requirements.txt"  # copied last
    if done.exists() and done.read_bytes() == (HERE / "requirements.txt").read_bytes():
        return
    shutil.rmtree(VENV, ignore_errors=True)
    with tempfile.TemporaryDirectory() as tool:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--target", tool, VIRTUALENV]
        call(pip, {**os.environ, "PIP_CONSTRAINT": ""})
        python = shutil.which(python27)
        make = [sys.executable, "-m", "virtualenv", "-q", "-p", python, VENV]
        call(make, {**os.environ, "PYTHONPATH": tool})
    (VENV / "home").mkdir()
    shutil.copy(HERE / "theanorc", VENV / "home" / ".theanorc")
    pip = [VENV / "bin" / "pip", "install", "-q"]
    numpy = (HERE / "requirements.txt").read_text().split("\n")[1]
    call([*pip, numpy], environment())  # others are built with it
    call([*pip, "-r", HERE / "requirements.txt"], environment())
    shutil.copy(HERE / "requirements.txt", done)


def call(command, variables):
    """Run a command that must succeed."""
    if subprocess.run([str(part) for part in command], env=variables).returncode:
        raise InputError(f"{Path(command[0]).name} failed, see above; fix it and run this again")


def check_features(folder, photos):
    """What the record of bottleneck.py's features says of them.

    Raises InputError unless they are float32 features of these photos, prepared as in 2016.
    """
    expected = {
        "precision": "float32",
        "preprocessing": recipes.preprocessing("faithful"),
        "vgg16_weights": "imagenet",
    }
    sources = {}
    for split in "train", "validation":
        path = folder / f"bottleneck_features_{split}.json"
        source = sources[split] = json.loads(path.read_text()) if path.exists() else {}
        digest = source.get("photos", {}).get("sha256")
        if not expected.items() <= source.items() or digest != photos[split]["sha256"]:
            raise InputError(
                f"{path}: not ImageNet's VGG16 of these photos in float32 and prepared as in 2016; "
                "run `make bottleneck PRECISION=float32`"
            )
    names = ("vgg16_weights", "vgg16_sha256", "preprocessing", "versions")
    return {name: sources["train"][name] for name in names}


def vgg16_for_theano(weights, folder, features):
    """Write VGG16's tensors as train.py expects them; returns the file. Raises InputError."""
    from common import vgg16  # not above: it imports TensorFlow

    base, _ = vgg16.load(weights, folder, (150, 150), (folder, features))
    # Theano's kernels are (out, in, rows, columns), and its convolution flips them.
    tensors = [
        tensor.transpose(3, 2, 0, 1)[:, :, ::-1, ::-1] if tensor.ndim == 4 else tensor
        for tensor in base.get_weights()
    ]
    np.savez(VENV / "vgg16.npz", *tensors)
    return VENV / "vgg16.npz"


def main(arguments):
    """Run the script with the options that parse() returned."""
    set_up(arguments.python27)
    if not arguments.seeds:
        return
    from common import backend  # noqa: F401  not above: it imports TensorFlow
    from common import runs

    weights = arguments.weights or folders.default_weights(arguments.data)
    files.make_writable_folder(weights)
    photos, manifest = {}, fingerprints.read_manifest()
    for split in "train", "validation":
        folder = arguments.data / split
        paths = files.photos_of_classes(folder)
        names = [path.relative_to(folder).as_posix() for path in paths]
        photos[split] = fingerprints.describe(names, files.photo_digests(paths))
        if photos[split]["sha256"] != fingerprints.manifest_digest(manifest, split):
            raise InputError(f"{folder}: not the article's photos; run `make data`")
    pip = [VENV / "bin" / "pip", "freeze"]
    listed = subprocess.run(pip, env=environment(), capture_output=True, text=True).stdout
    versions = dict(line.split("==") for line in listed.split() if line.startswith(PACKAGES))
    code = hashlib.sha256((HERE / "train.py").read_bytes()).hexdigest()[:12]
    for experiment in arguments.experiments:
        seeds = 1 if experiment in COUNTS else arguments.seeds
        for seed in range(arguments.seed, arguments.seed + seeds):
            count = COUNTS.get(experiment, arguments.epochs)
            run = {"experiment": experiment, "seed": seed, "epochs": count, "data": photos}
            if experiment != "scratch":
                run["features"] = check_features(weights, photos)
            known = records.read(weights / "original.jsonl")
            if any(run.items() <= record.items() for record in known):
                continue
            output = VENV / f"{experiment}-{seed}-{count}-{code}.json"
            if not output.exists():  # else it was interrupted before it was recorded
                stored = weights.resolve()
                source = stored if experiment == "bottleneck" else arguments.data.resolve()
                command = [VENV / "bin" / "python", HERE / "train.py", experiment, source]
                command += [output, seed, count]
                if experiment not in ("bottleneck", "scratch"):
                    file = vgg16_for_theano(arguments.vgg16_weights, stored, run["features"])
                    command += [stored, file]
                call(command, environment())
            record = json.loads(output.read_text()) | run
            record |= {
                "finished": runs.now(),
                "commit": runs.commit(),
                "versions": {"python": "2.7", **versions},
                "hardware": runs.hardware(),
            }
            if "val_acc" in record["history"]:
                record["val_accuracy"] = record["history"]["val_acc"][-1]
            records.append(weights / "original.jsonl", record)
            output.unlink()


if __name__ == "__main__":
    cli.run(lambda: main(parse()))
