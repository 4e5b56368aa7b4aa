"""`python -m models.distil`: on-policy distillation of an accompanist."""

import sys

from models.command import exit_status
from models.training.distil import main

if __name__ == "__main__":
    sys.exit(exit_status(main))
