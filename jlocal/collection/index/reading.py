"""Read the text of a file, or the reason why it is skipped."""

from __future__ import annotations

from jlocal.collection.database.values import digest_of
from jlocal.collection.index.large import MOST_TOKENS, CountTokens, tokens_of_file, tokens_of_text
from jlocal.collection.index.report import Skipped
from jlocal.collection.index.survey import Candidate
from jlocal.inputs.documents import Document, Unreadable, begins_as_text, read_file
from jlocal.inputs.records import has_records

# A character has at most four bytes, and a token at least one.
_CHARACTERS = MOST_TOKENS // 4


class FileReader:
    """Reads candidates; files that are not text are skipped in folders, and failures if named."""

    def __init__(self, count: CountTokens) -> None:
        """Prepare to read; `count` counts the tokens that the model sees for a text."""
        self._count = count

    def read(self, candidate: Candidate) -> Document | Unreadable | Skipped:
        """Read a file."""
        name, size = str(candidate.file), candidate.size
        encoding = candidate.folder.encoding
        is_bounded = self._is_bounded(candidate)
        if is_bounded and not candidate.kind and (tokens := self._tokens(candidate)):
            return Skipped(name, "large", size=size, tokens=tokens)
        item = read_file(candidate.file, encoding, in_records=has_records(candidate.kind))
        if isinstance(item, Unreadable):
            # The document of a file stays if only an extra can read the file.
            is_kept = item.cause == "extra" and candidate.digest is not None
            if item.cause == "failure" or candidate.is_named or is_kept:
                return item
            return Skipped(name, item.cause, item.extra, size)
        if not item.text.strip() and not item.losses:
            return Skipped(name, "empty", size=size)
        if is_bounded and len(item.text) > _CHARACTERS:
            tokens = tokens_of_text(item.text, self._count)
            if tokens > MOST_TOKENS:
                return Skipped(name, "large", size=size, tokens=tokens)
        return item

    def _is_bounded(self, candidate: Candidate) -> bool:
        """Tell whether a file is skipped if it is large: nobody requested it in any way."""
        is_asked_for = candidate.is_named or has_records(candidate.kind)
        return not (candidate.folder.large or is_asked_for or candidate.digest is not None)

    def _tokens(self, candidate: Candidate) -> int:
        """Estimate the tokens of a large text; return 0 for other files."""
        path, size = candidate.file, candidate.size
        if size <= MOST_TOKENS:
            return 0
        try:
            if not begins_as_text(path, candidate.folder.encoding):
                return 0
            tokens = tokens_of_file(path, size, self._count)
        except OSError:
            return 0  # Reading it reports the reason.
        return tokens if tokens > MOST_TOKENS else 0


def digest_of_document(document: Document, kind: str) -> bytes:
    """Return the SHA-256 of a document: its text and the headings outside its text."""
    return digest_of(document.text, f"{kind} {document.headings}" if document.headings else kind)
