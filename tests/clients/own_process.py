"""A server on this machine, and what a process of its own reads from it: clients look at settings once."""

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parents[2]
READS = """
import json, sys, frontier
for address in sys.argv[1:]:
    try:
        table = frontier.read(address).sort_values("l0")
        plain = table.astype(object).where(table.notna(), None)
        said = {c: plain[c].tolist() for c in plain}
        said |= {"notes": list(frontier.notes(table)), "made": table.attrs["frontier_made"]}
    except Exception as error:
        said = {"error": f"{type(error).__name__}: {error}"}
    print("SAID", json.dumps(said))
"""


@contextmanager
def served(handler, **about):
    """The address of a server while the block runs; its handler knows what it is `about`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (handler,), about))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def reads(folder, settings, *addresses, without=()):
    """What is read from each address by a process with these settings, and all that it prints."""
    env = {k: v for k, v in os.environ.items() if k not in without} | {"PYTHONPATH": str(ROOT)} | settings
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READS, *addresses], capture_output=True, text=True,
        cwd=folder, timeout=300, env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [json.loads(line[5:]) for line in done.stdout.splitlines() if line.startswith("SAID ")]
    return said, done.stdout + done.stderr
