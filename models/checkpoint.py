"""`python -m models.checkpoint`: write what is shipped of a training run."""

import sys

from models.command import exit_status
from models.training.ship import main

if __name__ == "__main__":
    sys.exit(exit_status(main))
