"""`python -m models.chords`: a chord for every beat of a corpus, and how well it is estimated."""

import sys

from models.command import exit_status
from models.evaluation.chords import main

if __name__ == "__main__":
    sys.exit(exit_status(main))
