"""`python -m models.train`: train the decoder."""

import sys

from models.command import exit_status
from models.training.decoder import main

if __name__ == "__main__":
    sys.exit(exit_status(main))
