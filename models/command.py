"""What every command line of models shares."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from realtime.errors import UserError


class Parser(argparse.ArgumentParser):
    """A command line that says in one line what is wrong with it. Raises `UserError`."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")

    def add_corpus(self, name: str = "--corpus", **options: Any) -> None:
        """The corpus, under this name, and `--cache`."""
        self.add_argument(name, type=Path, help="folder of MIDI files; see models/README.md", **options)
        self.add_argument("--cache", type=Path, default=Path("runs/cache"), help="where the packed corpus lies")

    def add_training(self, steps: int, batch: int, batch_of: str, lr: float, save_every: int) -> None:
        """The folder of a training run, and how it is trained, with these defaults. `batch_of`: what `--batch` counts."""
        self.add_argument("--out", type=Path, required=True, help="folder of this run")
        self.add_argument("--steps", type=positive, default=steps)
        self.add_argument("--batch", type=positive, default=batch, help=batch_of)
        self.add_argument("--lr", type=float, default=lr)
        self.add_argument("--seed", type=int, default=1)
        self.add_argument("--save-every", type=positive, default=save_every, help="steps")


def exit_status(command: Callable[[], None]) -> int:
    """Run a command: 0, or 2 after one line on standard error about what the user got wrong."""
    try:
        command()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where there is none. Raises `UserError`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be made ({error.strerror}); give a folder that can be written") from None


def positive(text: str) -> int:
    """A whole number of at least 1, for the command line."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def share(text: str) -> float:
    """A number from 0 to 1, for the command line."""
    if not 0 <= (number := float(text)) <= 1:
        raise ValueError
    return number
