"""The hub's listing of a repository, which is checked before it is used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from jlocal.errors import HubError, NotPublishedError
from jlocal.models.cache import is_safe
from jlocal.models.offline import is_offline
from jlocal.models.transfer import ConnectionFailedError, StatusError, read_json
from jlocal.printable import printable

_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MAX_SIZE = 1 << 62
_MAX_LICENSE = 100


@dataclass(frozen=True)
class ListedFile:
    """A file of a repository.

    Attributes:
        name: path inside the repository, valid on every system.
        size: size in bytes.
        digest: SHA-256 of a file in Git LFS, or else git's SHA-1, in hexadecimal.

    """

    name: str
    size: int
    digest: str


@dataclass(frozen=True)
class Listing:
    """A repository at one commit.

    Attributes:
        commit: the commit, in hexadecimal.
        license: the license in its model card.
        entries: the hub's unchecked metadata of each file, by name; `file` checks it.

    """

    repository: str
    commit: str
    license: str | None
    entries: Mapping[str, Mapping[str, Any]]

    def file(self, name: str) -> ListedFile:
        """Return a file after checking its metadata.

        Raises:
            HubError: the name is not valid on every system, or the size or digest is missing.

        """
        escaped = printable(name)[:80]
        if not is_safe(name):
            raise HubError(
                f"the hub offers a file with the invalid name {escaped!r}",
                repository=self.repository,
            )
        entry = self.entries[name]
        lfs = entry.get("lfs")
        details = lfs if isinstance(lfs, dict) else entry
        digest = details.get("sha256", entry.get("blobId"))
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise HubError(
                f"the hub names no SHA-256 for {escaped}; it cannot be checked",
                repository=self.repository,
            )
        size = details.get("size")
        if type(size) is not int or not 0 <= size < _MAX_SIZE:
            raise HubError(
                f"the hub names no usable size for {escaped}; it cannot be downloaded",
                repository=self.repository,
            )
        return ListedFile(name, size, digest)


def read_listing(repository: str, revision: str | None = None) -> Listing:
    """Ask the hub for the listing of a repository.

    Args:
        repository: `owner/name`.
        revision: branch, tag or commit; None is the main branch.

    Raises:
        NotPublishedError: the hub does not have the repository or the revision.
        HubError: the hub cannot be reached, refuses, or does not answer with a listing.

    """
    if is_offline():
        raise HubError(
            f"cannot ask for {repository}: this machine is set to be offline", repository=repository
        )
    from huggingface_hub import constants

    url = f"{constants.ENDPOINT}/api/models/{quote(repository)}"
    if revision is not None:
        url += f"/revision/{quote(revision, safe='')}"
    try:
        return _parse_listing(repository, read_json(f"{url}?blobs=true"))
    except (StatusError, ConnectionFailedError) as error:
        message = failure_message(error, repository, revision)
        if _is_not_found(error):
            raise NotPublishedError(message, repository=repository) from error
        raise HubError(message, repository=repository) from error


def failure_message(error: HubError, repository: str, revision: str | None) -> str:
    """Explain a failure in one line, and say what to do."""
    from huggingface_hub import constants

    endpoint = constants.ENDPOINT
    if isinstance(error, ConnectionFailedError):
        return (
            f"cannot download {repository} from {endpoint}: {error}; check the connection and run "
            "it again: it continues where it stopped"
        )
    if not isinstance(error, StatusError):
        return str(error)
    if error.code == "GatedRepo":
        return (
            f"{repository} is gated: accept its terms at {endpoint}/{repository}, and set HF_TOKEN"
        )
    if error.code == "RevisionNotFound":
        escaped = printable(str(revision))[:80]
        return f"{repository} has no revision {escaped!r}; leave it out for the newest"
    if error.code == "EntryNotFound":
        return f"{repository} no longer has the file; run it again to see the files it has"
    if _is_not_found(error):
        return (
            f"the hub has no model {repository}; check the name, or set HF_TOKEN if it is private"
        )
    if error.status in (401, 403):
        return f"{endpoint} refuses {repository} (status {error.status}); check HF_TOKEN"
    if error.status == 429:
        return f"{endpoint} gets too many requests from here; wait some minutes, or set HF_TOKEN"
    return f"{endpoint} answers {repository} with status {error.status}; try again later"


def _is_not_found(error: HubError) -> bool:
    """Return whether the hub does not have the repository or revision, or does not show it."""
    if not isinstance(error, StatusError):
        return False
    if error.code in ("RepoNotFound", "RevisionNotFound"):
        return True
    # For a repository that does not exist, the hub asks for a login.
    return error.status == 401 and not error.code and not _has_token()


def _has_token() -> bool:
    from huggingface_hub.utils import build_hf_headers

    return "authorization" in build_hf_headers()


def _parse_listing(repository: str, response: Any) -> Listing:
    invalid = HubError(
        f"the hub's response about {repository} is not a listing; try again later",
        repository=repository,
    )
    if not isinstance(response, dict):
        raise invalid
    commit, siblings = response.get("sha"), response.get("siblings")
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise HubError(f"the hub names no commit of {repository}", repository=repository)
    siblings = [] if siblings is None else siblings
    if not isinstance(siblings, list) or not all(_is_valid_entry(entry) for entry in siblings):
        raise invalid
    entries = {entry["rfilename"]: entry for entry in siblings}
    if len(entries) < len(siblings):
        raise invalid
    card = response.get("cardData")
    licence = card.get("license") if isinstance(card, dict) else None
    escaped = printable(licence)[:_MAX_LICENSE] if isinstance(licence, str) else None
    return Listing(repository, commit, escaped or None, entries)


def _is_valid_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("rfilename"), str)
