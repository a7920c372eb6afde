"""HTTP with a model hub, within bounds of size, time and redirects, whatever the hub does.

The session is huggingface_hub's, with its settings: HF_TOKEN, HF_HUB_DOWNLOAD_TIMEOUT, proxies,
certificates. The token goes to the hub itself and to no other host.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

from jlocal.errors import HubError, JlocalError
from jlocal.printable import printable

OnBytes = Callable[[int], None]

_MAX_ANSWER = 16 << 20
_MAX_REDIRECTS = 5

# A read times out when nothing comes at all. Beside that, so many times as long is the most for an
# answer that is no file, and the time within which a file must make progress: one minute, unless
# HF_HUB_DOWNLOAD_TIMEOUT is set.
_PATIENCE = 6
_SLOWEST = 1024  # bytes per second

_BUSY = (408, 429, 500, 502, 503, 504)
_RETRIES, _LONGEST_WAIT = 5, 30


class StatusError(HubError):
    """The hub answered with a status that is no success.

    Attributes:
        status: of HTTP.
        code: the hub's own word for it, such as "RepoNotFound", or "".
        wait: seconds after which it wants to be asked again, if it says so.

    """

    def __init__(self, status: int, code: str, wait: int | None) -> None:
        self.status, self.code, self.wait = status, code, wait
        super().__init__(f"the hub answers with status {status}")


class ConnectionFailedError(HubError):
    """The hub cannot be reached, or the connection broke."""


class TooLongError(HubError):
    """A file goes on after the last byte that the hub promised."""


def read_json(url: str) -> Any:
    """Get a JSON document, and ask again after a while where the hub wants that.

    Raises:
        StatusError: the hub refuses, or stays busy.
        ConnectionFailedError: it cannot be reached.
        HubError: the answer is too large, too slow, or not JSON.

    """
    for attempt in range(_RETRIES + 1):
        try:
            return _read_json(url)
        except StatusError as error:
            if error.status not in _BUSY or attempt == _RETRIES:
                raise
            time.sleep(2**attempt if error.wait is None else error.wait)
    raise AssertionError


def fetch(url: str, file: BinaryIO, size: int, on_bytes: OnBytes | None = None) -> None:
    """Append to a file what it lacks of `size` bytes, with a new connection where one breaks.

    Args:
        url: where from.
        file: open for appending; what it holds already is not asked for again.
        size: of the entire file, in bytes.
        on_bytes: called with the number of bytes that were added.

    Raises:
        TooLongError: more comes than that.
        StatusError: the hub refuses, or stays busy.
        ConnectionFailedError: it cannot be reached.
        HubError: it offers another size, or sends too slowly.
        OSError: the file cannot be written.

    """
    pace, failures = _Pace(), 0
    while (have := file.tell()) < size:
        wait: int | None = None
        try:
            _fetch(url, file, size, pace, on_bytes)
            continue
        except StatusError as error:
            if error.status not in _BUSY or failures == _RETRIES:
                raise
            wait = error.wait
        except ConnectionFailedError:
            if file.tell() == have and failures == _RETRIES:
                raise
        failures = failures + 1 if file.tell() == have else 0
        pace.add(0)
        time.sleep(1 if wait is None else wait)


def _read_json(url: str) -> Any:
    content = bytearray()
    with _Deadline() as deadline, _get(url, {}, deadline) as response:
        for block in response.iter_raw():
            content += block
            if len(content) > _MAX_ANSWER:
                raise HubError(
                    f"{_host(url)} answers with more than {_MAX_ANSWER >> 20} MiB instead of a "
                    "listing"
                )
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise HubError(
            f"{_host(url)} answers with something that is not JSON; check HF_ENDPOINT"
        ) from error


def _fetch(url: str, file: BinaryIO, size: int, pace: _Pace, on_bytes: OnBytes | None) -> None:
    """Append what one connection gives."""
    have = file.tell()
    asked = {"Range": f"bytes={have}-"} if have else {}
    with _Deadline() as deadline, _get(url, asked, deadline) as response:
        deadline.cancel()
        skip = 0
        if response.status_code == 206:
            if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                raise HubError(f"{_host(url)} answers with another part than the one asked for")
        else:
            # It gives the whole file. What is here is still kept: the digest decides at the end.
            skip = have
        length = response.headers.get("Content-Length", "")
        if length.isdecimal() and length.isascii() and length != str(size - have + skip):
            raise HubError(
                f"{_host(url)} offers {length[:20]} bytes where {size - have + skip} are missing; "
                "run it again"
            )
        for block in response.iter_raw():
            pace.add(len(block))
            new = block[skip:]
            skip = max(0, skip - len(block))
            if len(new) > size - have:
                raise TooLongError(f"goes on after the {size:,} bytes that were promised")
            file.write(new)
            # What has arrived stays, even if the process is killed while the hub sends nothing.
            file.flush()
            have += len(new)
            if on_bytes:
                on_bytes(len(new))
    if have < size:
        raise ConnectionFailedError("the connection ended early")


@contextmanager
def _get(url: str, headers: Mapping[str, str], deadline: _Deadline) -> Iterator[Any]:
    """Send a request, follow its redirects, and give the answer, its body still to come."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers

    home = urlsplit(constants.ENDPOINT)
    try:
        for _ in range(_MAX_REDIRECTS + 1):
            target = urlsplit(url)
            sent = {name.lower(): value for name, value in build_hf_headers().items()}
            if (target.scheme, target.netloc.lower()) != (home.scheme, home.netloc.lower()):
                sent.pop("authorization", None)
            elif not _is_plain(sent.get("authorization", "")):
                raise HubError("HF_TOKEN holds characters that no token has; set it again")
            # What is decompressed could be of any size.
            sent |= {"accept-encoding": "identity", **headers}
            with get_session().stream(
                "GET", url, headers=sent, follow_redirects=False, timeout=deadline.timeout
            ) as response:
                if 300 <= response.status_code < 400 and "Location" in response.headers:
                    url = _redirected(url, response.headers["Location"])
                    continue
                _check(response, url)
                yield response
                return
        raise HubError(f"{_host(url)} redirects from one address to the next without end")
    except (JlocalError, OSError):
        # Errors of the disk come from who reads the answer; those of the network have other types.
        if deadline.over:
            raise _too_slow(url) from None
        raise
    # Which exceptions a network failure raises depends on the release of huggingface_hub: it has
    # changed its HTTP library.
    except Exception as error:
        if deadline.over:
            raise _too_slow(url) from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConnectionFailedError(printable(reason)[:200]) from error


def _redirected(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
        scheme = urlsplit(target).scheme
    except ValueError:
        target, scheme = location, ""
    if scheme not in ("http", "https") or (scheme == "http" and url.startswith("https:")):
        shown = printable(target)[:80]
        raise HubError(f"{_host(url)} redirects to {shown!r}, which is not followed")
    return target


def _check(response: Any, url: str) -> None:
    if response.status_code not in (200, 206):
        code = printable(response.headers.get("X-Error-Code", ""))[:40]
        wait = response.headers.get("Retry-After", "")
        seconds = int(wait) if re.fullmatch(r"[0-9]{1,9}", wait) else None
        raise StatusError(
            response.status_code,
            code,
            None if seconds is None else min(seconds, _LONGEST_WAIT),
        )
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise HubError(f"{_host(url)} compresses its answers without being asked to")


class _Deadline:
    """A limit for an answer: a byte now and then keeps a read from ever timing out."""

    def __init__(self) -> None:
        from huggingface_hub import constants

        self.timeout = max(1, constants.HF_HUB_DOWNLOAD_TIMEOUT)
        self.over = False
        self._timer = threading.Timer(_PATIENCE * self.timeout, self._end)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def cancel(self) -> None:
        """Set no limit from here on."""
        self._timer.cancel()

    def _end(self) -> None:
        from huggingface_hub import close_session

        self.over = True
        # The next request opens another one.
        close_session()


class _Pace:
    """The rate at which a file comes; too slow a one is an error."""

    def __init__(self) -> None:
        from huggingface_hub import constants

        self._window = _PATIENCE * max(1, constants.HF_HUB_DOWNLOAD_TIMEOUT)
        self._since, self._bytes = time.monotonic(), 0

    def add(self, count: int) -> None:
        self._bytes += count
        now = time.monotonic()
        if now - self._since >= self._window:
            if self._bytes < _SLOWEST * self._window:
                raise HubError(
                    f"the hub has sent {self._bytes:,} bytes in {now - self._since:.0f} seconds; "
                    "run it again later, which goes on where it stopped"
                )
            self._since, self._bytes = now, 0


def _too_slow(url: str) -> HubError:
    return HubError(f"{_host(url)} does not finish its answer; try again later")


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _host(url: str) -> str:
    return printable(urlsplit(url).netloc.rpartition("@")[2])[:80]
