"""`python -m models.voices`: whether every voice of a band plays on."""

import sys

from models.command import exit_status
from models.evaluation.voices import run

if __name__ == "__main__":
    sys.exit(exit_status(run))
