"""A model hub on this machine: the routes that huggingface_hub needs to download a repository."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Faults:
    """The faults of the hub, and a record of the requests.

    Attributes:
        answers: statuses of the next answers, in place of the requested content.
        headers: headers of those answers, such as Retry-After or X-Error-Code.
        cuts: for each of the next downloads, the bytes before the connection breaks.
        stalls: for each of the next downloads, the bytes before the transfer stalls.
        vanished: whether files that the listing names are missing.
        damaged: whether files have other bytes than the listing says.
        sizes: file to the size that the listing claims.
        listing: the answer in place of a listing, as bytes or for JSON.
        file_headers: headers of downloads, in place of the right ones or beside them.
        redirect: the addresses to which downloads are redirected, by their path.
        pieces: the pieces of downloads, in place of their content and without a length.
        listing_pieces: the same for listings.
        slow_headers: whether headers come byte by byte, and never end.
        ranges: the Range of each download, or "".
        tokens: the Authorization of each request, or "".

    """

    answers: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    stalls: list[int] = field(default_factory=list)
    vanished: bool = False
    damaged: bool = False
    sizes: dict[str, int] = field(default_factory=dict)
    listing: Callable[[dict[str, Any]], object] | None = None
    file_headers: dict[str, str] = field(default_factory=dict)
    redirect: Callable[[str], str] | None = None
    pieces: Callable[[bytes], Iterable[bytes]] | None = None
    listing_pieces: Callable[[bytes], Iterable[bytes]] | None = None
    slow_headers: bool = False
    ranges: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serve(
    repositories: dict[str, Path], faults: Faults | None = None
) -> Iterator[tuple[str, list[str]]]:
    """Serve folders as repositories, by `owner/name`.

    Yields:
        The endpoint's address, and the list to which each downloaded file is added.

    """
    requests: list[str] = []
    wrong = faults or Faults()

    class Handler(_Handler):
        folders = repositories
        downloaded = requests
        faults = wrong

    class Server(ThreadingHTTPServer):
        # A client that is killed is part of the tests.
        def handle_error(self, *_: Any) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            wrong.release.set()
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folders: dict[str, Path]
    downloaded: list[str]
    faults: Faults

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def _answer(self, *, body: bool) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        self.faults.tokens.append(self.headers.get("Authorization", ""))
        if self.faults.slow_headers:
            self._dribble()
        elif self.faults.answers:
            self._send(self.faults.answers.pop(0), b"", body, self.faults.headers)
        elif parts[:2] == ["api", "models"]:
            self._api("/".join(parts[2:4]), parts[4:], body)
        elif len(parts) > 4 and parts[2] == "resolve":
            self._file("/".join(parts[:2]), "/".join(parts[4:]), body)
        else:
            self._send(404, b"{}", body)

    def _dribble(self) -> None:
        for byte in itertools.chain(b"HTTP/1.1 200 OK\r\nX: ", itertools.repeat(ord("x"))):
            if self.faults.release.wait(0.2):
                break
            self.wfile.write(bytes([byte]))
        self.close_connection = True

    def _api(self, repository: str, rest: list[str], body: bool) -> None:
        folder = self.folders.get(repository)
        if folder is None:
            self._send(404, b"{}", body, {"X-Error-Code": "RepoNotFound"})
            return
        if rest[:1] == ["revision"] and rest[1] not in ("main", "v1", _commit(repository)):
            self._send(404, b"{}", body, {"X-Error-Code": "RevisionNotFound"})
            return
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if rest[:1] == ["tree"]:
            tree = [{"type": "file", **self._facts(path, folder, "path", "oid")} for path in files]
            self._send(200, json.dumps(tree).encode(), body)
            return
        info = {
            "id": repository,
            "sha": _commit(repository),
            "siblings": [self._facts(path, folder, "rfilename", "blobId") for path in files],
            "cardData": {"license": "cc-by-nc-4.0"},
        }
        answer = self.faults.listing(info) if self.faults.listing else info
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        if self.faults.listing_pieces:
            self._stream(self.faults.listing_pieces(content), {})
        else:
            self._send(200, content, body)

    def _facts(self, path: Path, folder: Path, name: str, id: str) -> dict[str, Any]:
        relative = path.relative_to(folder).as_posix()
        size = self.faults.sizes.get(relative, path.stat().st_size)
        facts = {name: relative, "size": size, id: _etag(path)}
        if path.suffix == ".gguf":
            sha256 = _sha256(path)
            facts["lfs"] = {"oid": sha256, "sha256": sha256, "size": size, "pointerSize": 134}
        return facts

    def _file(self, repository: str, name: str, body: bool) -> None:
        folder = self.folders.get(repository)
        if folder is None or not (folder / name).is_file() or self.faults.vanished:
            code = "RepoNotFound" if folder is None else "EntryNotFound"
            self._send(404, b"", body, {"X-Error-Code": code})
            return
        path = folder / name
        content = path.read_bytes()
        headers = {"ETag": f'"{_etag(path)}"', "X-Repo-Commit": _commit(repository)}
        if path.suffix == ".gguf":
            headers |= {"X-Linked-Etag": f'"{_sha256(path)}"', "X-Linked-Size": str(len(content))}
        headers |= self.faults.file_headers
        if not body:
            self._send(200, content, body, headers)
            return
        if self.faults.redirect:
            self._send(302, b"", body, {"Location": self.faults.redirect(self.path)})
            return
        self.downloaded.append(name)
        self.faults.ranges.append(self.headers.get("Range", ""))
        if self.faults.damaged:
            content = content[:-1] + bytes([content[-1] ^ 1])
        if self.faults.pieces:
            self._stream(self.faults.pieces(content), headers)
            return
        status = 200
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start, status = int(asked[1]), 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content = content[start:]
        self._send(status, content, body, headers | self.faults.file_headers)

    def _stream(self, pieces: Iterable[bytes], headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in (headers | {"Connection": "close"}).items():
            self.send_header(name, value)
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)
        self.close_connection = True

    def _send(
        self, status: int, content: bytes, body: bool, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not body:
            return
        if "X-Linked-Etag" in (headers or {}) and self.faults.cuts:
            self.wfile.write(content[: self.faults.cuts.pop(0)])
            self.close_connection = True
        elif "X-Linked-Etag" in (headers or {}) and self.faults.stalls:
            self.wfile.write(content[: self.faults.stalls.pop(0)])
            self.wfile.flush()
            self.faults.release.wait(60)
            self.close_connection = True
        else:
            self.wfile.write(content)


def _commit(repository: str) -> str:
    return hashlib.sha1(repository.encode()).hexdigest()


@cache
def _etag(path: Path) -> str:
    """Return the name that git gives the content of a file."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@cache
def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
