"""tokenizer.json as GGUF metadata: tokens, their types, merges, special tokens.

llama.cpp splits text into words by a named pre-tokenizer, so the tokenizer must be exactly one of
the two that this module knows. Token types and special tokens are written as llama.cpp's
conversion/base.py (get_vocab_base) writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jlocal.errors import CheckpointError
from jlocal_convert.checkpoint.json_config import parse_object, read_bytes

_MAX_BYTES = 256 << 20


@dataclass(frozen=True)
class _Known:
    """A tokenizer that llama.cpp reproduces under this name."""

    name: str
    digits: str
    ignore_merges: bool
    appends_eos: tuple[bool, ...]

    @property
    def split(self) -> str:
        """Its regular expression; the two differ in the most digits of a word."""
        return (
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
            rf"{self.digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )


_KNOWN = (
    _Known("qwen2", r"\p{N}", ignore_merges=False, appends_eos=(False, True)),
    _Known("jina-v5-nano", r"\p{N}{1,3}", ignore_merges=True, appends_eos=(True,)),
)


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer as a GGUF file stores it.

    Attributes:
        folder: the checkpoint's folder, whose other files name the special tokens.
        pre_tokenizer: llama.cpp's name for the rule that splits text into words.
        tokens: tokens by id, as many as rows of the embedding matrix.
        types: gguf.TokenType of each token.
        merges: pairs of tokens, by descending priority.
        eos: id of the token that is appended to each text, or None.
        normalizer: "NFC" or "none".
        lstrip: added tokens that absorb the white space before them.

    """

    folder: Path
    pre_tokenizer: str
    tokens: list[str]
    types: list[int]
    merges: list[str]
    eos: int | None
    normalizer: str
    lstrip: tuple[str, ...]

    def write_metadata(self, writer: Any) -> None:
        """Add the tokenizer to a gguf.GGUFWriter.

        Raises:
            CheckpointError: tokenizer_config.json or config.json contradict tokenizer.json.

        """
        import gguf

        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(self.pre_tokenizer)
        for key, values, value_type in (
            (gguf.Keys.Tokenizer.LIST, self.tokens, gguf.GGUFValueType.STRING),
            (gguf.Keys.Tokenizer.TOKEN_TYPE, self.types, gguf.GGUFValueType.INT32),
            (gguf.Keys.Tokenizer.MERGES, self.merges, gguf.GGUFValueType.STRING),
        ):
            # Without a named type, gguf takes longer to find it out than to write the array.
            writer.add_key_value(key, values, gguf.GGUFValueType.ARRAY, sub_type=value_type)
        try:
            special = gguf.SpecialVocab(self.folder, n_vocab=len(self.tokens))
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
            raise CheckpointError(
                f"{self.folder}: tokenizer_config.json or config.json cannot be read: {error}",
                path=self.folder,
            ) from error
        if self.eos is not None and special.special_token_ids.get("eos") != self.eos:
            raise CheckpointError(
                f"{self.folder}: tokenizer.json appends the token {self.eos}, but the eos token of "
                f"tokenizer_config.json is {special.special_token_ids.get('eos')}",
                path=self.folder,
            )
        # llama.cpp's default for a pre-tokenizer may differ, so both are always written.
        special.add_special_token |= {"bos": False, "eos": self.eos is not None}
        special.add_to_gguf(writer, quiet=True)
        writer.add_string("jlocal.unicode_normalizer", self.normalizer)
        writer.add_array("jlocal.lstrip_tokens", self.lstrip)


def read_tokenizer(folder: Path, vocabulary: int) -> Tokenizer:
    """Read tokenizer.json.

    Args:
        folder: the checkpoint's folder.
        vocabulary: rows of the embedding matrix; ids without a token become unused tokens.

    Raises:
        CheckpointError: the file is missing, or llama.cpp would give other tokens.

    """
    path = folder / "tokenizer.json"
    if not path.exists():
        raise CheckpointError(f"{folder} has no tokenizer.json; download it again", path=folder)
    values = parse_object(read_bytes(path, _MAX_BYTES), path)
    try:
        known, eos = _identify(values)
        tokens, types, lstrip = _vocabulary(values, vocabulary)
        merges = [_merge(merge) for merge in values["model"]["merges"]]
        normalizer = _normalizer(values)
    except _UnusualError as error:
        raise CheckpointError(
            f"{path}: {error}; only the tokenizers of jina-embeddings-v5-text can be converted",
            path=path,
        ) from error
    except (TypeError, AttributeError, LookupError) as error:
        raise CheckpointError(
            f"{path} is not a tokenizer of jina-embeddings-v5-text: {error!r}", path=path
        ) from error
    return Tokenizer(folder, known.name, tokens, types, merges, eos, normalizer, lstrip)


class _UnusualError(Exception):
    """The tokenizer has a setting that llama.cpp would not reproduce."""


def _identify(values: Mapping[str, Any]) -> tuple[_Known, int | None]:
    model = values["model"]
    if model["type"] != "BPE":
        raise _UnusualError(f"the model is {model['type']!r}, not byte-level BPE")
    for key in (
        "dropout",
        "unk_token",
        "continuing_subword_prefix",
        "end_of_word_suffix",
        "fuse_unk",
        "byte_fallback",
    ):
        if model.get(key) not in (None, False, ""):
            raise _UnusualError(f"its model sets {key}")
    split = _split(values["pre_tokenizer"])
    known = next((known for known in _KNOWN if known.split == split), None)
    if known is None:
        raise _UnusualError("the pre-tokenizer is unknown")
    if bool(model.get("ignore_merges")) != known.ignore_merges:
        raise _UnusualError(f"ignore_merges is not {known.ignore_merges}, as in {known.name}")
    before, after = _template(values.get("post_processor"))
    if before or len(after) > 1 or bool(after) not in known.appends_eos:
        raise _UnusualError(f"it adds the tokens {before} before and {after} after a text")
    return known, after[0] if after else None


def _split(pre_tokenizer: Mapping[str, Any]) -> str:
    """Return the regular expression of a Split that ByteLevel follows."""
    split, byte_level = pre_tokenizer["pretokenizers"]
    usual = (
        split["type"] == "Split"
        and split["behavior"] == "Isolated"
        and split["invert"] is False
        and byte_level["type"] == "ByteLevel"
        and byte_level["add_prefix_space"] is False
        and byte_level.get("use_regex", True) is False
    )
    if not usual:
        raise _UnusualError("the pre-tokenizer is not one Split and ByteLevel")
    return str(split["pattern"]["Regex"])


def _template(processor: Mapping[str, Any] | None) -> tuple[list[int], list[int]]:
    """Return the ids of the tokens that are put before and after one text."""
    before: list[int] = []
    after: list[int] = []
    if processor is None:
        return before, after
    for step in processor.get("processors", [processor]):
        if step["type"] == "ByteLevel":
            continue
        if step["type"] != "TemplateProcessing":
            raise _UnusualError(f"the post-processor {step['type']!r} is unknown")
        side = before
        for piece in step["single"]:
            if "Sequence" in piece:
                side = after
            else:
                side += step["special_tokens"][piece["SpecialToken"]["id"]]["ids"]
    return before, after


def _vocabulary(
    values: Mapping[str, Any], size: int
) -> tuple[list[str], list[int], tuple[str, ...]]:
    import gguf

    tokens = [f"[PAD{number}]" for number in range(size)]
    types = [int(gguf.TokenType.UNUSED)] * size
    for token, number in values["model"]["vocab"].items():
        if types[_checked(number, size)] != gguf.TokenType.UNUSED:
            raise _UnusualError(f"the id {number} has two tokens")
        tokens[number], types[number] = token, int(gguf.TokenType.NORMAL)
    lstrip = []
    for added in values["added_tokens"]:
        number, content = _checked(added["id"], size), added["content"]
        if types[number] != gguf.TokenType.UNUSED and tokens[number] != content:
            raise _UnusualError(f"the id {number} has two tokens")
        if added["rstrip"] or added["single_word"]:
            raise _UnusualError(f"{content!r} has rstrip or single_word, which llama.cpp lacks")
        if added["lstrip"]:
            lstrip.append(content)
        control = added["special"] or (content.startswith("<|") and content.endswith("|>"))
        value_type = gguf.TokenType.CONTROL if control else gguf.TokenType.USER_DEFINED
        tokens[number], types[number] = content, int(value_type)
    return tokens, types, tuple(lstrip)


def _merge(merge: Any) -> str:
    """Return a merge in its older notation, which GGUF has kept."""
    text = merge if isinstance(merge, str) else " ".join(merge)
    # Byte-level tokens have another character in place of the space.
    if text.count(" ") != 1:
        raise _UnusualError(f"the merge {text[:40]!r} is not a pair of byte-level tokens")
    return text


def _checked(number: Any, size: int) -> int:
    if type(number) is not int or not 0 <= number < size:
        raise _UnusualError(f"the token id {number!r} is outside the vocabulary of {size:,}")
    return number


def _normalizer(values: Mapping[str, Any]) -> str:
    normalizer = values.get("normalizer")
    if normalizer is None:
        return "none"
    if normalizer.get("type") != "NFC":
        raise _UnusualError(f"the normalizer {normalizer.get('type')!r} is unknown")
    return "NFC"
