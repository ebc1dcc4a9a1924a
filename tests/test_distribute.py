"""Training on several devices does what one device does, and only the chief writes.

Workers are processes of their own; devices are logical ones of the CPU.
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
import draw
import finetune
import numpy as np
import pytest
import scratch
from common import distribution, records, selection, tables
from conftest import SCRIPTS
from keras import layers

# Runs before a script: sets up DEVICES, removes dropout, kills it in epoch KILLED. Prints how many
# photos each replica gets in each step.
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


def train_together(workplace, *options, environments=({}, {}), seeds=(0, 0)):
    """[(exit status, output)] of two workers that train scratch.py; environment and seed of each.

    Kills them if they take more than 200 s.
    """
    free = [socket.create_server(("127.0.0.1", 0)) for _ in environments]
    addresses = ["{}:{}".format(*port.getsockname()) for port in free]
    for port in free:
        port.close()
    command = [sys.executable, "-c", WORKER, *workplace.folders, "--distribute", *options]
    processes = []
    for index, (environment, seed) in enumerate(zip(environments, seeds, strict=True)):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        process = subprocess.Popen(
            [str(part) for part in (*command, "--seed", seed)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "TF_CONFIG": config, **environment},
        )
        processes.append(process)
    try:
        outputs = [process.communicate(timeout=200)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, output) for p, output in zip(processes, outputs, strict=True)]


@pytest.fixture
def no_dropout(monkeypatch):
    """In this process, since the replicas' masks can't equal those of one device."""
    dropout = layers.Dropout
    monkeypatch.setattr(layers, "Dropout", lambda rate: dropout(0.0))


def assert_same_step(record, one_device):
    """For trainings of a single step, up to rounding, since sums are computed in another order.

    The loss before the step is a mean, with a relative error of some 1e-7. RMSprop's first step
    divides each gradient by its own magnitude, so a weight whose gradient is nearly 0 may move by
    0.003 in either direction; its effect on the loss afterwards is small, but exceeds rounding.
    """
    for name, values in one_device["history"].items():
        tolerance = 1e-3 if name.startswith("val") else 1e-5
        np.testing.assert_allclose(record["history"][name], values, rtol=tolerance, err_msg=name)


def shares(said):
    """{photos given to a replica: number of steps}, from a process's output."""
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
    two = {"strategy": "MultiWorkerMirroredStrategy", "replicas": 2, "workers": 2}
    assert together["distributed"] == two
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
    model = {"first_try.weights.h5", "runs.jsonl", "checkpoints"}
    assert left == {*model, "photos.txt", ".lock", ".listing.json"}


@pytest.mark.slow
def test_two_workers_end_among_the_seeds_of_one_device(workplace, tmp_path):
    """With dropout, as users run it.

    Too coarse to detect gradients that are not averaged; the test without dropout does.
    """
    workplace.data = tmp_path / "more"
    draw.draw_data_set(workplace.data, {"train": 100, "validation": 50}, seed=0)
    options = ("--epochs", 8, "--batch-size", 20, "--precision", "float32")
    for status, said in train_together(workplace, *options):
        assert status == 0, said
    (record,) = workplace.records()
    seeds = [workplace.run(scratch, *options, "--seed", seed) for seed in range(3)]
    for metric in "loss", "val_loss", "val_accuracy":
        # The mean of the last four epochs, since a single one is a lottery.
        result, *values = (np.mean(run["history"][metric][-4:]) for run in [record, *seeds])
        width = max(values) - min(values)
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


def test_distributed_runs_on_one_device_differ_only_in_their_setting(workplace):
    """They have the same result, but a row of their own in the report."""
    alone = workplace.run(scratch, *ONE_STEP)
    distributed = workplace.run(scratch, *ONE_STEP, "--distribute")
    assert "distributed" not in alone
    assert distributed["distributed"]["replicas"] == 1
    assert_same_step(distributed, alone)
    assert alone["run"].split("-")[1] != distributed["run"].split("-")[1]
    assert len(records.group([alone, distributed])) == 2
    whole = {"epochs": 50, "batch_size": 32}
    assert selection.is_whole(alone | whole) and not selection.is_whole(distributed | whole)
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
def test_an_unusable_tf_config_is_refused(workplace, monkeypatch, config):
    monkeypatch.setenv("TF_CONFIG", config)
    assert "TF_CONFIG: " in workplace.error(scratch, "--distribute")


def test_unequal_shares_are_refused(workplace, monkeypatch):
    class Replicas(distribution.MirroredStrategy):
        num_replicas_in_sync = None

    monkeypatch.setattr(distribution, "MirroredStrategy", Replicas)
    for replicas, batch_size, message in (
        (3, 32, "a batch of 32 photos can't be divided evenly between 3 replicas"),
        (3, 9, "the 20 photos to train on can't be divided evenly"),
        (5, 10, "of 12 photos to validate on, the last batch would have 2"),
    ):
        Replicas.num_replicas_in_sync = replicas
        assert message in workplace.error(scratch, "--distribute", "--batch-size", batch_size)
