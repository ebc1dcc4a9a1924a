"""Every script from the command line: help, unknown options, drawings, preview."""

import ast
import subprocess
import sys
from pathlib import Path

from common import cli
import draw
from common import files
import preview
import pytest
import small
import report
from PIL import Image

ROOT = Path(report.__file__).parent.parent
SCRIPTS = [path.stem for path in (ROOT / "scripts").glob("*.py") if "__main__" in path.read_text()]


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_and_mistakes_are_answered_before_tensorflow_is_imported(script, tmp_path):
    """From another folder, and with Keras set to another backend."""
    for name in "tensorflow", "keras":
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported too early')")
    environment = {"KERAS_BACKEND": "jax", "PATH": "/usr/bin:/bin"}
    environment |= dict.fromkeys(("HOME", "PYTHONPATH"), str(tmp_path))

    def start(*options):
        command = [sys.executable, ROOT / "scripts" / f"{script}.py", *options]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment
        )

    shown = start("--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"usage: {script}.py" in shown.stdout
    required = ["gone"] if script in ("draw", "evaluate", "predict", "preview", "data") else []
    refused = start(*required, "--epoch5")
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "--epoch5" in refused.stderr and "--help" in refused.stderr
    if script not in ("app", "bench", "draw", "report"):
        missing = start(*(required or ["--data", "gone"]))
        assert missing.returncode == 2, missing.stderr
        assert len(missing.stderr.splitlines()) == 1 and "gone: " in missing.stderr


def imported(path):
    """The names of the modules that a file imports anywhere."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("path", sorted((ROOT / "scripts").rglob("*.py")), ids=lambda p: p.stem)
def test_nothing_imports_a_script(path):
    assert not set(imported(path)) & {other.stem for other in (ROOT / "scripts").glob("*.py")}


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", "", "٣", str(2**32)])
def test_epochs_must_be_a_whole_number(value):
    with pytest.raises(cli.argparse.ArgumentTypeError, match="whole number"):
        cli.positive(value)


def run(script, *argv):
    """A script's exit status."""
    try:
        cli.run(lambda: small.start(script, argv))
    except SystemExit as stop:
        return stop.code
    return 0


def test_drawings_repeat_with_their_seed_and_never_replace_a_folder(tmp_path):
    for name, seed in ("a", 0), ("b", 0), ("c", 1):
        options = ("--train", 2, "--validation", 1, "--seed", seed)
        assert run(draw, tmp_path / name, *options) == 0
    assert run(draw, tmp_path / "c") == 2
    a, b, c = (
        {p.relative_to(tmp_path / n): files.sha256(p) for p in (tmp_path / n).rglob("*.jpg")}
        for n in "abc"
    )
    assert a == b and len(a) == len(set(a.values())) == 6
    assert a.keys() == c.keys() and not set(a.values()) & set(c.values())


def test_preview_is_the_articles_20_pictures_of_one_photo(drawings, tmp_path, capsys):
    output = tmp_path / "preview"
    photo = drawings / "train" / "cats" / "cat.0.jpg"
    for _ in range(2):  # the second replaces the first
        assert run(preview, drawings / "train", "--output", output) == 0
        pictures = sorted(output.glob("cat.0_*.jpg"))
        assert len(pictures) == len({files.sha256(path) for path in pictures}) == 20
        assert {Image.open(path).size for path in pictures} == {Image.open(photo).size}
        assert (output / "contact_sheet.jpg").exists()
    assert run(preview, tmp_path / "none.jpg", "--output", output) == 2
    assert len(list(output.iterdir())) == 21
    mine = output / "mine.png"
    mine.write_bytes(b"mine")
    assert run(preview, photo, "--output", output) == 2
    assert mine.exists() and len(pictures) == 20
