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
import distribution
import draw
import finetune
import numpy as np
import pytest
import report
import runs
import scratch
from keras import layers

SCRIPTS = Path(runs.__file__).parent

# A script's main() as in conftest, on DEVICES, without dropout, or killed in epoch KILLED. Says
# how many photos each replica is given in each step.
PROCESS = """
import os, signal, sys
sys.path.insert(0, {scripts!r})
import backend
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
devices = [tf.config.LogicalDeviceConfiguration()] * int(os.environ.get("DEVICES", 1))
tf.config.set_logical_device_configuration(cpu, devices)
import cli, keras, runs, {name}
from keras import layers
{name}.IMAGE_SIZE = (48, 48)
if "NO_DROPOUT" in os.environ:
    layers.Dropout = lambda rate, dropout=layers.Dropout: dropout(0.0)
step = keras.Model.train_step
def train_step(self, data):
    tf.print("a share of", tf.shape(data[0])[0], output_stream=sys.stdout)
    return step(self, data)
keras.Model.train_step = train_step
begin = runs.Run.on_epoch_begin
def on_epoch_begin(self, epoch, logs=None):
    begin(self, epoch, logs)
    if str(epoch + 1) == os.environ.get("KILLED"):
        os.kill(os.getpid(), signal.SIGKILL)
runs.Run.on_epoch_begin = on_epoch_begin
cli.run({name}.main)
"""


def start(workplace, script, *options, **environment):
    """A process that trains with --distribute in the workplace's folders."""
    folders = ["--data", workplace.data, "--weights", workplace.weights]
    command = [*folders, "--results", workplace.results, "--distribute", *options]
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            PROCESS.format(scripts=str(SCRIPTS), name=script.__name__),
            *map(str, command),
        ],
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
                scratch,
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


def assert_same_training(record, one_device):
    """Up to rounding: the replicas' sums are added in another order."""
    for name, values in one_device["history"].items():
        np.testing.assert_allclose(record["history"][name], values, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(
        record["val_probabilities"], one_device["val_probabilities"], atol=1e-4
    )


def shares(said):
    """{photos that a replica was given: in how many steps}, from what a process said."""
    return collections.Counter(map(int, re.findall(r"a share of (\d+)", said)))


# 20 photos: batches of 8, 8 and 4, in halves. float32, so that rounding stays small.
OPTIONS = ("--batch-size", 8, "--precision", "float32")


def test_two_workers_train_as_one_device_and_resume_together(workplace, no_dropout):
    options = (*OPTIONS, "--epochs", 4)
    one_device = workplace.run(scratch, *options)
    killed = {"KILLED": "3", "NO_DROPOUT": "1"}
    (status, _), (other, said) = train_together(
        workplace, *options, environments=(killed, {"NO_DROPOUT": "1"})
    )
    assert (status, other) == (-signal.SIGKILL, 2), said
    assert "another worker has stopped" in said.splitlines()[-1]
    assert workplace.records() == [one_device]

    results = train_together(workplace, *options, environments=({"NO_DROPOUT": "1"},) * 2)
    for status, said in results:
        assert status == 0, said
        assert "Resuming after epoch 2 of 4" in said
        assert shares(said) == {4: 4, 2: 2}  # in two epochs
    assert "Record:" in results[0][1] and "Record:" not in results[1][1]
    _, record = workplace.records()
    assert record["distributed"] == {
        "strategy": "MultiWorkerMirroredStrategy",
        "replicas": 2,
        "workers": 2,
    }
    assert_same_training(record, one_device)
    left = {path.name for path in workplace.weights.rglob("*")}
    assert left == {"checkpoints", "first_try.weights.h5", "photos.txt", ".lock"}


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
    for status, said in train_together(workplace, *OPTIONS, seeds=(0, 1)):
        assert status == 2
        assert "the workers differ in their settings" in said.splitlines()[-1]
    assert not (workplace.results / "runs.jsonl").exists()


@pytest.mark.parametrize("script", [scratch, finetune])
def test_two_devices_train_as_one(workplace, no_dropout, script):
    options = [*OPTIONS, "--epochs", 2 if script is scratch else 1]
    if script is finetune:
        workplace.run(bottleneck, "--epochs", 1, "--precision", "float32")
        options += ["--dropout", 0, "--vgg16-weights", "random"]
    one_device = workplace.run(script, *options)
    ((status, said),) = ended(start(workplace, script, *options, DEVICES="2", NO_DROPOUT="1"))
    assert status == 0, said
    record = workplace.records()[-1]
    assert record["distributed"] == {"strategy": "MirroredStrategy", "replicas": 2, "workers": 1}
    assert shares(said) == {4: 4 * record["epochs"], 2: 2 * record["epochs"]}
    assert_same_training(record, one_device)


def test_distributed_runs_are_no_others(workplace):
    """On a single device they have the same result, but a row of their own in the report."""
    alone = workplace.run(scratch, "--epochs", 1)
    distributed = workplace.run(scratch, "--epochs", 1, "--distribute")
    assert "distributed" not in alone
    assert distributed["distributed"]["replicas"] == 1
    assert_same_training(distributed, alone)
    assert alone["run"].split("-")[1] != distributed["run"].split("-")[1]
    assert len(report.group([alone, distributed])) == 2
    whole = {"epochs": 50, "batch_size": 32}
    assert report.is_whole(alone | whole) and not report.is_whole(distributed | whole)
    assert "MirroredStrategy, 1 replica" in report.table([alone, distributed])


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
