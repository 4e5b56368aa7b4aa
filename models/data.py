"""`python -m models.data`: pack a corpus and list what is in it."""

import sys

from models.corpus.pack import exit_status, main

if __name__ == "__main__":
    sys.exit(exit_status(main))
