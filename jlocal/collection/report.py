"""What a run over files tells its caller."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from jlocal.documents import Unreadable


@dataclass
class Report:
    """What a run found and did.

    Attributes:
        new: documents that were not in the collection.
        changed: documents whose content is another now.
        unchanged: documents whose content is as it was.
        removed: documents whose files are no longer there, or no longer chosen.
        failed: files and parts of files that are not in the collection because of `failures`, and
            files and folders that are missing or could not be read, whose documents are kept.
        embedded: texts that the model computed; identical ones count once.
        kept: texts that are in no document, of removed and of changed ones. Their vectors stay
            in the file, in case they come back, until `Collection.compact`.
        encodings: how many of the files that were read were read as which encoding, where that
            is neither UTF-8 nor told by a byte order mark.
        failures: what failed, and why.

    """

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: int = 0
    embedded: int = 0
    kept: int = 0
    encodings: Counter[str] = field(default_factory=Counter)
    failures: list[Unreadable] = field(default_factory=list)
