"""A hub on this machine: repositories are folders; it answers what `huggingface_hub`'s file system asks.

Source of the protocol: https://huggingface.co/docs/hub/api (revision, tree, paths-info, resolve).
"""

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from own_process import served

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_API = re.compile(
    r"/api/(datasets|models)/([^/]+/[^/]+)(?:/(revision|tree|paths-info|preupload|commit)/([^/]+)(?:/(.*))?)?"
)
_FILE = re.compile(r"/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


class Hub:
    """Repositories by kind and name; private ones want the token; `fails` answers 503 so many times first."""

    def __init__(self, repositories, private=(), token="", fails=0, new="."):
        self.repositories, self.private, self.token, self.fails = repositories, private, token, fails
        self.new = Path(new)
        self.asked = []

    def root(self, kind, name):
        folder = self.repositories.get((kind or "models", name))
        return Path(folder) if folder else None

    def about(self, root, path):
        if path.is_dir():
            return {"type": "directory", "oid": COMMIT, "size": 0, "path": path.relative_to(root).as_posix()}
        content = path.read_bytes()
        oid = hashlib.sha1(content).hexdigest()
        return {"type": "file", "oid": oid, "size": len(content), "path": path.relative_to(root).as_posix()}


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, status, body=b"", **headers):
        body = json.dumps(body).encode() if not isinstance(body, bytes) else body
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def do_POST(self):
        self.sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def do_GET(self):
        hub, url = self.hub, urlsplit(self.path)
        path = unquote(url.path)
        hub.asked.append((self.command, path, self.headers.get("Authorization")))
        if hub.fails and "/resolve/" in path:
            hub.fails -= 1
            return self.send(503, {"error": "busy"})
        if path in ("/api/repos/create", "/api/validate-yaml"):
            return (
                self.post_create()
                if path.endswith("create")
                else self.send(200, {"errors": [], "warnings": []})
            )
        if found := _API.fullmatch(path):
            kind, name, what, _, inner = found.groups()
        elif found := _FILE.fullmatch(path):
            kind, name, _, inner = found.groups()
            what = "resolve"
        else:
            return self.send(404, {"error": "no such page"}, X_Error_Code="EntryNotFound")
        root = hub.root(kind, name)
        known = self.headers.get("Authorization") == f"Bearer {hub.token}"
        if root is None or (name in hub.private and not known):
            return self.send(401, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        return getattr(self, f"get_{(what or 'revision').replace('-', '_')}")(root, name, inner or "", url)

    def post_create(self):
        asked = json.loads(self.sent)
        name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self.send(401, {"error": "Invalid username or password."})
        folder = self.hub.repositories.setdefault(
            (f"{asked.get('type') or 'model'}s", name), self.hub.new / name
        )
        Path(folder).mkdir(parents=True, exist_ok=True)
        return self.send(200, {"url": f"http://{self.headers['Host']}/{name}", "name": name, "id": "1"})

    def get_preupload(self, root, name, inner, url):
        files = [
            {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
            for f in json.loads(self.sent)["files"]
        ]
        self.send(200, {"files": files})

    def get_commit(self, root, name, inner, url):
        for line in self.sent.splitlines():
            item = json.loads(line)
            if item["key"] == "file":
                place = root / item["value"]["path"]
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(base64.b64decode(item["value"]["content"]))
        here = f"http://{self.headers['Host']}/{name}/commit/{COMMIT}"
        self.send(200, {"success": True, "commitOid": COMMIT, "commitUrl": here, "hookOutput": ""})

    def get_revision(self, root, name, inner, url):
        inside = sorted(p for p in root.rglob("*") if p.is_file())
        files = [{"rfilename": p.relative_to(root).as_posix()} for p in inside]
        self.send(200, {"id": name, "sha": COMMIT, "private": False, "tags": [], "siblings": files})

    def get_tree(self, root, name, inner, url):
        place = root / inner
        if not place.is_dir():
            return self.send(404, {"error": "no such entry"}, X_Error_Code="EntryNotFound")
        deep = parse_qs(url.query).get("recursive", ["false"])[0].lower() == "true"
        inside = sorted(place.rglob("*") if deep else place.iterdir())
        return self.send(200, [self.hub.about(root, p) for p in inside])

    def get_paths_info(self, root, name, inner, url):
        content = self.sent.decode()
        paths = json.loads(content)["paths"] if content.startswith("{") else parse_qs(content)["paths"]
        known = [root / p for p in paths if (root / p).exists()]
        self.send(200, [self.hub.about(root, p) for p in known])

    def get_resolve(self, root, name, inner, url):
        place = root / inner
        if not place.is_file():
            return self.send(404, {"error": "no such entry"}, X_Error_Code="EntryNotFound")
        content = place.read_bytes()
        tag = f'"{hashlib.sha1(content).hexdigest()}"'
        about = {"X_Repo_Commit": COMMIT, "ETag": tag, "Accept_Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or len(content) - 1), len(content) - 1)
            about["Content_Range"] = f"bytes {first}-{last}/{len(content)}"
            return self.send(206, content[first : last + 1], **about)
        return self.send(200, content, Content_Length=len(content), **about)


def serving(hub):
    """The address of a hub while the block runs."""
    return served(Handler, hub=hub)
