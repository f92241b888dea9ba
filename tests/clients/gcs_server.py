"""Google's storage on this machine: buckets are folders; a token for a signature, then its JSON API.

Source of the protocol: https://cloud.google.com/storage/docs/json_api/v1/objects (list, get, alt=media), and
https://developers.google.com/identity/protocols/oauth2/service-account for the token.
"""

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

from own_process import served

PAGE = 2
"""Objects of one answer, so that listings have several pages."""


class Handler(BaseHTTPRequestHandler):
    buckets: dict
    token: str
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, status, body, **headers):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(content)

    def refuse(self, status, message):
        self.send(status, {"error": {"code": status, "message": message}})

    def do_POST(self):
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        signed = asked.get("assertion", [""])[0].count(".") == 2
        if urlsplit(self.path).path != "/token" or not signed:
            return self.refuse(400, "invalid_grant")
        self.send(200, {"access_token": self.token, "token_type": "Bearer", "expires_in": 3600})

    def do_GET(self):
        url = urlsplit(self.path)
        parts = url.path.removeprefix("/download").strip("/").split("/", 5)  # storage/v1/b/BUCKET/o/KEY
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        if self.headers.get("Authorization") != f"Bearer {self.token}":
            return self.refuse(403, f"alice does not have storage.objects.get access to {self.path}")
        if parts[:3] != ["storage", "v1", "b"] or unquote(parts[3]) not in self.buckets:
            return self.refuse(404, f"The specified bucket does not exist: {self.path}")
        self.root = self.buckets[unquote(parts[3])]
        if parts[4:] == ["o"]:
            return self.send(200, self.listing(unquote(parts[3]), **query))
        if parts[4:5] != ["o"]:
            return self.refuse(404, "Not Found")
        path = self.root / unquote(parts[5])
        if not path.is_file():
            return self.refuse(404, f"No such object: {self.path}")
        if query.get("alt") != "media":
            return self.send(200, self.about(unquote(parts[3]), unquote(parts[5])))
        content = path.read_bytes()
        checked = "md5=" + base64.b64encode(hashlib.md5(content).digest()).decode()
        self.send(200, content, X_Goog_Hash=checked)

    def about(self, bucket, key):
        content = (self.root / key).read_bytes()
        digest = hashlib.md5(content).digest()
        return {
            "kind": "storage#object", "name": key, "bucket": bucket, "size": str(len(content)),
            "generation": "1", "md5Hash": base64.b64encode(digest).decode(), "etag": digest.hex(),
            "timeCreated": "2026-01-01T00:00:00.000Z", "updated": "2026-01-01T00:00:00.000Z",
        }  # fmt: skip

    def listing(self, bucket, prefix="", delimiter="", pageToken="0", maxResults="1000", **_):
        keys = sorted(p.relative_to(self.root).as_posix() for p in self.root.rglob("*") if p.is_file())
        found = {}  # objects, and what stands in front of a delimiter
        for key in (k for k in keys if k.startswith(prefix)):
            head, cut, _ = key[len(prefix) :].partition(delimiter or "\0")
            found[prefix + head + cut if cut else key] = bool(cut)
        first, count = int(pageToken), min(int(maxResults), PAGE)
        page = list(found.items())[first : first + count]
        answer = {
            "kind": "storage#objects",
            "items": [self.about(bucket, name) for name, folder in page if not folder],
            "prefixes": [name for name, folder in page if folder],
        }
        return answer | ({"nextPageToken": str(first + count)} if first + count < len(found) else {})


def serving(buckets, token):
    """The address of a storage while the block runs; buckets are folders by name."""
    return served(Handler, buckets=buckets, token=token)
