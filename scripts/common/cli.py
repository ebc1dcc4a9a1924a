"""The command-line manners of every script: one-line errors, exit statuses, help."""

import argparse
import codecs
import functools
import gc
import math
import os
import sys
import traceback
from pathlib import Path

from tqdm import tqdm


class InputError(Exception):
    """Bad input. The message says what is wrong, where, and what to do about it."""


class ArgumentParser(argparse.ArgumentParser):
    """argparse with the script's docstring as its help, and errors of one line."""

    def __init__(self, description):
        super().__init__(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )

    def error(self, message):
        print(f"{self.prog}: error: {message} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(2)


def _whole_number(text, least):
    if not (text.isascii() and text.isdigit() and least <= int(text) < 2**32):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return int(text)


def _number(text, end):
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < end:
        below = "" if end == math.inf else f" and below {end}"
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0{below}")
    return number


# argparse types. Whole numbers are below 2**32, which is what NumPy takes for a seed.
positive = functools.partial(_whole_number, least=1)
seed = not_negative_whole = functools.partial(_whole_number, least=0)
not_negative = functools.partial(_number, end=math.inf)
share = functools.partial(_number, end=1)  # below 1


def path(text):
    """argparse type: a path, with ~ for the home folder also where the shell leaves it."""
    if not text:  # of an unset variable; it would mean the current folder
        raise argparse.ArgumentTypeError("empty; name a file or a folder")
    return Path(text).expanduser() if text.split("/")[0] == "~" else Path(text)


def markdown(rows):
    """A Markdown table of rows of texts, the first its head, aligned so that it reads as text."""
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(rows[0]))]
    lines = []
    for cells in rows:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        lines.append(f"| {' | '.join(padded)} |")
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


# A notebook's backend of matplotlib is none for a script.
os.environ["MPLBACKEND"] = "agg"


def _any_bytes(error):
    """File names can be any bytes, and stay them; what a terminal can't show becomes a ?."""
    text = error.object[error.start : error.end]
    return b"".join(
        bytes([ord(c) & 0xFF]) if "\udc80" <= c <= "\udcff" else b"?" for c in text
    ), error.end


codecs.register_error("any bytes", _any_bytes)


def run(function, *arguments, after_interrupt="run the same command again to go on"):
    """Call function(*arguments) as a script, or a part of one, and return what it returns.

    Where it fails, the process ends: with status 2 for bad input, 130 for Ctrl-C.

    after_interrupt: what the user is told after Ctrl-C.

    An OSError (a full disk, a folder that can't be written) names its file
    already, so it is bad input too. Anything else is our mistake: status 1 with
    its traceback, as Python does it.
    """
    prog = sys.argv[0].rsplit("/", 1)[-1]
    sys.stdout.reconfigure(errors="any bytes")
    try:
        return function(*arguments)
    except (InputError, OSError) as error:
        message = " ".join(str(error).split())
        print(f"{prog}: error: {message}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        print(f"\n{prog}: interrupted; {after_interrupt}", file=sys.stderr)
        status = 130
    except Exception as error:
        status = 1
        # TensorFlow's, where another worker of --distribute is lost; it isn't imported here.
        if type(error).__name__ == "UnavailableError":
            print(
                f"{prog}: error: another worker has stopped or can't be reached; see what it "
                "says, and start all of them again to go on",
                file=sys.stderr,
            )
            status = 2
        else:
            traceback.print_exc()
    # Only here, where the exception is gone and with it what an interrupted fit() held: if
    # TensorFlow frees that while Python ends, it waits for ever for a thread that waits for Python.
    gc.collect()
    sys.exit(status)


def progress(iterable, description, total=None):
    """Iterate with a progress bar, which is shown on terminals only and gone at the end."""
    return tqdm(iterable, description, total, leave=False, disable=None)
