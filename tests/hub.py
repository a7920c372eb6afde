"""A model hub on this machine: the routes that huggingface_hub needs to download a repository."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@contextmanager
def serve(repositories: dict[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """Serve folders as repositories, by `owner/name`.

    Yields:
        The endpoint's address, and the list to which each downloaded file is added.

    """
    requests: list[str] = []

    class Handler(_Handler):
        folders = repositories
        downloaded = requests

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folders: dict[str, Path]
    downloaded: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def _answer(self, *, body: bool) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._api("/".join(parts[2:4]), parts[4:], body)
        elif len(parts) > 4 and parts[2] == "resolve":
            self._file("/".join(parts[:2]), "/".join(parts[4:]), body)
        else:
            self._send(404, b"{}", body)

    def _api(self, repository: str, rest: list[str], body: bool) -> None:
        folder = self.folders.get(repository)
        if folder is None:
            self._send(404, b"{}", body, {"X-Error-Code": "RepoNotFound"})
            return
        if rest[:1] == ["revision"] and rest[1] != "main":
            self._send(404, b"{}", body, {"X-Error-Code": "RevisionNotFound"})
            return
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if rest[:1] == ["tree"]:
            tree = [
                {
                    "type": "file",
                    "path": path.relative_to(folder).as_posix(),
                    "size": path.stat().st_size,
                    "oid": _etag(path),
                }
                for path in files
            ]
            self._send(200, json.dumps(tree).encode(), body)
            return
        siblings = [{"rfilename": path.relative_to(folder).as_posix()} for path in files]
        info = {"id": repository, "sha": _commit(repository), "siblings": siblings}
        self._send(200, json.dumps(info).encode(), body)

    def _file(self, repository: str, name: str, body: bool) -> None:
        folder = self.folders.get(repository)
        if folder is None or not (folder / name).is_file():
            code = "RepoNotFound" if folder is None else "EntryNotFound"
            self._send(404, b"", body, {"X-Error-Code": code})
            return
        if body:
            self.downloaded.append(name)
        headers = {"ETag": f'"{_etag(folder / name)}"', "X-Repo-Commit": _commit(repository)}
        self._send(200, (folder / name).read_bytes(), body, headers)

    def _send(
        self, status: int, content: bytes, body: bool, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)


def _commit(repository: str) -> str:
    return hashlib.sha1(repository.encode()).hexdigest()


def _etag(path: Path) -> str:
    return hashlib.sha1(str(path).encode()).hexdigest()
