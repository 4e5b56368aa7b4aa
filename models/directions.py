"""`python -m models.directions`: fit the directions of edits in the latent space."""

import sys

from models.command import exit_status
from models.training.directions import main

if __name__ == "__main__":
    sys.exit(exit_status(main))
