"""`python -m models.train_planner`: train the planner."""

import sys

from models.command import exit_status
from models.training.planner import main

if __name__ == "__main__":
    sys.exit(exit_status(main))
