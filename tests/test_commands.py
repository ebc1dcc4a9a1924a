"""The default commands still make the same settings, models, first batch and short histories.

    .venv/bin/python -m pytest tests/test_commands.py --write

rewrites tests/golden/commands.json after an intended change.
"""

import hashlib
import json
from pathlib import Path

import keras
import numpy as np
import pytest

import best
from conftest import MODELS

GOLDEN = Path(__file__).parent / "golden" / "commands.json"
VOLATILE = {
    *("made_with", "run", "started", "finished", "commit", "versions", "hardware"),
    *("seconds_per_epoch", "val_probabilities"),
}


def test_default_commands_are_as_before(workplace, monkeypatch, request):
    batches, fit = [], keras.Model.fit

    def noting(model, x, *more, **options):
        """fit(), noting the digest of the first batch as the first epoch would draw it."""
        state = np.random.get_state()
        np.random.seed(0)
        x.on_epoch_end()
        batch, labels = x[0]
        batches.append(hashlib.sha256(np.round(batch, 3).tobytes() + labels.tobytes()).hexdigest())
        np.random.set_state(state)
        return fit(model, x, *more, **options)

    monkeypatch.setattr(keras.Model, "fit", noting)
    found = []
    for script in MODELS:
        record = workplace.run(script, *([] if script is best else ["--epochs", 2]))
        record.get("top_model", {}).pop("run", None)
        found.append({name: value for name, value in record.items() if name not in VOLATILE})
    if request.config.getoption("--write"):
        text = json.dumps({"records": found, "scratch batch": batches[0]}, indent=1)
        GOLDEN.write_text(text + "\n")
    expected = json.loads(GOLDEN.read_text())
    assert batches[0] == expected["scratch batch"]
    for here, there in zip(found, expected["records"], strict=True):
        for record in here, there:  # what the history has, too
            del record["val_accuracy"]
            record.get("top_model", {}).pop("val_accuracy", None)
        history, expected_history = here.pop("history"), there.pop("history")
        assert here == there, here["experiment"]
        assert history.keys() == expected_history.keys()
        for name, values in history.items():  # rounded as the processor does
            within = 0.1 if "accuracy" in name else 0.02  # one of the 12 to validate on
            assert values == pytest.approx(expected_history[name], abs=within)
