"""Tables in text, Markdown, LaTeX and HTML."""

from frontier.tables.contents import RATIO_COLUMNS, WORDS, equal_height, fits_table, ratio_frame, ratios_table
from frontier.tables.runs import ALWAYS, runs_table

__all__ = [
    "ALWAYS",
    "RATIO_COLUMNS",
    "WORDS",
    "equal_height",
    "fits_table",
    "ratio_frame",
    "ratios_table",
    "runs_table",
]
