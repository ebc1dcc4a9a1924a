"""What is made is not made again, and nothing stale is taken for it: --unless, --is-recorded."""

import os

import best
import bottleneck
import finetune
import keras
import pytest
import scratch
from common import cli, folders, made
from conftest import SMALL


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
    options = ["--epochs", 1] if script is scratch else []
    assert not is_up_to_date(workplace, script, *options)
    workplace.run(script, *options)
    assert is_up_to_date(workplace, script, *options)
    changes = [["--seed", 1], ["--precision", "mixed_bfloat16"]]
    if script is scratch:
        changes += [["--epochs", 2], ["--batch-size", 8], ["--as-printed"], ["--distribute"]]
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
    with monkeypatch.context() as context:
        context.setattr(made, "PACKAGES", ("pytest",))
        assert not is_up_to_date(workplace, script, *options)
    digest = made.files.sha256
    for file, decides in {
        "images.py": True,
        f"{script.__name__}.py": True,
        "cli.py": False,
    }.items():
        with monkeypatch.context() as context:
            context.setattr(
                made.files,
                "sha256",
                lambda p, file=file: digest(p) + (" " if p.name == file else ""),
            )
            assert is_up_to_date(workplace, script, *options) == (not decides)
    assert is_up_to_date(workplace, script, *options)
    model = workplace.weights / {scratch: "first_try.weights.h5", best: "best.weights.h5"}[script]
    model.write_bytes(b"cut off")
    assert not is_up_to_date(workplace, script, *options)


def test_an_unchanged_call_reads_no_photo(workplace, monkeypatch, capsys):
    workplace.run(scratch, "--epochs", 1)
    read, digest = [], made.files.sha256
    monkeypatch.setattr(made.files, "sha256", lambda path: read.append(path.suffix) or digest(path))
    assert is_up_to_date(workplace, scratch, "--epochs", 1)
    assert set(read) == {".py"}
    assert "first_try.weights.h5 is up to date." in capsys.readouterr().out


def test_a_classifier_is_usable_whatever_its_epochs(workplace):
    usable = ("--unless", "usable")
    workplace.run(bottleneck, "--epochs", 2)
    assert is_up_to_date(workplace, bottleneck, *usable)
    assert not is_up_to_date(workplace, bottleneck)
    assert not is_up_to_date(workplace, bottleneck, "--seed", 1, *usable)


def test_fine_tuning_is_stale_where_its_classifier_is_another(workplace):
    workplace.run(bottleneck, "--epochs", 1)
    workplace.run(finetune, "--epochs", 1)
    assert is_up_to_date(workplace, finetune, "--epochs", 1)
    assert not is_up_to_date(workplace, finetune, "--epochs", 1, "--l2", 0.01)
    workplace.run(bottleneck, "--epochs", 1)  # the same again
    assert is_up_to_date(workplace, finetune, "--epochs", 1)
    workplace.run(bottleneck, "--epochs", 2)
    assert not is_up_to_date(workplace, finetune, "--epochs", 1)


def test_other_weights_of_vgg16_make_a_model_stale(workplace, tmp_path):
    given = tmp_path / "given.weights.h5"
    base = keras.applications.VGG16(include_top=False, weights=None, input_shape=(*SMALL, 3))
    base.save_weights(given)
    options = ("--epochs", 1, "--vgg16-weights", given)
    workplace.run(bottleneck, *options)
    assert is_up_to_date(workplace, bottleneck, *options)
    assert not is_up_to_date(workplace, bottleneck, "--epochs", 1)  # random ones
    os.utime(given, (1, 1))
    assert not is_up_to_date(workplace, bottleneck, *options)


def test_recorded_runs_are_found_whatever_model_is_there(workplace):
    def is_recorded(script, *options):
        return is_up_to_date(workplace, script, *options, "--is-recorded")

    assert not is_recorded(scratch, "--epochs", 1)
    for seed in 0, 1:
        workplace.run(scratch, "--epochs", 1, "--seed", seed)
    for seed in 0, 1, 2:
        assert is_recorded(scratch, "--epochs", 1, "--seed", seed) == (seed < 2)
    assert not is_recorded(scratch, "--epochs", 2)
    workplace.run(bottleneck, "--epochs", 2)
    workplace.run(finetune, "--epochs", 1)
    assert not is_recorded(finetune, "--epochs", 1)  # from a classifier of one epoch
    workplace.run(finetune, "--epochs", 2)
    assert is_recorded(finetune, "--epochs", 2)


def test_mistakes_are_none_that_is_recorded(workplace):
    workplace.data = workplace.weights / "gone"
    with pytest.raises(cli.InputError, match="no such folder"):
        scratch.parse(["--data", str(workplace.data), "--is-recorded"])
