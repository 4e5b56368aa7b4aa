"""`python -m models.tempo`: how often tempo and beat are heard after two bars."""

import sys

from models.command import exit_status
from models.evaluation.tempo import run

if __name__ == "__main__":
    sys.exit(exit_status(run))
