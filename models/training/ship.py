"""Write what is shipped of a training run: its weights in 8 bits, a quarter as large, and its `run.json`.

python -m models.checkpoint runs/s models/pretrained/antiphon-s
"""

from __future__ import annotations

import argparse
from pathlib import Path

from models.command import Parser
from models.nets.checkpoint import load_decoder, narrowed, save_decoder


def ship(run: Path, folder: Path) -> None:
    """Write the run into `folder` as it is shipped. Raises `UserError`."""
    decoder, info = load_decoder(run)
    save_decoder(folder, narrowed(decoder.state_dict()), info)


def main() -> None:
    """Command line; see the module's docstring."""
    p = Parser(
        prog="python -m models.checkpoint", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("run", type=Path, help="the folder that models.train wrote")
    p.add_argument("folder", type=Path, help="the folder to write")
    args = p.parse_args()
    ship(args.run, args.folder)
