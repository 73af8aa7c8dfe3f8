"""A local Hub: enough of the Hugging Face Hub's protocol for the real client, on a free local port."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote


@dataclass
class Repository:
    """Commits of files, and branches that point to them."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    refusal: tuple[int, str, str] | None = None
    """Status, error code and message for requests without a token."""

    def commit(self, files: Mapping[str, bytes] | Path, branch: str = "main") -> str:
        """Commit these files (or all files of a folder) to a branch. Returns the commit's name."""
        if isinstance(files, Path):
            files = {str(path.relative_to(files)): path.read_bytes() for path in files.rglob("*") if path.is_file()}
        name = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.commits[name] = dict(files)
        self.branches[branch] = name
        return name


@dataclass(frozen=True)
class Disconnect:
    """The connection is closed after this many bytes."""

    after: int


@dataclass
class Hub:
    """Repositories by name, the received requests (`"GET /org/model/resolve/main/config.json"`), and faults."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    faults: dict[str, list[int | Disconnect]] = field(default_factory=dict)
    """Faults in the next requests for a file: a status to answer with, or a disconnect."""

    def repository(self, name: str) -> Repository:
        return self.repositories.setdefault(name, Repository())

    def fetched(self) -> list[str]:
        """The names of the files whose content was requested."""
        return [request.rpartition("/")[2] for request in self.requests if request.startswith("GET ")]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        if self.path.startswith("/api/"):  # the client's own daily request, unrelated to any model
            return self.refuse(404, "", "")
        self.hub.requests.append(f"{self.command} {self.path}")
        self.hub.tokens.add(self.headers.get("Authorization"))
        match = re.fullmatch(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)", self.path)
        repository = self.hub.repositories.get(match["repo"]) if match else None
        if match is None or repository is None:
            return self.refuse(404, "RepoNotFound", "Repository not found")
        if repository.refusal and "Authorization" not in self.headers:
            return self.refuse(*repository.refusal)
        revision = unquote(match["revision"])
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        content = repository.commits[commit].get(unquote(match["file"]))
        if content is None:
            return self.refuse(404, "EntryNotFound", "Entry not found", commit)
        faults = self.hub.faults.get(match["file"], [])
        fault = faults.pop(0) if faults and (self.command == "GET" or isinstance(faults[0], int)) else None
        if isinstance(fault, int):
            return self.refuse(fault, "", "Try again later")
        return self.send(content, commit, fault)

    def refuse(self, status: int, code: str, message: str, commit: str = "") -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        if commit:
            self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send(self, content: bytes, commit: str, fault: Disconnect | None) -> None:
        byte_range = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(byte_range[1]) if byte_range else 0
        self.send_response(206 if byte_range else 200)
        if byte_range:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[start:] if fault is None else content[start : start + fault.after])
            self.close_connection = fault is not None

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing; the requests are recorded in the Hub."""


@contextmanager
def serve() -> Iterator[Hub]:
    """A Hub that answers until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
