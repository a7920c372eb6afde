"""What a hub says of a repository, of which nothing is used before it is checked."""

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
class File:
    """A file of a repository.

    Attributes:
        name: its path inside the repository, safe to use on any system.
        size: in bytes.
        digest: SHA-256 of a file that is kept beside git, or else git's SHA-1, in hexadecimal.

    """

    name: str
    size: int
    digest: str


@dataclass(frozen=True)
class Listing:
    """A repository at one commit.

    Attributes:
        commit: in hexadecimal.
        license: as its model card names it.
        entries: what the hub says of each file, by name; `file` checks it.

    """

    repository: str
    commit: str
    license: str | None
    entries: Mapping[str, Mapping[str, Any]]

    def file(self, name: str) -> File:
        """Return a file, checked.

        Raises:
            HubError: the name cannot be used on every system, or size or digest are missing.

        """
        shown = printable(name)[:80]
        if not is_safe(name):
            raise HubError(
                f"the hub offers a file with the unusable name {shown!r}",
                repository=self.repository,
            )
        entry = self.entries[name]
        lfs = entry.get("lfs")
        facts = lfs if isinstance(lfs, dict) else entry
        digest = facts.get("sha256", entry.get("blobId"))
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise HubError(
                f"the hub names no SHA-256 for {shown}; it cannot be checked",
                repository=self.repository,
            )
        size = facts.get("size")
        if type(size) is not int or not 0 <= size < _MAX_SIZE:
            raise HubError(
                f"the hub names no usable size for {shown}; it cannot be downloaded",
                repository=self.repository,
            )
        return File(name, size, digest)


def read_listing(repository: str, revision: str | None = None) -> Listing:
    """Ask the hub what a repository holds.

    Args:
        repository: as `owner/name`.
        revision: branch, tag or commit; None is the main branch.

    Raises:
        NotPublishedError: it has no such repository or revision.
        HubError: it cannot be reached, refuses, or answers with something else.

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
        return _listing(repository, read_json(f"{url}?blobs=true"))
    except (StatusError, ConnectionFailedError) as error:
        message = explain(error, repository, revision)
        if _is_absent(error):
            raise NotPublishedError(message, repository=repository) from error
        raise HubError(message, repository=repository) from error


def explain(error: HubError, repository: str, revision: str | None) -> str:
    """Put a failure into one line that says what to do."""
    from huggingface_hub import constants

    endpoint = constants.ENDPOINT
    if isinstance(error, ConnectionFailedError):
        return (
            f"cannot download {repository} from {endpoint}: {error}; check the connection and run "
            "it again, which goes on where it stopped"
        )
    if not isinstance(error, StatusError):
        return str(error)
    if error.code == "GatedRepo":
        return (
            f"{repository} is gated: accept its terms at {endpoint}/{repository}, and set HF_TOKEN"
        )
    if error.code == "RevisionNotFound":
        shown = printable(str(revision))[:80]
        return f"{repository} has no revision {shown!r}; leave it out for the newest"
    if error.code == "EntryNotFound":
        return f"{repository} no longer has the file; run it again to see what there is"
    if _is_absent(error):
        return (
            f"the hub has no model {repository}; check the name, or set HF_TOKEN if it is private"
        )
    if error.status in (401, 403):
        return f"{endpoint} refuses {repository} (status {error.status}); check HF_TOKEN"
    if error.status == 429:
        return f"{endpoint} gets too many requests from here; wait some minutes, or set HF_TOKEN"
    return f"{endpoint} answers {repository} with status {error.status}; try again later"


def _is_absent(error: HubError) -> bool:
    """Tell whether the hub has no such repository or revision, for all that one may see."""
    if not isinstance(error, StatusError):
        return False
    if error.code in ("RepoNotFound", "RevisionNotFound"):
        return True
    # The hub says of repositories that are not there that one must log in.
    return error.status == 401 and not error.code and not _has_token()


def _has_token() -> bool:
    from huggingface_hub.utils import build_hf_headers

    return "authorization" in build_hf_headers()


def _listing(repository: str, answer: Any) -> Listing:
    unusable = HubError(
        f"the hub's answer about {repository} is not a listing; try again later",
        repository=repository,
    )
    if not isinstance(answer, dict):
        raise unusable
    commit, siblings = answer.get("sha"), answer.get("siblings")
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise HubError(f"the hub names no commit of {repository}", repository=repository)
    siblings = [] if siblings is None else siblings
    if not isinstance(siblings, list) or not all(_is_named(entry) for entry in siblings):
        raise unusable
    entries = {entry["rfilename"]: entry for entry in siblings}
    if len(entries) < len(siblings):
        raise unusable
    card = answer.get("cardData")
    licence = card.get("license") if isinstance(card, dict) else None
    shown = printable(licence)[:_MAX_LICENSE] if isinstance(licence, str) else None
    return Listing(repository, commit, shown or None, entries)


def _is_named(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("rfilename"), str)
