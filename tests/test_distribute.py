"""Training on several devices does what one device does, and only the chief writes.

The other workers and the second device are processes of their own; both are the CPU's.
"""

import collections
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import bottleneck
from common import distribution
import draw
import finetune
import numpy as np
import pytest
from common import records, tables
import scratch
from conftest import SCRIPTS
from keras import layers

# Before a script: DEVICES, no dropout, or to be killed in epoch KILLED. Says how many photos
# each replica is given in each step.
SETUP = """
import tensorflow as tf
from keras import Model, layers
(cpu,) = tf.config.list_physical_devices("CPU")
devices = [tf.config.LogicalDeviceConfiguration()] * int(os.environ.get("DEVICES", 1))
tf.config.set_logical_device_configuration(cpu, devices)
if "NO_DROPOUT" in os.environ:
    layers.Dropout = lambda rate, dropout=layers.Dropout: dropout(0.0)
step = Model.train_step
def train_step(self, data):
    tf.print("a share of", tf.shape(data[0])[0], output_stream=sys.stdout)
    return step(self, data)
Model.train_step = train_step
begin = runs.Run.on_epoch_begin
def on_epoch_begin(self, epoch, logs=None):
    begin(self, epoch, logs)
    if str(epoch + 1) == os.environ.get("KILLED"):
        os.kill(os.getpid(), signal.SIGKILL)
runs.Run.on_epoch_begin = on_epoch_begin
"""

# A worker is a process of its own from the beginning.
WORKER = f"""
import os, signal, sys
sys.path[:0] = {[str(SCRIPTS), str(Path(__file__).parent)]!r}
from common import backend, cli, runs
import scratch, small
small.shrink(scratch)
{SETUP}
cli.run(lambda: scratch.main(*scratch.parse()))
"""


def start(workplace, *options, **environment):
    """A process that trains scratch.py with --distribute in the workplace's folders."""
    command = [*workplace.folders, "--distribute", *options]
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
    )


def ended(*processes):
    """Their [(exit status, output)], once all have ended; kills them where they do not."""
    try:
        outputs = [process.communicate(timeout=200)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, output) for p, output in zip(processes, outputs, strict=True)]


def train_together(workplace, *options, environments=({}, {}), seeds=(0, 0)):
    """ended() of two workers that train scratch.py, each with its environment and seed."""
    free = [socket.create_server(("127.0.0.1", 0)) for _ in environments]
    addresses = ["{}:{}".format(*port.getsockname()) for port in free]
    for port in free:
        port.close()
    cluster = {"worker": addresses}
    return ended(
        *(
            start(
                workplace,
                *options,
                "--seed",
                seeds[i],
                TF_CONFIG=json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}}),
                **environment,
            )
            for i, environment in enumerate(environments)
        )
    )


@pytest.fixture
def no_dropout(monkeypatch):
    """In this process; the replicas' masks can't be those of one device."""
    dropout = layers.Dropout
    monkeypatch.setattr(layers, "Dropout", lambda rate: dropout(0.0))


def assert_same_step(record, one_device):
    """Of trainings with a single step, up to rounding, since sums are made in another order.

    The loss before the step is a mean, off by some 1e-7 of it. RMSprop's first step divides
    each gradient by its own size, so that a weight whose gradient is nearly 0 may go 0.003 in
    either direction; what the loss after it owes to those is small, but not rounding.
    """
    for name, values in one_device["history"].items():
        tolerance = 1e-3 if name.startswith("val") else 1e-5
        np.testing.assert_allclose(record["history"][name], values, rtol=tolerance, err_msg=name)


def shares(said):
    """{photos that a replica was given: in how many steps}, from what a process said."""
    return collections.Counter(map(int, re.findall(r"a share of (\d+)", said)))


# 20 photos: batches of 8, 8 and 4, in halves; or all in a single step.
SHARED, ONE_STEP = ("--batch-size", 8), ("--batch-size", 20, "--epochs", 1)
FLOAT32 = ("--precision", "float32")  # so that rounding stays small


@pytest.mark.slow
def test_two_workers_train_as_one_device_and_resume_together(workplace, no_dropout):
    no_dropout = {"NO_DROPOUT": "1"}
    one_device = workplace.run(scratch, *ONE_STEP)
    for status, said in train_together(
        workplace, *ONE_STEP, *FLOAT32, environments=(no_dropout, no_dropout)
    ):
        assert status == 0 and shares(said) == {10: 1}, said
    _, together = workplace.records()
    assert together["distributed"] == {
        "strategy": "MultiWorkerMirroredStrategy",
        "replicas": 2,
        "workers": 2,
    }
    assert_same_step(together, one_device)

    options = (*SHARED, *FLOAT32, "--epochs", 4)
    (status, _), (other, said) = train_together(
        workplace, *options, environments=({"KILLED": "3"}, {})
    )
    assert (status, other) == (-signal.SIGKILL, 2), said
    assert "another worker has stopped" in said.splitlines()[-1]
    assert workplace.records() == [one_device, together]

    results = train_together(workplace, *options)
    for status, said in results:
        assert status == 0, said
        assert "Resuming after epoch 2 of 4" in said
        assert shares(said) == {4: 4, 2: 2}  # in two epochs
    assert "Record:" in results[0][1] and "Record:" not in results[1][1]
    assert len(workplace.records()) == 3
    left = {path.name for path in workplace.weights.rglob("*")}
    assert left == {
        "checkpoints",
        "first_try.weights.h5",
        "photos.txt",
        "runs.jsonl",
        ".lock",
        ".listing.json",
    }


@pytest.mark.slow
def test_two_workers_end_among_the_seeds_of_one_device(workplace, tmp_path):
    """With dropout, as a user runs it.

    Too coarse for gradients that are not averaged; the training without dropout shows those.
    """
    workplace.data = tmp_path / "more"
    draw.draw_data_set(workplace.data, {"train": 100, "validation": 50}, seed=0)
    options = ("--epochs", 8, "--batch-size", 20, "--precision", "float32")
    for status, said in train_together(workplace, *options):
        assert status == 0, said
    (record,) = workplace.records()
    seeds = [workplace.run(scratch, *options, "--seed", seed) for seed in range(3)]
    for metric in "loss", "val_loss", "val_accuracy":
        values = [run["history"][metric][-1] for run in seeds]
        width = max(values) - min(values)
        result = record["history"][metric][-1]
        assert min(values) - width <= result <= max(values) + width, (metric, result, values)


@pytest.mark.slow
def test_workers_with_other_settings_refuse(workplace):
    for status, said in train_together(workplace, *SHARED, *FLOAT32, seeds=(0, 1)):
        assert status == 2
        assert "the workers differ in their settings" in said.splitlines()[-1]
    assert not (workplace.weights / "runs.jsonl").exists()


@pytest.mark.parametrize("script", [scratch, finetune])
def test_two_devices_train_as_one(workplace, starter, no_dropout, script):
    options = []
    if script is finetune:
        workplace.run(bottleneck, "--epochs", 1)
        options = ["--dropout", 0, "--vgg16-weights", "random"]
    one_device = workplace.run(script, *options, *ONE_STEP)
    two = (*workplace.folders, *options, *FLOAT32, "--distribute")
    environment = {"code": SETUP, "DEVICES": "2", "NO_DROPOUT": "1"}
    status, _, said = starter(script.__name__, *two, *ONE_STEP, **environment)
    assert status == 0 and shares(said) == {10: 2}, said
    record = workplace.records()[-1]
    assert record["distributed"] == {"strategy": "MirroredStrategy", "replicas": 2, "workers": 1}
    assert_same_step(record, one_device)
    status, _, said = starter(script.__name__, *two, *SHARED, "--epochs", 1, **environment)
    assert status == 0 and shares(said) == {4: 4, 2: 2}, said


def test_distributed_runs_are_no_others(workplace):
    """On a single device they have the same result, but a row of their own in the report."""
    alone = workplace.run(scratch, *ONE_STEP)
    distributed = workplace.run(scratch, *ONE_STEP, "--distribute")
    assert "distributed" not in alone
    assert distributed["distributed"]["replicas"] == 1
    assert_same_step(distributed, alone)
    assert alone["run"].split("-")[1] != distributed["run"].split("-")[1]
    assert len(records.group([alone, distributed])) == 2
    whole = {"epochs": 50, "batch_size": 32}
    assert tables.is_whole(alone | whole) and not tables.is_whole(distributed | whole)
    assert "MirroredStrategy, 1 replica" in tables.every_setting([alone, distributed])


@pytest.mark.parametrize(
    "config",
    [
        "",
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": -1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": [5]}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_a_tf_config_that_can_not_be_used(workplace, monkeypatch, config):
    monkeypatch.setenv("TF_CONFIG", config)
    assert "TF_CONFIG: " in workplace.error(scratch, "--distribute")


def test_unequal_shares_are_refused(workplace, monkeypatch):
    class Replicas(distribution.MirroredStrategy):
        num_replicas_in_sync = 3

    monkeypatch.setattr(distribution, "MirroredStrategy", Replicas)
    assert "a batch of 32 photos can't be divided evenly between 3 replicas" in workplace.error(
        scratch, "--distribute"
    )
    assert "the 20 photos to train on can't be divided evenly" in workplace.error(
        scratch, "--distribute", "--batch-size", 9
    )
    Replicas.num_replicas_in_sync = 5
    line = workplace.error(scratch, "--distribute", "--batch-size", 10)
    assert "of 12 photos to validate on, the last batch would have 2" in line
