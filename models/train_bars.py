"""`python -m models.train_bars`: train the bar autoencoder."""

import sys

from models.command import exit_status
from models.training.autoencoder import main

if __name__ == "__main__":
    sys.exit(exit_status(main))
