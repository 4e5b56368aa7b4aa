"""`python -m models.listen`: what a model plays, beside the real music."""

import sys

from models.command import exit_status
from models.evaluation.listen import run

if __name__ == "__main__":
    sys.exit(exit_status(run))
