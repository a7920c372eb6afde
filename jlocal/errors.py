"""Every exception that jlocal and jlocal_convert raise on purpose, with the data that it carries.

    JlocalError                         message
    ├── ArgumentError (a ValueError)    argument
    ├── ExtraError                      extra
    ├── TextError                       reason, index
    │   ├── TextTooLongError            tokens, limit
    │   └── NotTextError
    ├── Overloaded                      queued, limit
    ├── AddressError                    host, port
    ├── ClusterError
    ├── HubError                        repository
    │   └── NotPublishedError           types
    └── FileError                       path
        ├── ModelError
        │   ├── VectorError             indices
        │   └── BundleError
        ├── CheckpointError
        ├── CollectionError
        │   ├── MissingCollectionError  reason, similar
        │   ├── EmptyCollectionError
        │   ├── NoFoldersError
        │   ├── BusyError
        │   ├── OtherConfigError
        │   └── InsideFolderError       outer
        ├── VerifyError
        └── OutputError

The attributes that each class adds to its base stand beside it. Errors that are pickled come back
equal. `jlocal` imports this module before the search path is safe, so it imports no
module of Python's.
"""

from jlocal.terms import Argument, Message, terms_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from jlocal.terms import Term


class JlocalError(Exception):
    """Base of all errors here; its message is one line that says what to do next.

    Attributes:
        message: it knows the arguments and methods of the Python interface that are in it, which
            are given as `jlocal.terms`: `raise ModelError(f"name one with {MODEL}", MODEL)`.

    """

    def __init__(self, message: str = "", *terms: "Term") -> None:
        self.message = Message(message, *terms)
        super().__init__(message)

    def __reduce__(self) -> "tuple[object, ...]":
        return _reduced(self)


def _reduced(error: Exception) -> "tuple[object, ...]":
    """Let an exception be pickled whose arguments are not those of its class."""
    return type(error).__new__, (type(error), *error.args), error.__dict__


class ArgumentError(JlocalError, ValueError):
    """An argument has a value that the model or the call cannot take.

    Attributes:
        argument: its name; None where the error is of no single argument.

    """

    def __init__(self, message: str = "", *terms: "Term", argument: "str | None" = None) -> None:
        self.argument = argument
        super().__init__(message, *terms)


class FileError(JlocalError):
    """Base of the errors of files and folders.

    Attributes:
        path: the file or folder; None where the error is of no single one.

    """

    def __init__(self, message: str = "", *terms: "Term", path: "Path | None" = None) -> None:
        self.path = path
        super().__init__(message, *terms)


class ModelError(FileError):
    """A GGUF file cannot be found, read, or used for embeddings."""


class Overloaded(JlocalError):
    """More tokens wait to be embedded than may; try again later.

    Attributes:
        queued: how many tokens wait.
        limit: how many may.

    """

    def __init__(self, queued: int, limit: int) -> None:
        self.queued, self.limit = queued, limit
        super().__init__(
            f"the model is busy: {queued:,} tokens wait, and {limit:,} may; try again later"
        )


class AddressError(JlocalError):
    """A server cannot listen on an address.

    Attributes:
        host: a name or an address.
        port: the port.

    """

    def __init__(self, message: str = "", *terms: "Term", host: str = "", port: int = 0) -> None:
        self.host, self.port = host, port
        super().__init__(message, *terms)


class ClusterError(JlocalError):
    """A cluster or one of its nodes cannot run the job."""


class VectorError(ModelError):
    """A model gives vectors without a direction: zero, or not finite.

    Attributes:
        indices: positions of their texts among the inputs, from 0.

    """

    def __init__(
        self,
        message: str = "",
        *terms: "Term",
        path: "Path | None" = None,
        indices: "tuple[int, ...]" = (),
    ) -> None:
        self.indices = indices
        super().__init__(message, *terms, path=path)


class BundleError(ModelError):
    """A bundle cannot be made, is malformed, or cannot be installed."""


class CheckpointError(FileError):
    """A checkpoint or an adapter cannot be converted exactly."""


class HubError(JlocalError):
    """A model hub cannot be reached, or does not have the repository or file.

    Attributes:
        repository: the one that was asked for, as owner/name; None where the error is of no single
            one.

    """

    def __init__(self, message: str = "", *terms: "Term", repository: "str | None" = None) -> None:
        self.repository = repository
        super().__init__(message, *terms)


class NotPublishedError(HubError):
    """The hub has no GGUF file of the model, or none of the type that was asked for.

    Attributes:
        types: those that it has, such as "Q4_K_M"; empty where that is not known.

    """

    def __init__(
        self,
        message: str = "",
        *terms: "Term",
        repository: "str | None" = None,
        types: "tuple[str, ...]" = (),
    ) -> None:
        self.types = types
        super().__init__(message, *terms, repository=repository)


class TextError(JlocalError):
    """An input is not text, or no text that can be embedded.

    Attributes:
        reason: the message without the position of the text.
        index: position of the text among the inputs, from 0; None if that is not known.

    """

    def __init__(self, reason: str, index: int | None = None) -> None:
        self.reason, self.index = reason, index
        super().__init__(reason if index is None else f"text {index} {reason}", *terms_of(reason))

    def at(self, index: int) -> "TextError":
        """Return this error of a text at another position, of the same class and with its data."""
        error = type(self).__new__(type(self))
        error.__dict__.update(self.__dict__)
        TextError.__init__(error, self.reason, index)
        return error


class TextTooLongError(TextError):
    """A text has more tokens than the model's context.

    Attributes:
        tokens: its length in tokens, prompt and special tokens included.
        limit: the most tokens that the model takes.

    """

    def __init__(self, index: int | None, tokens: int, limit: int) -> None:
        self.tokens, self.limit = tokens, limit
        truncate = Argument("on_long", "truncate")
        reason = (
            f"has {tokens:,} tokens, above the limit of {limit:,}; split it, or cut it with "
            f"{truncate}"
        )
        super().__init__(Message(reason, truncate), index)


class NotTextError(TextError):
    """Bytes are not text in any encoding, such as those of a photo."""


class ExtraError(JlocalError):
    """A package is missing that an extra of jlocal brings; the message says which extra.

    Attributes:
        extra: its name.

    """

    def __init__(self, message: str, *terms: "Term", extra: str = "") -> None:
        self.extra = extra
        super().__init__(message, *terms)


class CollectionError(FileError):
    """A collection cannot be opened, read or written, or does not support the request."""


class MissingCollectionError(CollectionError):
    """There is no such collection.

    Attributes:
        reason: the message without advice.
        path: where its file would be.
        similar: name of a collection that may be meant; None where there is none.

    """

    path: "Path"

    def __init__(self, reason: str, path: "Path", similar: str | None = None) -> None:
        self.reason, self.similar = reason, similar
        advice = f"did you mean {similar}?" if similar else "index files into it first"
        super().__init__(f"{reason}; {advice}", path=path)


class EmptyCollectionError(CollectionError):
    """Nothing was indexed into the collection yet.

    Attributes:
        path: of its file.

    """

    path: "Path"

    def __init__(self, path: "Path") -> None:
        super().__init__(f"{path} is empty; index files into it first", path=path)


class NoFoldersError(CollectionError):
    """The collection remembers no folders that could be brought up to date.

    Attributes:
        path: of its file.

    """

    path: "Path"

    def __init__(self, path: "Path") -> None:
        super().__init__(f"{path} remembers no folders; index one first", path=path)


class BusyError(CollectionError):
    """Another process is indexing into the collection."""


class OtherConfigError(CollectionError):
    """The collection was made in another way than is asked, and would have to be made anew."""


class InsideFolderError(CollectionError):
    """A path is only a part of a folder that the collection remembers.

    Attributes:
        path: absolute.
        outer: the folder.

    """

    path: "Path"

    def __init__(self, path: "Path", outer: "Path") -> None:
        self.outer = outer
        super().__init__(f"{path} is a part of {outer}, which is remembered as a whole", path=path)


class VerifyError(FileError):
    """A reference cannot be read, or there is none that a model could be compared with."""


class OutputError(FileError):
    """A result cannot be written."""


class DeviceWarning(UserWarning):
    """The CPU computes although a GPU was asked for, or is there."""


class IgnoredArgumentWarning(UserWarning):
    """An argument means something to sentence-transformers, and nothing here."""


class MigrationWarning(UserWarning):
    """A collection of an older format is brought to the newest one first, which takes a while."""


class TokenizerWarning(UserWarning):
    """llama.cpp tokenises some texts otherwise than a model's own tokenizer does."""


class TruncationWarning(UserWarning):
    """A text was cut to the model's context because the caller asked for it.

    Attributes:
        index: position of the text among the inputs, from 0.
        tokens: its length before, in tokens.
        limit: its length now.

    """

    def __init__(self, index: int, tokens: int, limit: int) -> None:
        self.index, self.tokens, self.limit = index, tokens, limit
        super().__init__(f"text {index} was cut from {tokens:,} to {limit:,} tokens")

    def __reduce__(self) -> "tuple[object, ...]":
        return _reduced(self)
