"""Weights & Biases on this machine: the GraphQL queries by which `wandb.Api` reads runs, and no other.

Source of the protocol: the queries of the public client themselves (wandb/apis/public/runs.py: Runs, Run and
their two fragments); fields that a query does not ask for are not answered.
"""

import base64
import json
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from own_process import served

PAGE = 2
"""Runs of one answer, at most, so that there are several pages."""


class Handler(BaseHTTPRequestHandler):
    projects: dict
    key: str
    asked: list
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self):
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/graphql":  # what the client reports of itself
            return self.send(404, {})
        asked = json.loads(sent)
        login = base64.b64encode(f"api:{self.key}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {login}":
            return self.send(401, {"errors": [{"message": f"user is not logged in: {self.path}"}]})
        name = re.search(r"query (\w+)", asked["query"])[1]
        self.asked.append(name)
        answer = getattr(self, f"get_{name.lower()}", None)
        if answer is None:
            return self.send(400, {"errors": [{"message": f"no query {name} at {self.headers['Host']}"}]})
        self.send(200, {"data": answer(asked["query"], asked.get("variables") or {})})

    def get_viewer(self, query, given):
        known = {
            "id": "VXNlcjox",
            "entity": "me",
            "username": "alice_private",
            "email": "alice@private.example",
        }
        return {"viewer": known | {"flags": "{}", "teams": {"edges": []}}}

    get_getdefaultentity = get_viewer

    def get_runs(self, query, given):
        runs = self.projects.get((given["entity"], given["project"]))
        if runs is None:
            return {"project": None}
        first, count = int(given.get("cursor") or 0), min(given.get("perPage") or 50, PAGE)
        shown = list(enumerate(runs))[first : first + count]
        edges = [{"node": self.node(run, query), "cursor": str(i + 1)} for i, run in shown]
        page = {"endCursor": str(first + count), "hasNextPage": first + count < len(runs)}
        found = {"runs": {"edges": edges, "pageInfo": page}, "runCount": len(runs)}
        return {"project": {"internalId": "7", "readOnly": False, **found}}

    def get_run(self, query, given):
        runs = self.projects.get((given["entity"], given["project"]), [])
        run = next((r for r in runs if r["id"] == given["name"]), None)
        return {"project": {"run": run and self.node(run, query)}}

    def node(self, run, query):
        light = {
            "id": "UnVu", "projectId": "7", "name": run["id"], "displayName": run["name"],
            "state": run["state"], "tags": [], "sweepName": None, "group": None, "jobType": None,
            "commit": None, "readOnly": False, "createdAt": "2026-01-01T00:00:00Z",
            "heartbeatAt": "2026-01-01T00:00:00Z", "description": "", "notes": "", "historyLineCount": 1,
            "user": {"name": "Alice", "username": "alice_private"},
        }  # fmt: skip
        if "summaryMetrics" not in query:
            return light
        config = {k: {"value": v, "desc": None} for k, v in run["config"].items()} | {"_wandb": {"value": {}}}
        full = {"config": config, "systemMetrics": {}, "summaryMetrics": run["summary"]}
        return light | {k: json.dumps(v) for k, v in full.items()} | {"historyKeys": None}


@contextmanager
def serving(projects, key):
    """The address, and the names of the queries that come, while the block runs."""
    asked = []
    with served(Handler, projects=projects, key=key, asked=asked) as url:
        yield url, asked
