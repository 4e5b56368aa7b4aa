"""`python -m models.conditioning`: what each kind of conditioning gains."""

import sys

from models.ablation.conditioning import main
from models.command import exit_status

if __name__ == "__main__":
    sys.exit(exit_status(main))
