"""What is up to date is not made again, what is stale is: --unless, --is-recorded."""

import os

import pytest

import best
import bottleneck
import finetune
import scratch
import small
from common import cli, folders, made
from conftest import MODELS, SETTINGS, SMALL


def is_up_to_date(workplace, script, *options):
    """Whether the script ends before it trains, as make starts it."""
    options = ["--precision", "float32", *options]
    if script is not scratch and "--vgg16-weights" not in options:
        options += ["--vgg16-weights", "random"]
    if "--unless" not in options and "--is-recorded" not in options:
        options += ["--unless", "made"]
    try:
        script.parse([str(option) for option in [*workplace.folders, *options]])
    except SystemExit as end:
        return not end.code
    finally:
        folders._locked.popitem()[1].close()
    return False


@pytest.mark.parametrize("script", [scratch, best])
def test_options_photos_code_and_versions_make_a_model_stale(workplace, data, script, monkeypatch):
    workplace.data = data
    options = [] if script is best else [*SETTINGS]
    assert not is_up_to_date(workplace, script, *options)
    workplace.after(script)
    assert is_up_to_date(workplace, script, *options)
    changes = [["--seed", 1], ["--precision", "mixed_bfloat16"]]
    if script is scratch:
        changes += [["--epochs", 2], ["--batch-size", 7], ["--as-printed"], ["--distribute"]]
        assert is_up_to_date(workplace, script, *options, "--recipe", "faithful")
    for change in changes:
        assert not is_up_to_date(workplace, script, *options, *change)
    photo = data / "train/cats/cat.0.jpg"
    content = photo.read_bytes()
    for changed in content + b" ", content:
        photo.write_bytes(changed)
        os.utime(photo, (1, 1))
        assert is_up_to_date(workplace, script, *options) == (changed == content)
    photo = photo.rename(photo.with_name("cat.99.jpg"))
    assert not is_up_to_date(workplace, script, *options)
    photo.rename(photo.with_name("cat.0.jpg"))
    with monkeypatch.context() as patch:
        patch.setattr(made, "PACKAGES", ("pytest",))
        assert not is_up_to_date(workplace, script, *options)
    digest = made.files.sha256
    for file, decides in ("images.py", True), (f"{script.__name__}.py", True), ("cli.py", False):
        with monkeypatch.context() as patch:
            patch.setattr(made.files, "sha256", lambda p, of=file: digest(p) + "*" * (p.name == of))
            assert is_up_to_date(workplace, script, *options) == (not decides)
    assert is_up_to_date(workplace, script, *options)
    (workplace.weights / MODELS[script]).write_bytes(b"cut off")
    assert not is_up_to_date(workplace, script, *options)


def test_an_unchanged_call_reads_no_photo(workplace, monkeypatch, capsys):
    workplace.after(scratch)
    read, digest = [], made.files.sha256
    monkeypatch.setattr(made.files, "sha256", lambda path: read.append(path.suffix) or digest(path))
    assert is_up_to_date(workplace, scratch, *SETTINGS)
    assert set(read) == {".py"}
    assert "first_try.weights.h5 is up to date." in capsys.readouterr().out


def test_a_classifier_is_usable_whatever_its_epochs(workplace):
    usable = ("--unless", "usable")
    workplace.after(bottleneck)
    assert is_up_to_date(workplace, bottleneck, "--seed", 3, *usable)
    assert not is_up_to_date(workplace, bottleneck, "--seed", 3)
    assert not is_up_to_date(workplace, bottleneck, "--seed", 1, *usable)


def test_another_classifier_makes_fine_tuning_stale(workplace):
    workplace.after(finetune)
    assert is_up_to_date(workplace, finetune, *SETTINGS)
    assert not is_up_to_date(workplace, finetune, *SETTINGS, "--l2", 0.01)
    workplace.run(bottleneck, *SETTINGS)  # makes the same one
    assert is_up_to_date(workplace, finetune, *SETTINGS)
    workplace.run(bottleneck, *SETTINGS, "--epochs", 2)
    assert not is_up_to_date(workplace, finetune, *SETTINGS)


def test_other_weights_of_vgg16_make_a_model_stale(workplace, tmp_path):
    given = tmp_path / "given.weights.h5"
    small.small_vgg16(False, None, (*SMALL, 3)).save_weights(given)
    options = ("--epochs", 1, "--vgg16-weights", given)
    workplace.run(bottleneck, *options)
    assert is_up_to_date(workplace, bottleneck, *options)
    assert not is_up_to_date(workplace, bottleneck, "--epochs", 1)  # random ones
    os.utime(given, (1, 1))
    assert not is_up_to_date(workplace, bottleneck, *options)


def test_recorded_runs_are_found_whatever_model_is_there(workplace):
    def is_recorded(script, *options):
        return is_up_to_date(workplace, script, *SETTINGS, *options, "--is-recorded")

    assert not is_recorded(scratch)
    workplace.after(finetune)
    assert is_recorded(finetune)
    workplace.run(finetune, *SETTINGS, "--epochs", 1)
    assert not is_recorded(finetune, "--epochs", 1)  # from a classifier of 4 epochs
    assert is_recorded(finetune)
    for seed in 0, 1:
        workplace.run(scratch, *SETTINGS, "--epochs", 1, "--seed", seed)
    for seed in 0, 1, 2:
        assert is_recorded(scratch, "--epochs", 1, "--seed", seed) == (seed < 2)
    assert not is_recorded(scratch, "--seed", 0)


def test_a_mistake_is_not_a_recorded_run(workplace):
    workplace.data = workplace.weights / "gone"
    with pytest.raises(cli.InputError, match="no such folder"):
        scratch.parse(["--data", str(workplace.data), "--is-recorded"])
