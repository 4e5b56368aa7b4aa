"""`python -m models.leanings`: what each leaning of the live sampler is worth."""

import sys

from models.ablation.leanings import main
from models.command import exit_status

if __name__ == "__main__":
    sys.exit(exit_status(main))
