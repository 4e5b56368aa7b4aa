"""`python -m models.bands`: how a band keeps to a chart and to its beat."""

import sys

from models.command import exit_status
from models.evaluation.bands import run

if __name__ == "__main__":
    sys.exit(exit_status(run))
