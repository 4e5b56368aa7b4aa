"""`python -m models.fit_chords`: fit the chord estimators."""

import sys

from models.command import exit_status
from models.training.fit_chords import main

if __name__ == "__main__":
    sys.exit(exit_status(main))
