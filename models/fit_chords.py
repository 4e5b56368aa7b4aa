"""`python -m models.fit_chords`: fit the chord estimator."""

import sys

from models.command import exit_status
from models.training.harmony import main

if __name__ == "__main__":
    sys.exit(exit_status(main))
