"""The default commands make what they made before: settings, model, batches, a short history.

    .venv/bin/python -m pytest tests/test_commands.py --write

writes tests/golden/commands.json anew, where a change is wanted.
"""

import hashlib
import json
from pathlib import Path

import best
import bottleneck
import finetune
import keras
import numpy as np
import pytest
import scratch

GOLDEN = Path(__file__).parent / "golden" / "commands.json"
VOLATILE = {
    *(
        "made_with",
        "run",
        "started",
        "finished",
        "commit",
        "versions",
        "hardware",
        "seconds_per_epoch",
    ),
    "val_probabilities",
}


def first_batch(monkeypatch, seen):
    """Note the digest of the first batch that each fit() is given."""
    fit = keras.Model.fit

    def noting(model, x, *more, **options):
        # as the first epoch would draw it, and then what comes before is as it was
        state = np.random.get_state()
        np.random.seed(0)
        x.on_epoch_end()
        batch, labels = x[0]
        seen.append(hashlib.sha256(np.round(batch, 3).tobytes() + labels.tobytes()).hexdigest())
        np.random.set_state(state)
        return fit(model, x, *more, **options)

    monkeypatch.setattr(keras.Model, "fit", noting)


def test_default_commands_are_as_before(workplace, monkeypatch, request):
    found, batches = [], []
    first_batch(monkeypatch, batches)
    for script in scratch, bottleneck, finetune, best:
        options = [] if script is best else ["--epochs", 2]
        record = workplace.run(script, *options)
        found.append({name: value for name, value in record.items() if name not in VOLATILE})
    for record in found:
        record.get("top_model", {}).pop("run", None)
    found = json.loads(json.dumps({"records": found, "scratch batch": batches[0]}))
    if request.config.getoption("--write"):
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    expected = json.loads(GOLDEN.read_text())
    assert found["scratch batch"] == expected["scratch batch"]
    for here, there in zip(found["records"], expected["records"], strict=True):
        for record in here, there:  # rounded as the processor does
            record["floats"] = [record.pop("history"), record.pop("val_accuracy")]
            record["floats"].append(record.get("top_model", {}).pop("val_accuracy", 0))
        floats = [record.pop("floats") for record in (here, there)]
        assert here == there
        assert floats[0][0].keys() == floats[1][0].keys()
        for name, values in floats[0][0].items():
            within = 0.1 if "accuracy" in name else 0.02  # one of the 12 to validate on
            assert values == pytest.approx(floats[1][0][name], abs=within)
