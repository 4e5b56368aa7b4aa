"""`python -m models.data`: pack a corpus and list what is in it."""

import sys

from models.command import exit_status
from models.corpus.listing import main

if __name__ == "__main__":
    sys.exit(exit_status(main))
