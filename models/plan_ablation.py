"""`python -m models.plan_ablation`: the plan's ablation."""

import sys

from models.ablation.plan import main
from models.command import exit_status

if __name__ == "__main__":
    sys.exit(exit_status(main))
