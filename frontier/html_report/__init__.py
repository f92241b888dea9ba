"""One self-contained HTML page of a comparison: what is said, how it is drawn, how the page is made."""

from frontier.html_report.writing import report

__all__ = ["report"]
