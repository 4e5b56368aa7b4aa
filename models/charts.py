"""`python -m models.charts`: how well Antiphon keeps to a chart."""

import sys

from models.command import exit_status
from models.evaluation.charts import run

if __name__ == "__main__":
    sys.exit(exit_status(run))
