"""The examples of the export tests are used here too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "trainers"))

collect_ignore_glob = ["in_*.py"]  # scripts for the other environments
