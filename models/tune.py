"""`python -m models.tune`: how much the tune changes what an accompanist plays."""

import sys

from models.command import exit_status
from models.evaluation.tune import main

if __name__ == "__main__":
    sys.exit(exit_status(main))
