"""PEFT's selection of modules by names and patterns, as in adapter_config.json.

Source: peft/tuners/tuners_utils.py (check_target_module_exists) and peft/utils/other.py
(get_pattern_key).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import TypeAlias

from jlocal.errors import CheckpointError
from jlocal_convert.checkpoint.json_config import JsonConfig

# A pattern comes from an untrusted file, and matching a regular expression can take forever. With
# few alternatives and no repeated group, matching a short name is fast.
_PLAIN = re.compile(r"(?:[\w.^$\-|()\[\]\\?:]|(?<!\))[*+])*")
_MOST = {r"[*+]|(?<!\()\?": 3, r"\(": 3, r"\|": 64, r".": 2000}
_MAX_PATTERNS = 1000

_Test: TypeAlias = Callable[[str], bool]


def targets(config: JsonConfig, modules: Collection[str], prefix: str) -> set[str]:
    """Return the modules that an adapter changes, by `target_modules` and its exclusions.

    Args:
        config: adapter_config.json.
        modules: names of all matrices.
        prefix: prefix of these names in the model that PEFT trained: "" or "model.".

    Raises:
        CheckpointError: a selector has a wrong type or an unsafe pattern, or `target_modules`
            names a module that is not in `modules`.

    """
    is_excluded = _names(config, "exclude_modules")
    selector = config.get("target_modules")
    if isinstance(selector, str) and selector.lower() == "all-linear":
        is_wanted: _Test = lambda key: True  # noqa: E731
    elif isinstance(selector, str):
        is_wanted = _names(config, "target_modules")
    elif isinstance(selector, list) and all(isinstance(name, str) for name in selector):
        is_wanted = _names(config, "target_modules")
        for name in selector:
            there = any(_ends_with(prefix + module, name) for module in modules)
            if not there and not is_excluded(prefix + name):
                raise CheckpointError(
                    f"{config.path}: target_modules names {name[:80]!r}, but the backbone has no "
                    "matrix of that name to merge an adapter into",
                    path=config.path,
                )
    else:
        raise config.wrong("target_modules", "a list of module names")
    is_in_layer = _layers(config)

    def is_changed(key: str) -> bool:
        # A full name selects its module in any layer.
        is_chosen = is_in_layer(key) or (isinstance(selector, list) and key in selector)
        return is_wanted(key) and is_chosen and not is_excluded(key)

    return {module for module in modules if is_changed(prefix + module)}


def _names(config: JsonConfig, option: str) -> _Test:
    """Return a test of full names: by a pattern for the whole name, or by a list of endings."""
    selector = config.get(option) or []
    if isinstance(selector, str):
        pattern = _compile(config, selector, selector)
        return lambda key: pattern.fullmatch(key) is not None
    if not isinstance(selector, list) or not all(isinstance(name, str) for name in selector):
        raise config.wrong(option, "a list of module names, or a pattern")
    return lambda key: any(_ends_with(key, name) for name in selector)


def _ends_with(key: str, name: str) -> bool:
    return key == name or key.endswith(f".{name}")


def _layers(config: JsonConfig) -> _Test:
    """Return a test whether a module is in one of the layers of `layers_to_transform`."""
    chosen, names = config.get("layers_to_transform"), config.get("layers_pattern") or []
    if chosen is None or chosen == []:
        if names:
            raise config.wrong("layers_pattern", "unset, as layers_to_transform is")
        return lambda key: True
    if isinstance(config.get("target_modules"), str):
        raise config.wrong("layers_to_transform", "unset, as target_modules is a pattern")
    indexes = chosen if isinstance(chosen, list) else [chosen]
    if not all(type(index) is int for index in indexes):
        raise config.wrong("layers_to_transform", "a layer's number, or a list of numbers")
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise config.wrong("layers_pattern", "a name, or a list of names")
    if len(names) > _MAX_PATTERNS:
        raise config.wrong("layers_pattern", f"at most {_MAX_PATTERNS:,} names")
    patterns = [
        _compile(config, rf"(?:^|.*?\.){name}\.(?P<idx>\d+)\.", name) for name in names
    ] or [re.compile(r".*?\.[^.]*\.(?P<idx>\d+)\.")]

    def is_in_layer(key: str) -> bool:
        match = next(filter(None, (pattern.match(key) for pattern in patterns)), None)
        index = match and match["idx"]
        return index is not None and int(index) in indexes

    return is_in_layer


def first_match(patterns: JsonConfig, module: str) -> str | None:
    """Return the first key whose pattern matches the end of a module's name.

    Raises:
        CheckpointError: a key is no pattern, or could take forever to match.

    """
    if len(patterns) > _MAX_PATTERNS:
        raise CheckpointError(
            f"{patterns.path} has {len(patterns):,} patterns, above the limit of {_MAX_PATTERNS:,}"
        )
    for key in patterns:
        if _compile(patterns, rf"(.*\.)?({key})$", key).match(module):
            return key
    return None


def _compile(where: JsonConfig, pattern: str, shown: str) -> re.Pattern[str]:
    few = all(len(re.findall(part, shown)) <= most for part, most in _MOST.items())
    try:
        if few and _PLAIN.fullmatch(shown):
            return re.compile(pattern)
        reason = "it is too complex"
    except re.error as error:
        reason = str(error)
    raise CheckpointError(f"{where.path}: the pattern {shown[:80]!r} cannot be used: {reason}")
