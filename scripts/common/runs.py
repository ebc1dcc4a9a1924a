"""What the three experiments share around fit(): settings, resuming, saved models, records."""

import hashlib
import importlib.metadata
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from common import distribution, files, networks, records
from common.cli import InputError

PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "pillow", "h5py")


def _now():
    return datetime.now(UTC).isoformat(timespec="seconds")


STARTED = _now()  # of the script

# A bar that moves on a terminal, one line an epoch in a log file.
VERBOSE = 1 if sys.stdout.isatty() else 2


def fastest_precision():
    """The Keras dtype policy for this machine: bfloat16 where its processor multiplies in it.

    That is, NVIDIA GPUs since Ampere (compute capability 8.0), and x86 processors with
    AVX512-BF16 or AMX. Elsewhere bfloat16 is emulated, and slow.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        fast = details.get("compute_capability", (0, 0)) >= (8, 0)
    else:
        cpuinfo = Path("/proc/cpuinfo")
        flags = cpuinfo.read_text().split() if cpuinfo.exists() else []
        fast = "avx512_bf16" in flags or "amx_bf16" in flags
    return "mixed_bfloat16" if fast else "float32"


def set_precision(given):
    """Have Keras compute in this dtype policy, in the fastest for None. Returns its name."""
    precision = given or fastest_precision()
    keras.config.set_dtype_policy(precision)
    return precision


class Run(keras.callbacks.Callback):
    """One training: seeds every epoch, keeps the last whole one, and is recorded at its end.

    keras.callbacks.BackupAndRestore is not enough here: it forgets the history,
    it does not restore the random state, and a kill between its two files makes
    it train an epoch twice. Here the state is one small file that names the
    weights it belongs to, and it is replaced in one step.

    settings: what decides the outcome beside the arguments and the model; JSON values.
    arguments: of parsers.experiment().
    model: compiled. train_generator: its order is drawn anew at the start of every epoch.

    Two runs with the same settings, model and package versions are the same run, so
    an interrupted one is found again by them.
    """

    def __init__(self, settings, arguments, model, train_generator):
        super().__init__()
        self.set_model(model)
        self.strategy = model.distribute_strategy
        self.is_chief = distribution.is_chief(self.strategy)
        photos = {split: settings["data"][split]["photos"] for split in ("train", "validation")}
        distribution.check_shares(photos["train"], "the {} to train on", self.strategy)
        distribution.check_last_batch(photos["validation"], arguments.batch_size, self.strategy)
        self.settings = {
            "experiment": settings["experiment"],
            "recipe": arguments.recipe,
            "seed": arguments.seed,
            "epochs": arguments.epochs,
            "batch_size": arguments.batch_size,
            "precision": keras.config.dtype_policy().name,
            **settings,
            **distribution.describe(self.strategy),
            "optimizer": model.optimizer.get_config() if model.compiled else None,
            "model_sha256": hashlib.sha256(model.to_json().encode()).hexdigest(),
        }
        self.versions = versions()
        self.weights_folder = arguments.weights
        self.records = arguments.weights / "runs.jsonl"
        records.read(self.records)  # a broken one is better found now than at the end
        self.train_generator = train_generator
        self.hardware = hardware()
        text = json.dumps([self.settings, self.versions], sort_keys=True)
        name = f"{settings['experiment']}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        self.checkpoint = arguments.weights / "checkpoints" / name
        self.state = {
            "run": f"{name}-{os.urandom(4).hex()}",
            "started": STARTED,
            "commit": commit(),
            "weights": None,
            "seconds_per_epoch": [],
            "history": {},
        }

    def resume(self):
        """Load the last whole epoch into the model, if there is one.

        Returns the number of epochs done: fit()'s initial_epoch. Raises InputError for a
        broken checkpoint, and where other workers have another run or another checkpoint.
        """
        devices = ", ".join(self.hardware["gpus"]) or "no GPU found"
        print(f"Running on {self.hardware['processor']}, {self.hardware['cores']} cores; {devices}")
        path = self.checkpoint / "state.json"
        found = f"{self.checkpoint.name} {path.read_text() if path.exists() else ''}"
        if not distribution.all_equal(self.strategy, found):
            raise InputError(
                "the workers differ in their settings, photos, package versions or checkpoints; "
                "start all with the same options and a weights folder that they share"
            )
        try:
            state = json.loads(path.read_text())
            done = len(state["seconds_per_epoch"])
            if self.model.compiled:
                # An optimizer gets its variables at the first step; unbuilt, it would skip its
                # part.
                with self.strategy.scope():
                    self.model.optimizer.build(self.model.trainable_variables)
                with warnings.catch_warnings(action="error", category=UserWarning):
                    self.model.load_weights(self.checkpoint / state["weights"])
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError, UserWarning) as error:
            raise InputError(
                f"{self.checkpoint}: can't resume from there ({error}); delete that folder "
                "to start the training again"
            ) from error
        if state["commit"] != self.state["commit"]:
            state["commit"] = f"{state['commit']}, then {self.state['commit']}"
        self.state = state
        print(f"Resuming after epoch {done} of {self.settings['epochs']}.")
        return done

    def on_epoch_begin(self, epoch, logs=None):
        # Each epoch's randomness depends on the seed and the epoch alone, so it makes
        # no difference whether the epochs before it ran in this process.
        dropout_states = [v for v in self.model.variables if v.name == "seed_generator_state"]
        numpy_seed, python_seed, *dropout_seeds = np.random.SeedSequence(
            [self.settings["seed"], epoch]
        ).generate_state(2 + len(dropout_states))
        np.random.seed(numpy_seed)  # ImageDataGenerator draws from NumPy's global generator,
        random.seed(int(python_seed))  # fit() shuffles the batches with Python's,
        for state, seed in zip(dropout_states, dropout_seeds, strict=True):
            state.assign([seed, 0])  # and Dropout has its own, which save_weights() leaves out.
        self.train_generator.on_epoch_end()  # draws a new order
        self.epoch_started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.keep(time.perf_counter() - self.epoch_started, logs)

    def keep(self, seconds, logs):
        """Note an epoch's time and its metrics, {name: value}, and keep the run as it is now."""
        self.state["seconds_per_epoch"].append(round(seconds, 2))
        for name, value in logs.items():
            self.state["history"].setdefault(name, []).append(_number(value))
        if not self.is_chief:
            return
        self.checkpoint.mkdir(parents=True, exist_ok=True)
        previous = self.state["weights"]
        if self.model.compiled:  # else it takes one step, and is trained again
            epoch = len(self.state["seconds_per_epoch"])
            self.state["weights"] = f"epoch-{epoch}.weights.h5"
            memory = networks.InMemory()
            self.model.save_weights(memory)  # with the optimizer's state
            networks.write(self.checkpoint / self.state["weights"], memory)
        files.write_json(self.checkpoint / "state.json", self.state)
        if previous:
            (self.checkpoint / previous).unlink(missing_ok=True)

    def finish(self, name, validation_data, model=None):
        """Record the run, save the model under `name`, and tell the result.

        validation_data: what predict() takes; its probabilities of class 1, or of each of
        more than two, are recorded, in the order of the folder. model: the one to save, where
        that which was trained is only a part of it.
        In this order, so that make, which looks for the model, knows whether there is a
        record. The checkpoint goes last: whenever the end is cut short, the next start of the
        same run makes it complete.
        """
        history = self.state["history"]
        answers = [
            [_number(round(p, 6)) for p in answer]
            for answer in self.model.predict(validation_data, verbose=0).astype(float)
        ]
        if not self.is_chief:  # the chief needed its help until here
            print("The chief writes model and record.")
            return
        record = {
            "run": self.state["run"],
            **self.settings,
            "started": self.state["started"],
            "finished": _now(),
            "commit": self.state["commit"],
            "versions": self.versions,
            "hardware": self.hardware,
            "seconds_per_epoch": self.state["seconds_per_epoch"],
            "history": history,
            "val_accuracy": history["val_accuracy"][-1],
            "val_probabilities": [a[0] for a in answers] if len(answers[0]) == 1 else answers,
        }
        if record["run"] not in {old["run"] for old in records.read(self.records)}:
            records.append(self.records, record)
        networks.save_model(model or self.model, self.weights_folder / name, record)
        (self.checkpoint / "state.json").unlink()  # first: without its weights it would start anew
        shutil.rmtree(self.checkpoint)
        majority = ""
        if "majority_accuracy" in record:
            counts = record["validation_photos"]
            majority = (
                f"\nTo compare: who always says {max(counts, key=counts.get)} has "
                f"{record['majority_accuracy']:.4f}; the classes have {_listed(counts)} photos."
            )
        trained = f" after epoch {self.settings['epochs']}" if self.model.compiled else ""
        print(
            f"Validation accuracy{trained}: "
            f"{record['val_accuracy']:.4f} ({self.settings['data']['validation']['photos']} photos)"
            f"{majority}\n"
            f"Model: {_short(self.weights_folder / name)}   Record: {_short(self.records)}"
        )


def _number(value):
    """A metric as JSON has it: null where it is not finite."""
    return float(value) if np.isfinite(value) else None


def _listed(counts):
    return ", ".join(f"{count} ({name})" for name, count in counts.items())


def _short(path):
    """The path as the reader would type it."""
    path = Path(path).resolve()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def versions():
    """{package: version} of Python and of the packages that decide the outcome of a run."""
    return {"python": platform.python_version()} | {
        package: importlib.metadata.version(package) for package in PACKAGES
    }


def commit():
    """The commit of the code that runs, "…-dirty" if it was changed; None outside of git."""
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", files.ROOT, *command], capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (
                ["rev-parse", "--short=12", "HEAD"],
                ["status", "--porcelain", "--", "scripts", "requirements.txt"],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-dirty" if changes else commit


def hardware():
    """The processor, as many of its cores as this process may use, and the GPUs, for a record."""
    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": _processor(), "cores": cores, "gpus": gpus}


def _processor():
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
