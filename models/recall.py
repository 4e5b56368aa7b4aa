"""`python -m models.recall`: whether what was played is remembered."""

import sys

from models.command import exit_status
from models.evaluation.recall import run

if __name__ == "__main__":
    sys.exit(exit_status(run))
