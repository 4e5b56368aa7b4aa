"""`python -m models.chord_plan`: what a plan of chords and of returning bars would tell the decoder."""

import sys

from models.ablation.chord_plan import main
from models.command import exit_status

if __name__ == "__main__":
    sys.exit(exit_status(main))
