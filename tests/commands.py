"""Commands run inside the test's own process: what a shell would see of them, without starting a Python."""

import contextlib
import io
import subprocess
import sys
from unittest import mock

from frontier.cli import main as frontier_main


def run_main(main, name, *arguments):
    """Output, errors and exit code of `main` called with these words."""
    out, err = io.StringIO(), io.StringIO()
    words = [name, *map(str, arguments)]
    with (
        mock.patch.object(sys, "argv", words),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def sae_frontier(*arguments):
    """`sae-frontier` with these words."""
    return run_main(frontier_main, "sae-frontier", *arguments)
