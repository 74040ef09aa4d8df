"""A hub on loopback, as much of one as huggingface_hub's own client asks for to write a repository and to read it."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"


class Hub:
    """Repositories in memory: name -> {path: content}; large files by their hash until a commit names them."""

    def __init__(self):
        self.repositories, self.large, self.asked = {}, {}, []


def handler_of(hub):
    """Return the class that answers for a hub."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def answer(self, content, status=200, **headers):
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body)), "X-Request-Id": "1"} | headers).items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def body(self):
            if self.headers.get("Transfer-Encoding") == "chunked":
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def missing(self):
            self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")

        def do_PUT(self):
            hub.large[self.path.rsplit("/", 1)[-1]] = self.body()
            self.answer(b"")

        def do_POST(self):
            hub.asked.append(f"POST {self.path}")
            content = self.body()
            if self.path == "/api/repos/create":
                told = json.loads(content)
                name = f"{told['organization']}/{told['name']}" if told.get("organization") else told["name"]
                exists = name in hub.repositories
                hub.repositories.setdefault(name, {})
                self.answer({"url": f"{self.base}/{name}", "name": name}, 409 if exists else 200)
            elif "/preupload/" in self.path:
                files = json.loads(content)["files"]
                modes = [{"path": one["path"], "uploadMode": mode_of(one["path"])} for one in files]
                self.answer({"files": [mode | {"shouldIgnore": False, "oid": None} for mode in modes]})
            elif self.path.endswith("/info/lfs/objects/batch"):
                wanted = json.loads(content)["objects"]
                objects = [one | {"actions": {"upload": {"href": f"{self.base}/large/{one['oid']}"}}} for one in wanted]
                self.answer({"transfer": "basic", "objects": objects}, Content_Type="application/vnd.git-lfs+json")
            elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", self.path):
                repository = hub.repositories[found[1]]
                for line in content.splitlines():
                    told = json.loads(line)
                    if told["key"] == "file":
                        repository[told["value"]["path"]] = base64.b64decode(told["value"]["content"])
                    elif told["key"] == "lfsFile":
                        repository[told["value"]["path"]] = hub.large[told["value"]["oid"]]
                url = f"{self.base}/{found[1]}/commit/{COMMIT}"
                self.answer({"commitUrl": url, "commitOid": COMMIT, "success": True, "hookOutput": ""})
            else:
                self.answer({}, 200)

        def do_GET(self):
            path = unquote(self.path.split("?")[0])
            hub.asked.append(f"{self.command} {path}")
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/[^/]+)?", path):
                files = hub.repositories.get(found[1])
                if files is None:
                    return self.missing()
                about = {"id": found[1], "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
                return self.answer(about)
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+.*", path):
                files = hub.repositories.get(found[1], {})
                return self.answer(
                    [{"type": "file", "path": n, "size": len(c), "oid": sha_of(c)} for n, c in files.items()]
                )
            if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
                content = hub.repositories.get(found[1], {}).get(found[2])
                if content is None:
                    return self.answer({}, 404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
                return self.answer(content, ETag=f'"{sha_of(content)}"', X_Repo_Commit=COMMIT)
            return self.missing()

        do_HEAD = do_GET  # noqa: N815

        @property
        def base(self):
            return f"http://127.0.0.1:{self.server.server_address[1]}"

    return Handler


def sha_of(content):
    """Return what stands for a content."""
    return hashlib.sha256(content).hexdigest()


def mode_of(path):
    """Return how a file is sent: weights apart, texts within the commit."""
    return "lfs" if path.endswith(".safetensors") else "regular"


@contextmanager
def serving():
    """Yield a hub and its address."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(hub))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
