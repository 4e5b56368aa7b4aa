"""`python -m models.evaluate`: nats per note on held-out music, against baselines."""

import sys

from models.command import exit_status
from models.evaluation.evaluate import run

if __name__ == "__main__":
    sys.exit(exit_status(run))
