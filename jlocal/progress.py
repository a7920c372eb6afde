"""Progress bars and log lines on stderr."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from jlocal.printable import printable

if TYPE_CHECKING:
    from tqdm import tqdm

OnTexts = Callable[[int, int], None]

_lock = threading.RLock()


def make_bar(desc: str = "", **options: Any) -> tqdm[NoReturn]:
    """Make a bar on stderr that is cleared at the end.

    Args:
        desc: the label before the bar, made printable.
        options: options of tqdm.

    """
    from tqdm import tqdm

    # By default, tqdm also creates a lock between processes, for which some start methods run a
    # Python with the current folder on its search path.
    tqdm.set_lock(_lock)
    return tqdm(
        desc=printable(desc) or None, file=sys.stderr, leave=False, dynamic_ncols=True, **options
    )


@contextmanager
def text_progress_bar(total: int | None, *, show: bool) -> Iterator[OnTexts | None]:
    """Show texts done, tokens a second and time left on stderr; cleared at the end.

    Args:
        total: number of texts; None if unknown.
        show: False shows nothing.

    Yields:
        A function of (texts, tokens) done since its last call, or None.

    """
    if not show:
        yield None
        return
    tokens_done = 0
    with make_bar(total=total, unit=" texts") as shown:

        def on_texts(texts: int, tokens: int) -> None:
            nonlocal tokens_done
            tokens_done += tokens
            elapsed = shown.format_dict["elapsed"] or 1e-9
            shown.set_postfix_str(f"{tokens_done / elapsed:,.0f} tokens/s", refresh=False)
            shown.update(texts)

        yield on_texts


def log(message: str) -> None:
    """Print a line on stderr, above any bar, made printable."""
    if "tqdm" in sys.modules:
        from tqdm import tqdm

        tqdm.write(printable(message), file=sys.stderr)
    else:
        print(printable(message), file=sys.stderr)  # noqa: T201
