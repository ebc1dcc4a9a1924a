"""What scripts/ uses of Keras beyond its public promises. After an update, run this first."""

import random
from unittest import mock

import keras
import numpy as np
import pytest
from tensorflow.keras.preprocessing import image

from common import backend, features, networks


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((9,)), keras.layers.Dropout(0.5), keras.layers.Dense(1)])
    model.compile("rmsprop", "mse")
    return model


def test_iterators_of_features_and_transform(drawings):
    rows, photos = features.ArrayIterator, image.ImageDataGenerator().flow_from_directory(drawings)
    assert len(rows(*np.eye(2), 2)[0][0]) == 2, "features.py: _get_batches_of_transformed_samples"
    assert type(photos).__getitem__ is image.Iterator.__getitem__, "transform.py: the same"
    photos._filepaths = ["a.jpg"]
    assert photos.filepaths == ["a.jpg"], "transform.py: PhotoIterator changes _filepaths"


def test_random_numbers_of_runs_and_batches_of_backend(model):
    rows = features.ArrayIterator(np.arange(9), np.arange(9), 1)
    (dropout,) = [v for v in model.variables if v.name == "seed_generator_state"]

    def draw(numpy_seed, python_seed, dropout_seed):
        np.random.seed(numpy_seed)
        rows.on_epoch_end()
        random.seed(python_seed)
        dropout.assign([dropout_seed, 0])
        batches = backend.PyDatasetAdapter(rows, shuffle=True).get_tf_dataset()
        assert not batches.options().autotune.enabled, "backend.py: _untuned_dataset()"
        return [int(x[0]) for x, _ in batches], model(np.eye(9), training=True).numpy().tolist()

    assert draw(1, 1, 1) == draw(1, 1, 1), "runs.py: on_epoch_begin() seeds all there is"
    for seeds in (2, 1, 1), (1, 2, 1), (1, 1, 2):
        assert draw(*seeds) != draw(1, 1, 1), f"runs.py: on_epoch_begin() seeds each, {seeds}"
    get = mock.patch.object(backend.PyDatasetAdapter, "get_tf_dataset", side_effect=EOFError)
    with get, pytest.raises(EOFError):  # backend.py: fit() calls what it replaces
        model.fit(rows)


def test_penalties_of_finetune_and_averages_of_keras2016(model):
    kernel, bias = model.trainable_variables
    kernel.regularizer = keras.regularizers.L2(1)
    assert np.isclose(sum(model.losses), np.sum(kernel.numpy() ** 2)), "finetune.py: regularize()"
    model.optimizer.apply([kernel, bias + 2], [kernel, bias])
    average = model.optimizer._velocities[model.optimizer._get_variable_index(bias)]
    assert np.isclose(average[0], 0.4), "keras2016.py: RMSprop.update_step()"


def test_weights_of_networks_and_runs_and_strategies_of_distribution(model, tmp_path):
    model.optimizer.build(model.trainable_variables)
    model.save_weights(memory := networks.InMemory())  # networks.py: str() has the ending
    (tmp_path / "a.weights.h5").write_bytes(memory.getvalue())
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="optimizer"):  # runs.py: resume() makes it an error
        model.load_weights(tmp_path / "a.weights.h5")
    strategy = model._distribute_strategy = mock.MagicMock()
    with mock.patch.object(type(model), "_symbolic_build"):
        model._maybe_symbolic_build([(0, 0, iter([backend.tf.distribute.DistributedValues()]))])
    assert strategy.reduce.call_args.args[0] == "MEAN", "distribution.py: _ForKeras.reduce()"
