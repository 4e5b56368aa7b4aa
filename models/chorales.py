"""`python -m models.chorales`: the JSB chorales benchmark."""

import sys

from models.command import exit_status
from models.training.chorales import main

if __name__ == "__main__":
    sys.exit(exit_status(main))
