"""`python -m trainers.studies NAME FOLDER`: train and evaluate one of the studies."""

import sys

from trainers.studies.configurations import STUDIES, run

if len(sys.argv) != 3:
    sys.exit(f"python -m trainers.studies NAME FOLDER; NAME is one of {', '.join(STUDIES)}")
run(sys.argv[1], sys.argv[2])
