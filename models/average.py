"""`python -m models.average`: the mean of the weights of several runs."""

import sys

from models.command import exit_status
from models.training.average import main

if __name__ == "__main__":
    sys.exit(exit_status(main))
