"""`python -m models.ablate`: the decoder's ablation."""

import sys

from models.ablation.decoder import main
from models.command import exit_status

if __name__ == "__main__":
    sys.exit(exit_status(main))
