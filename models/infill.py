"""`python -m models.infill`: how well gaps are filled."""

import sys

from models.command import exit_status
from models.evaluation.infill import run

if __name__ == "__main__":
    sys.exit(exit_status(run))
