"""`python -m models.edits`: how well edits do what they are asked."""

import sys

from models.command import exit_status
from models.evaluation.edits import main

if __name__ == "__main__":
    sys.exit(exit_status(main))
