"""The self-test of `jlocal doctor`: a vector beside those of other implementations."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from jlocal.doctor import probe
from jlocal.doctor.report import Report, SelfTest
from jlocal.errors import ModelError, OutputError
from jlocal.files import read_regular, sha256_of
from jlocal.models import registry, starter
from jlocal.models.names import resolve
from jlocal.models.profile import Profile, read_profile

# The minimum cosine for the same file on two machines. Quantised weights are multiplied with
# quantised activations, whose rounding depends on the kernel.
_SAME, _ALIKE = 0.9999, 0.999
_EXACT_TYPES = (0, 1, 32)  # F32, F16, BF16 of llama_ftype

# Limits for the vector that comes with a bundle: bytes of the file and its text, largest number.
_MAX_STORED, _MAX_TEXT, _MAX_NUMBER = 1 << 20, 1 << 14, 1e6


@dataclass(frozen=True)
class _Stored:
    """The text and vector that came with a model file in a bundle."""

    text: str
    vector: list[float]


@dataclass(frozen=True)
class _Comparison:
    """The cosine with another implementation's vector, NaN if there is none, and its minimum."""

    cosine: float
    minimum: float

    @property
    def passed(self) -> bool:
        return self.cosine >= self.minimum  # False for NaN


def self_test(report: Report, model: str | None) -> SelfTest:
    """Compare the vector of a sentence; a vector that differs is a finding in the report."""
    if not report.llama:
        return SelfTest(done=False, reason="llama.cpp cannot be used")
    if model is None:
        smallest = min(report.models, key=lambda entry: entry.size, default=None)
        model = smallest.path if smallest else starter.NAME
    try:
        path = resolve(model)
        profile = read_profile(path)
        if str(path) not in (entry.path for entry in report.models):
            check_tokenizer(report, profile)
        comparisons = _compare(path, profile)
    except (ModelError, OutputError) as error:
        report.add("broken", f"the self-test with {model} failed: {error}.", cause=error)
        return SelfTest(done=True, model=model, passed=False)
    for name, comparison in comparisons.items():
        if not comparison.passed:
            report.add(
                "broken",
                f"with {path}, the vector has a cosine of {comparison.cosine:.6f} with that of "
                f"{name}; it should be at least {comparison.minimum}. Rebuild llama.cpp, or fetch "
                "the model again.",
                *probe.rebuild_command(),
            )
    return SelfTest(
        done=True,
        model=str(path),
        passed=all(comparison.passed for comparison in comparisons.values()),
        # JSON has no NaN.
        cosine={
            name: None if math.isnan(comparison.cosine) else comparison.cosine
            for name, comparison in comparisons.items()
        },
    )


def check_tokenizer(report: Report, profile: Profile) -> None:
    """Warn of a model whose tokenizer llama.cpp reads differently."""
    if profile.tokenizer_mismatch:
        report.add("warning", f"{profile.path}: {profile.tokenizer_mismatch}.")


def _compare(path: Path, profile: Profile) -> dict[str, _Comparison]:
    # The text that came with the file, if there is one, so that the vectors can be compared.
    stored = _stored(path)
    vectors = probe.vectors(str(path), *([stored.text] if stored else []))
    minimum = _SAME if profile.file_type in _EXACT_TYPES else _ALIKE
    pooled = _Comparison(_cosine(vectors.captured, vectors.pooled), minimum)
    comparisons = {"llama.cpp's own pooling": pooled}
    if vectors.fast is not None:
        fast = _Comparison(_cosine(vectors.captured, vectors.fast), minimum)
        comparisons[f"the compute type {vectors.compute_type}"] = fast
    if stored:
        sent = _Comparison(_cosine(vectors.captured, stored.vector), _ALIKE)
        comparisons["the machine that made the bundle"] = sent
    return comparisons


def _stored(path: Path) -> _Stored | None:
    """Return the text and vector that came with a model file in a bundle; None without them."""
    if not registry.reference_vector_file("").parent.is_dir():
        return None
    try:
        value = json.loads(
            read_regular(registry.reference_vector_file(sha256_of(path)), _MAX_STORED)
        )
        text, vector = value["text"], value["vector"]
        if not isinstance(text, str) or not isinstance(vector, list):
            raise TypeError("it holds no text and vector")
        # The text is passed as an argument of a process.
        if len(text.encode()) > _MAX_TEXT or "\0" in text:
            raise ValueError("its text is too long, or not one")
        numbers = [float(number) for number in vector]
        if not all(abs(number) <= _MAX_NUMBER for number in numbers):
            raise ValueError("its vector holds numbers that no vector has")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ModelError(
            f"the stored vector of {path} cannot be read ({error})", path=path
        ) from error
    return _Stored(text, numbers)


def _cosine(a: list[float], b: list[float]) -> float:
    """Return the cosine of two vectors; NaN if they cannot be compared."""
    lengths = math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    if len(a) != len(b) or not lengths:
        return math.nan
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths
