"""Which files are programs or data: an excerpt of them keeps its lines and signs as they are."""

from __future__ import annotations

from pathlib import PurePath

_CODE_ENDINGS = """
.bash .bat .bib .c .cc .cfg .clj .cmake .conf .cpp .cs .css .csv .cu .cxx .dart .diff .el .env
.erl .ex .fish .go .gradle .groovy .h .hpp .hs .ini .ipynb .java .jl .js .json .jsonl .jsx .kt .less
.lisp .log .lua .m .mk .ml .mm .ndjson .nim .nix .patch .php .pl .properties .proto .ps1 .py .pyi .r
.rb .rs .sass .scala .scm .scss .sh .sql .svelte .swift .tcl .tf .toml .ts .tsv .tsx .v .vb .vhdl
.vim .vue .xml .yaml .yml .zig .zsh
"""
_CODE = frozenset(_CODE_ENDINGS.split())


def is_code(path: str) -> bool:
    """Tell whether the lines of a file are no prose, by the end of its name."""
    return PurePath(path).suffix.lower() in _CODE
