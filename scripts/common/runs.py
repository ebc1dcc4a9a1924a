"""What the article's scripts do not have: seeds, devices, precision, resuming, records.

An experiment opens a Run once it has its photos, builds its model inside building(), hands
the Run to fit() as a callback, and ends with save().
"""

import contextlib
import hashlib
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

from common import distribution, files, images, made, networks, recipes, records
from common.cli import InputError


def now():
    """The time as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


STARTED = now()  # of the script

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


def describe(experiment, arguments, weights, train_generator, validation_generator):
    """What a record says of a run before its model is known, after decoding every photo once.

    Raises InputError for photos that can't be read, and for broken records in the folder.
    """
    records.read(weights / records.RUNS)  # a broken one is better found now than at the end
    listed = made.listing(Path(train_generator.directory).parent)  # before the photos are read
    data = images.describe(train_generator, validation_generator)
    digests = [data[split]["sha256"] for split in ("train", "validation")]
    made.note(listed, weights, digests)
    return {
        "experiment": experiment,
        "recipe": arguments.recipe,
        "seed": arguments.seed,
        "epochs": arguments.epochs,
        "batch_size": arguments.batch_size,
        "precision": keras.config.dtype_policy().name,
        **train_generator.settings,
        "class_indices": train_generator.class_indices,
        "data": data,
        **images.imbalance(validation_generator),
        "made_with": made.made_with(experiment, arguments, weights, digests),
    }


def begin(settings, model):
    """A run that begins now: its settings with the model's, a name for all such runs, its state.

    Other code is not another setting: an interrupted run resumes, and names both commits.
    """
    settings = settings | {
        "optimizer": model.optimizer.get_config() if model.compiled else None,
        "model_sha256": hashlib.sha256(model.to_json().encode()).hexdigest(),
    }
    decisive = {name: value for name, value in settings.items() if name != "made_with"}
    text = json.dumps([decisive, made.versions()], sort_keys=True)
    name = f"{settings['experiment']}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    run = f"{name}-{os.urandom(4).hex()}"
    state = {"run": run, "started": STARTED, "commit": commit()}
    return settings, name, state | {"seconds_per_epoch": [], "history": {}}


class Run(keras.callbacks.Callback):
    """One training: seeds every epoch, keeps the last completed one, and is recorded at its end.

    keras.callbacks.BackupAndRestore is not enough here: it forgets the history,
    it does not restore the random state, and a kill between its two files makes
    it train an epoch twice. Here the state is one small file that names the
    weights it belongs to, and it is replaced in one step.

    settings: what the record says of the run; an experiment adds what it knows before fit().

    Two runs with the same settings, model and package versions are the same run, so
    an interrupted one is found again by them.
    """

    def __init__(self, experiment, arguments, weights, train_generator, validation_generator):
        super().__init__()
        self.strategy = distribution.strategy(arguments, train_generator.n, validation_generator.n)
        self.is_chief = distribution.is_chief(self.strategy)
        set_precision(arguments.precision)
        self.settings = {
            **describe(experiment, arguments, weights, train_generator, validation_generator),
            **recipes.loss_clipped(arguments.recipe),
            **distribution.describe(self.strategy),
        }
        self.weights_folder = weights

    @contextlib.contextmanager
    def building(self):
        """In here the model is built and compiled: from the run's seed, for its devices."""
        keras.utils.set_random_seed(self.settings["seed"])
        with self.strategy.scope():
            yield

    def resume(self, model, train_generator):
        """Load the last completed epoch into the model, if there is one.

        model: compiled. train_generator: its order is drawn anew at the start of every epoch.
        Returns the number of epochs done: fit()'s initial_epoch. Raises InputError for a
        broken checkpoint, and where other workers have another run or another checkpoint.
        """
        self.set_model(model)
        self.train_generator = train_generator
        self.settings, name, self.state = begin(self.settings, model)
        self.checkpoint = self.weights_folder / "checkpoints" / name
        machine = hardware()
        devices = ", ".join(machine["gpus"]) or "no GPU found"
        if machine["gpus"]:  # nothing moves on the terminal meanwhile
            devices += "; the first step is compiled for a minute or so"
        print(f"Running on {machine['processor']}, {machine['cores']} cores; {devices}")
        path = self.checkpoint / "state.json"
        found = f"{name} {path.read_text() if path.exists() else ''}"
        if not distribution.all_equal(self.strategy, found):
            raise InputError(
                "the workers differ in their settings, photos, package versions or checkpoints; "
                "start all with the same options and a weights folder that they share"
            )
        try:
            state = json.loads(path.read_text())
            done = len(state["seconds_per_epoch"])
            # An optimizer gets its variables at the first step; unbuilt, it would skip its part.
            with self.strategy.scope():
                model.optimizer.build(model.trainable_variables)
            with warnings.catch_warnings(action="error", category=UserWarning):
                model.load_weights(self.checkpoint / state["weights"])
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
        seconds = time.perf_counter() - self.epoch_started
        self.state["seconds_per_epoch"].append(round(seconds, 2))
        for name, value in logs.items():
            self.state["history"].setdefault(name, []).append(number(value))
        if not self.is_chief:
            return
        self.checkpoint.mkdir(parents=True, exist_ok=True)
        previous = self.state.get("weights")
        self.state["weights"] = f"epoch-{epoch + 1}.weights.h5"
        networks.save_weights(self.model, self.checkpoint / self.state["weights"])
        files.write_json(self.checkpoint / "state.json", self.state)
        if previous:
            (self.checkpoint / previous).unlink(missing_ok=True)

    def save(self, name, validation_data, model=None):
        """Record the run, save the model under `name`, and print the result.

        validation_data: what predict() takes, in the order of the folder. model: the one to
        save, where that which was trained is only a part of it. The checkpoint goes last:
        whenever the end is cut short, the next start of the same run completes it.
        """
        answers = self.model.predict(validation_data, verbose=0)
        if not self.is_chief:  # the chief needed its help until here
            print("The chief writes model and record.")
            return
        self.state.pop("weights")  # the checkpoint's
        save(model or self.model, self.weights_folder / name, self.settings, self.state, answers)
        (self.checkpoint / "state.json").unlink()  # first: without its weights it would start anew
        shutil.rmtree(self.checkpoint)


def save(model, path, settings, state, answers):
    """Save a model with its record, add that to the file of records, and print the result.

    answers: to the validation photos, as predict() returns them. In a record they are the
    probabilities of class 1, or for more than two classes of each.
    """
    answers = [[number(round(p, 6)) for p in answer] for answer in answers.astype(float)]
    record = {
        **settings,
        **state,
        "finished": now(),
        "versions": made.versions(),
        "hardware": hardware(),
        "val_accuracy": state["history"]["val_accuracy"][-1],
        "val_probabilities": [a[0] for a in answers] if len(answers[0]) == 1 else answers,
    }
    networks.save_model(model, path, record)
    trained = f" after epoch {settings['epochs']}" if settings["optimizer"] else ""
    photos = settings["data"]["validation"]["photos"]
    print(f"Validation accuracy{trained}: {record['val_accuracy']:.4f} ({photos} photos)")
    if "majority_accuracy" in record:
        counts = record["validation_photos"]
        listed = ", ".join(f"{count} ({name})" for name, count in counts.items())
        print(
            f"Baseline: always predicting {max(counts, key=counts.get)} scores "
            f"{record['majority_accuracy']:.4f}; photos of each class: {listed}."
        )
    print(f"Model: {_short(path)}   Record: {_short(path.parent / records.RUNS)}")


def number(value):
    """A metric as JSON has it: null where it is not finite."""
    return float(value) if np.isfinite(value) else None


def _short(path):
    """The path as the reader would type it."""
    path = path.resolve()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


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
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            processor = line.split(":", 1)[1].strip()
            break
    return {"processor": processor, "cores": cores, "gpus": gpus}
