"""HTTP requests to a model hub, with limits on size, time and redirects.

The session is huggingface_hub's, with its settings: HF_TOKEN, HF_HUB_DOWNLOAD_TIMEOUT, proxies,
certificates. The token is sent only to the hub itself.
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

_MAX_RESPONSE = 16 << 20
_MAX_REDIRECTS = 5

# The timeout of a read is HF_HUB_DOWNLOAD_TIMEOUT. Times this factor, it limits the time of a JSON
# response, and is the interval in which a file must arrive at the minimum rate: one minute by
# default.
_TIMEOUT_FACTOR = 6
_MIN_RATE = 1024  # bytes per second

_RETRY_STATUSES = (408, 429, 500, 502, 503, 504)
_RETRIES, _MAX_WAIT = 5, 30


class StatusError(HubError):
    """The hub answered with the status of an error.

    Attributes:
        status: the HTTP status.
        code: the hub's error code, such as "RepoNotFound", or "".
        wait: seconds to wait before the next try, from Retry-After; None without that header.

    """

    def __init__(self, status: int, code: str, wait: int | None) -> None:
        self.status, self.code, self.wait = status, code, wait
        super().__init__(f"the hub answers with status {status}")


class ConnectionFailedError(HubError):
    """The hub cannot be reached, or the connection broke."""


class TooLongError(HubError):
    """A file is longer than the hub's listing says."""


def read_json(url: str) -> Any:
    """Get a JSON document, and retry while the hub is busy.

    Raises:
        StatusError: the hub refuses, or stays busy.
        ConnectionFailedError: the hub cannot be reached.
        HubError: the response is too large, too slow, or not JSON.

    """
    for attempt in range(_RETRIES + 1):
        try:
            return _read_json(url)
        except StatusError as error:
            if error.status not in _RETRY_STATUSES or attempt == _RETRIES:
                raise
            time.sleep(2**attempt if error.wait is None else error.wait)
    raise AssertionError


def fetch(url: str, file: BinaryIO, size: int, on_bytes: OnBytes | None = None) -> None:
    """Append the missing bytes to a file, and reconnect when a connection breaks.

    Args:
        url: source of the file.
        file: a file opened for appending; the download starts at its end.
        size: size of the complete file, in bytes.
        on_bytes: called with the number of bytes that were appended.

    Raises:
        TooLongError: the hub sends more than `size` bytes.
        StatusError: the hub refuses, or stays busy.
        ConnectionFailedError: the hub cannot be reached.
        HubError: the hub announces another size, or sends too slowly.
        OSError: the file cannot be written.

    """
    rate, failures = _RateCheck(), 0
    while (offset := file.tell()) < size:
        wait: int | None = None
        try:
            _fetch(url, file, size, rate, on_bytes)
            continue
        except StatusError as error:
            if error.status not in _RETRY_STATUSES or failures == _RETRIES:
                raise
            wait = error.wait
        except ConnectionFailedError:
            if file.tell() == offset and failures == _RETRIES:
                raise
        failures = failures + 1 if file.tell() == offset else 0
        rate.add(0)
        time.sleep(1 if wait is None else wait)


def _read_json(url: str) -> Any:
    content = bytearray()
    with _Deadline() as deadline, _open_response(url, {}, deadline) as response:
        for block in response.iter_raw():
            content += block
            if len(content) > _MAX_RESPONSE:
                raise HubError(
                    f"{_host(url)} answers with more than {_MAX_RESPONSE >> 20} MiB instead of a "
                    "listing"
                )
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise HubError(f"the answer of {_host(url)} is not JSON; check HF_ENDPOINT") from error


def _fetch(url: str, file: BinaryIO, size: int, rate: _RateCheck, on_bytes: OnBytes | None) -> None:
    """Append the bytes that one connection delivers."""
    offset = file.tell()
    range_header = {"Range": f"bytes={offset}-"} if offset else {}
    with _Deadline() as deadline, _open_response(url, range_header, deadline) as response:
        deadline.cancel()
        skip = 0
        if response.status_code == 206:
            if not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
                raise HubError(f"{_host(url)} sends another part of the file than was requested")
        else:
            # The hub sends the whole file. The bytes on disk are kept: the digest is checked later.
            skip = offset
        length = response.headers.get("Content-Length", "")
        if length.isdecimal() and length.isascii() and length != str(size - offset + skip):
            raise HubError(
                f"{_host(url)} announces {length[:20]} bytes instead of {size - offset + skip}; "
                "run it again"
            )
        for block in response.iter_raw():
            rate.add(len(block))
            new = block[skip:]
            skip = max(0, skip - len(block))
            if len(new) > size - offset:
                raise TooLongError(f"is longer than the {size:,} bytes of the hub's listing")
            file.write(new)
            # The bytes stay on disk, even if the process is killed while it waits for more.
            file.flush()
            offset += len(new)
            if on_bytes:
                on_bytes(len(new))
    if offset < size:
        raise ConnectionFailedError("the connection ended early")


@contextmanager
def _open_response(url: str, headers: Mapping[str, str], deadline: _Deadline) -> Iterator[Any]:
    """Send a request, follow its redirects, and yield the response before its body is read."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers

    endpoint = urlsplit(constants.ENDPOINT)
    try:
        for _ in range(_MAX_REDIRECTS + 1):
            target = urlsplit(url)
            request_headers = {name.lower(): value for name, value in build_hf_headers().items()}
            if (target.scheme, target.netloc.lower()) != (endpoint.scheme, endpoint.netloc.lower()):
                request_headers.pop("authorization", None)
            elif not _is_printable_ascii(request_headers.get("authorization", "")):
                raise HubError(
                    "HF_TOKEN has characters that are not valid in a token; set it again"
                )
            # A compressed response could expand to any size.
            request_headers |= {"accept-encoding": "identity", **headers}
            with get_session().stream(
                "GET",
                url,
                headers=request_headers,
                follow_redirects=False,
                timeout=deadline.timeout,
            ) as response:
                if 300 <= response.status_code < 400 and "Location" in response.headers:
                    url = _redirect_target(url, response.headers["Location"])
                    continue
                _check_response(response, url)
                yield response
                return
        raise HubError(f"{_host(url)} redirects too many times")
    except (JlocalError, OSError):
        # The reader of the response raises disk errors; network errors have other types.
        if deadline.expired:
            raise _too_slow_error(url) from None
        raise
    # The exceptions of a network failure depend on the HTTP library, which huggingface_hub has
    # changed between releases.
    except Exception as error:
        if deadline.expired:
            raise _too_slow_error(url) from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConnectionFailedError(printable(reason)[:200]) from error


def _redirect_target(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
        scheme = urlsplit(target).scheme
    except ValueError:
        target, scheme = location, ""
    if scheme not in ("http", "https") or (scheme == "http" and url.startswith("https:")):
        shown = printable(target)[:80]
        raise HubError(f"{_host(url)} redirects to {shown!r}, which is not followed")
    return target


def _check_response(response: Any, url: str) -> None:
    if response.status_code not in (200, 206):
        code = printable(response.headers.get("X-Error-Code", ""))[:40]
        wait = response.headers.get("Retry-After", "")
        seconds = int(wait) if re.fullmatch(r"[0-9]{1,9}", wait) else None
        raise StatusError(
            response.status_code,
            code,
            None if seconds is None else min(seconds, _MAX_WAIT),
        )
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise HubError(f"{_host(url)} sends a compressed response, which was not requested")


class _Deadline:
    """A time limit for a response: a slow stream of single bytes never times out a read."""

    def __init__(self) -> None:
        from huggingface_hub import constants

        self.timeout = max(1, constants.HF_HUB_DOWNLOAD_TIMEOUT)
        self.expired = False
        self._timer = threading.Timer(_TIMEOUT_FACTOR * self.timeout, self._end)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def cancel(self) -> None:
        """Remove the limit."""
        self._timer.cancel()

    def _end(self) -> None:
        from huggingface_hub import close_session

        self.expired = True
        # The next request opens a new session.
        close_session()


class _RateCheck:
    """The download rate of a file; a rate below the minimum is an error."""

    def __init__(self) -> None:
        from huggingface_hub import constants

        self._window = _TIMEOUT_FACTOR * max(1, constants.HF_HUB_DOWNLOAD_TIMEOUT)
        self._since, self._bytes = time.monotonic(), 0

    def add(self, count: int) -> None:
        self._bytes += count
        now = time.monotonic()
        if now - self._since >= self._window:
            if self._bytes < _MIN_RATE * self._window:
                raise HubError(
                    f"the hub has sent {self._bytes:,} bytes in {now - self._since:.0f} seconds; "
                    "run it again later: it continues where it stopped"
                )
            self._since, self._bytes = now, 0


def _too_slow_error(url: str) -> HubError:
    return HubError(f"{_host(url)} does not finish its answer; try again later")


def _is_printable_ascii(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _host(url: str) -> str:
    return printable(urlsplit(url).netloc.rpartition("@")[2])[:80]
