"""PEFT's ways to name modules, as adapter_config.json uses them.

Source: peft/tuners/tuners_utils.py (check_target_module_exists) and peft/utils/other.py
(get_pattern_key).
"""

from __future__ import annotations

import re
from collections.abc import Collection

from convert.settings import Settings
from jlocal.errors import CheckpointError

# A pattern comes from a stranger's file, and a regular expression can take forever. Few choices,
# and no group that repeats, keep the work on a short name small.
_PLAIN = re.compile(r"(?:[\w.^$\-|()\[\]\\?:]|(?<!\))[*+])*")
_MOST = {r"[*+]|(?<!\()\?": 3, r"\(": 3, r"\|": 64, r".": 2000}
_MAX_PATTERNS = 1000


def targets(config: Settings, modules: Collection[str]) -> set[str]:
    """Find the modules that `target_modules` names.

    Raises:
        CheckpointError: it is neither a list of names nor a safe pattern, or it has a name for
            something that is not among `modules`.

    """
    wanted = config.get("target_modules")
    if wanted == "all-linear":
        return set(modules)
    if isinstance(wanted, str):
        pattern = _compile(config, wanted, wanted)
        return {
            name
            for name in modules
            if pattern.fullmatch(name) or pattern.fullmatch(f"model.{name}")
        }
    if not isinstance(wanted, list) or not all(isinstance(name, str) for name in wanted):
        raise config.wrong("target_modules", "a list of module names")
    found = set()
    for ending in wanted:
        named = {module for module in modules if f".model.{module}".endswith(f".{ending}")}
        if not named:
            raise CheckpointError(
                f"{config.path}: target_modules names {ending[:80]!r}, and the backbone has no "
                "such matrix that an adapter could be merged into"
            )
        found |= named
    return found


def first_match(patterns: Settings, module: str) -> str | None:
    """Return the first key that is a pattern for the end of a module's name.

    Raises:
        CheckpointError: a key is no pattern, or one that could take forever.

    """
    if len(patterns) > _MAX_PATTERNS:
        raise CheckpointError(f"{patterns.path} has {len(patterns):,} patterns; it cannot be right")
    for key in patterns:
        if _compile(patterns, rf"(.*\.)?({key})$", key).match(module):
            return key
    return None


def _compile(where: Settings, pattern: str, shown: str) -> re.Pattern[str]:
    few = all(len(re.findall(part, shown)) <= most for part, most in _MOST.items())
    try:
        if few and _PLAIN.fullmatch(shown):
            return re.compile(pattern)
        reason = "it is too intricate"
    except re.error as error:
        reason = str(error)
    raise CheckpointError(f"{where.path}: the pattern {shown[:80]!r} cannot be used: {reason}")
