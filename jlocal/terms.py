"""Terms of the Python interface in messages, which the command line replaces by its options.

A message of the library says `chunk=512` or `Collection.index()`, and its error carries these
terms; the command line says `--chunk 512` and `jlocal index`. `jlocal` imports this module before
the search path is safe, so it imports nothing.
"""


class Argument:
    """An argument of a call: `chunk=512`, or `model=` where no value is meant.

    Attributes:
        name: its name.
        value: its value; None where no value is meant.

    """

    def __init__(self, name: str, value: object = None) -> None:
        self.name, self.value = name, value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Argument) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return f"{self.name}=" if self.value is None else f"{self.name}={self.value!r:.80}"


class Method:
    """A function or method: `Collection.index()`.

    Attributes:
        name: its name, with that of its class.

    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Method) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return f"{self.name}()"


TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Term = Argument | Method


class Message(str):
    """A text and the terms in it: `Message(f"name one with {MODEL}", MODEL)`.

    Attributes:
        terms: the terms.

    """

    terms: "tuple[Term, ...]"

    def __new__(cls, text: str, *terms: "Term") -> "Message":
        """Create a message; if the text is a message, its terms are kept."""
        message = super().__new__(cls, text)
        message.terms = (*terms_of(text), *terms)
        return message


def terms_of(text: str) -> "tuple[Term, ...]":
    """Return the terms of a message; an ordinary string has none."""
    return text.terms if isinstance(text, Message) else ()


def reworded(text: str, word: "Callable[[Term], str]") -> str:
    """Replace each term of a text by `word(term)`."""
    # The longest first: "chunk=" is also in "chunk=512".
    for term in sorted(terms_of(text), key=lambda term: -len(str(term))):
        text = text.replace(str(term), word(term))
    return text
