"""Creating a bundle: one file with models, their licences and, optionally, the program."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import BinaryIO, TypeAlias

from jlocal.bundle import standalone
from jlocal.bundle.install import OnBytes
from jlocal.bundle.standalone import Member
from jlocal.embed.probe import TEXT
from jlocal.errors import BundleError, ModelError, OutputError
from jlocal.files import sha256_of
from jlocal.gguf.header import Header, read_header
from jlocal.models.names import resolve
from jlocal.models.profile import Profile, profile_of
from jlocal.models.registry import check_name, find
from jlocal.outputs.atomic import atomic_write
from jlocal.outputs.staging import scratch_folder

# Decimals of a stored vector: far finer than the differences between machines.
_DECIMALS = 6

_Source: TypeAlias = "Path | bytes"
OnStep = Callable[[str, int], OnBytes]


@dataclass(frozen=True)
class _ReferenceVector:
    """A text and its vector on this machine."""

    text: str
    vector: list[float]


@dataclass(frozen=True)
class _Entry:
    """A model's entry in the manifest; the fields are its keys, in order.

    Attributes:
        path: path of the member.
        type: type of the weights; None if unknown.
        context: maximum number of tokens in a text.
        prompts: the prefix of each prompt, by name.
        attribution: the author and the source, by keys of the header.

    """

    name: str
    path: str
    source: str
    revision: str | None
    type: str | None
    task: str | None
    architecture: str
    dimensions: int
    context: int
    prompts: dict[str, str]
    default_prompt: str | None
    license: str | None
    attribution: dict[str, str]
    check: _ReferenceVector


def create(
    models: Sequence[str],
    target: Path,
    *,
    with_wheels: bool = False,
    platform: str | None = None,
    native: bool = False,
    extras: Sequence[str] = (),
    on_step: OnStep | None = None,
) -> Path:
    """Write a bundle; the same inputs give the same bytes.

    Args:
        models: names of models on this machine, or paths of GGUF files.
        target: the file to write, which appears when it is complete.
        with_wheels: include the wheels of jlocal and its dependencies, for this Python.
        platform: a wheel's platform tag such as "win_amd64", instead of this machine's.
        native: include the llama.cpp of this machine, which may need the same CPU, instead of a
            build for any x86-64 CPU with AVX2.
        extras: extras of jlocal whose wheels are included as well.
        on_step: called with the name of a step and its number of bytes (0: unknown); it returns a
            function that is called with the bytes done.

    Raises:
        BundleError: a name occurs twice, a wheel is not available, or an extra does not exist.
        ModelError: a model cannot be found or used, or differs from its record.
        OutputError: the file cannot be written.

    """
    if target.is_dir() or not target.parent.is_dir():
        # Checked before minutes of work.
        raise OutputError(
            f"cannot write {target}: name a file in a folder that exists", path=target
        )
    if extras:
        from jlocal.bundle.wheels import check_extras

        check_extras(extras)
    on_step = on_step or (lambda _what, _size: lambda _bytes: None)
    with scratch_folder() as folder:
        program = None
        sources: dict[str, _Source] = {}
        known: dict[str, str] = {}
        entries = [_model(name, sources, known, on_step) for name in models]
        sources["LICENSE"] = own_licence()
        if entries:
            sources["licenses/models.txt"] = _notices(entries).encode()
        if with_wheels:
            from jlocal.bundle.wheels import collect

            try:
                program = collect(
                    Path(folder),
                    platform=platform,
                    native=native,
                    extras=extras,
                    say=lambda what: on_step(what, 0),
                )
            except OSError as error:
                raise OutputError(f"cannot store wheels: {error.strerror or error}") from error
            sources |= {f"wheels/{path.name}": path for path in Path(folder).glob("*.whl")}
            sources["install.py"] = Path(standalone.__file__).read_bytes()
        members = [_member(path, sources[path], on_step) for path in sorted(sources)]
        for member in members:
            if known.get(member.path, member.sha256) != member.sha256:
                raise ModelError(
                    f"{sources[member.path]!s} is damaged; `jlocal rm` it, get it again"
                )
        manifest = {
            "format": standalone.FORMAT,
            "version": standalone.VERSION,
            "members": [asdict(member) for member in members],
            "models": [asdict(model) for model in entries],
            "program": program and asdict(program),
        }
        text = json.dumps(manifest, ensure_ascii=False).encode()
        try:
            end = standalone.parse_manifest(text).end
        except standalone.RefusedError as error:
            raise BundleError(f"{target}: cannot make this bundle: {error}", path=target) from error
        with atomic_write(target) as file:
            _write(file, text, members, sources, on_step("writing", end))
    return target


def own_licence() -> bytes:
    """Return the licence of jlocal, from its checkout or its installed files."""
    beside = Path(__file__).resolve().parents[2] / "LICENSE"
    if (beside.parent / "pyproject.toml").is_file() and beside.is_file():
        return beside.read_bytes()
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files("jlocal") or ():
            if file.name == "LICENSE":
                return Path(str(file.locate())).read_bytes()
    raise BundleError("the licence of jlocal is missing here: install jlocal again")


def _model(
    name: str, sources: dict[str, _Source], known: dict[str, str], on_step: OnStep
) -> _Entry:
    """Return a model's manifest entry, and add its file and its recorded sha256 to the sources."""
    there = find(name) if not Path(name).exists() else None
    path = there.path if there else resolve(name)
    called = check_name(there.name if there else path.stem)
    profile = profile_of(read_header(path))
    member = f"models/{called.replace('/', '--').replace(':', '-')}.gguf"
    if member.lower() in map(str.lower, sources):
        raise BundleError(f"{called}: two models of this name; rename a file")
    sources[member] = path
    if there and there.sha256:
        known[member] = there.sha256
    on_step(f"embedding a text with {called}", 0)
    return _Entry(
        name=called,
        path=member,
        source=there.source if there else "bundle",
        revision=there.revision if there else None,
        type=there.type if there else _type(profile.header),
        task=profile.task,
        architecture=profile.architecture,
        dimensions=profile.dimensions,
        context=profile.context,
        prompts=dict(profile.prompts),
        default_prompt=profile.default_prompt,
        license=profile.license,
        attribution=_attribution(profile),
        check=_reference_vector(path),
    )


def _type(header: Header) -> str | None:
    from jlocal.models.info import model_info

    name = model_info(header)["type"]
    return name if isinstance(name, str) else None


def _attribution(profile: Profile) -> dict[str, str]:
    """Return the author and the source of a model, from its header."""
    keys = (
        "name", "author", "organization", "url", "repo_url", "source.url", "license.name",
        "license.link", "base_model.0.name", "base_model.0.organization", "base_model.0.repo_url",
    )  # fmt: skip
    values = ((key, profile.header.metadata.get(f"general.{key}")) for key in keys)
    return {key: " ".join(value.split()) for key, value in values if isinstance(value, str)}


def _reference_vector(path: Path) -> _ReferenceVector:
    """Embed a text, with which `jlocal doctor` on the other machine compares its own vector."""
    from jlocal.embed.embedder import Embedder

    with Embedder(path, threads=1, gpu_layers=0, compute_type="stored") as model:
        vector = model.encode(TEXT)
    return _ReferenceVector(TEXT, [round(float(value), _DECIMALS) for value in vector])


def _notices(entries: Sequence[_Entry]) -> str:
    lines = ["The weights in this bundle are their makers'.", ""]
    for entry in entries:
        lines += [entry.path, f"  licence: {entry.license or 'not named in the file'}"]
        lines += [f"  {key}: {value}" for key, value in entry.attribution.items()]
        lines.append("")
    return "\n".join(lines)


def _member(path: str, source: _Source, on_step: OnStep) -> Member:
    if isinstance(source, bytes):
        return Member(path, len(source), hashlib.sha256(source).hexdigest())
    on_step(f"hashing {path}", 0)
    try:
        return Member(path, source.stat().st_size, sha256_of(source))
    except OSError as error:
        raise ModelError(f"cannot read {source}: {error.strerror or error}", path=source) from error


def _write(
    file: BinaryIO,
    manifest: bytes,
    members: Sequence[Member],
    sources: dict[str, _Source],
    on_bytes: OnBytes,
) -> None:
    _write_member(file, standalone.MANIFEST, manifest, on_bytes)
    for member in members:
        digest = _write_member(file, member.path, sources[member.path], on_bytes, member.size)
        if digest != member.sha256:
            raise BundleError(f"{sources[member.path]!s} changed while it was read; try again")
    file.write(standalone.END)


def _write_member(
    file: BinaryIO, path: str, source: _Source, on_bytes: OnBytes, size: int | None = None
) -> str:
    """Write a member's header and content; return the sha256 of the content."""
    size = len(source) if isinstance(source, bytes) else size or 0
    file.write(standalone.header(path, size))
    digest, left = hashlib.sha256(), size
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as content:
        while left and (chunk := content.read(min(left, 1 << 20))):
            digest.update(chunk)
            file.write(chunk)
            on_bytes(len(chunk))
            left -= len(chunk)
    file.write(standalone.padding(size))
    return digest.hexdigest()
