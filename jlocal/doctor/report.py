"""The report of a diagnosis."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from jlocal.errors import JlocalError
from jlocal.llama.features import BuildInfo
from jlocal.terms import Message


@dataclass(frozen=True)
class Finding:
    """A problem.

    Attributes:
        level: "broken", or "warning" if jlocal works nevertheless.
        command: command lines that may fix it.

    """

    level: str
    text: str
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class InstructionSet:
    """Whether llama.cpp was built for an instruction set, and whether the CPU has it.

    Attributes:
        cpu: None if the system does not report it.

    """

    llama: bool
    cpu: bool | None


@dataclass(frozen=True)
class Memory:
    """The memory of the machine, in bytes; None if the system does not report it."""

    total: int | None = None
    free: int | None = None


@dataclass(frozen=True)
class Model:
    """A model on this machine.

    Attributes:
        size: bytes of the file.
        needs: estimated bytes of memory, the weights in this machine's compute type included.

    """

    name: str
    path: str
    size: int
    needs: int


@dataclass(frozen=True)
class Folder:
    """A folder of jlocal.

    Attributes:
        size: bytes of the files in it.
        free: bytes free on its disk; None if the disk cannot be read.

    """

    name: str
    path: str
    size: int
    free: int | None
    writable: bool


@dataclass(frozen=True)
class Offline:
    """Whether jlocal may use the network, and the set variables that decide it."""

    offline: bool = False
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SelfTest:
    """The result of the self-test.

    Attributes:
        done: False if llama.cpp cannot be used.
        reason: why the self-test was not done.
        cosine: cosine with the vector of each other implementation; None if the two vectors cannot
            be compared.

    """

    done: bool
    reason: str | None = None
    model: str | None = None
    passed: bool | None = None
    cosine: dict[str, float | None] | None = None


@dataclass
class Report:
    """The diagnosis.

    Attributes:
        versions: version of each package; None if it is not installed.
        llama: None if llama.cpp cannot be used.
        features: by llama.cpp's names, the instruction sets that llama.cpp or the CPU has.

    """

    versions: dict[str, str | None] = field(default_factory=dict)
    llama: BuildInfo | None = None
    features: dict[str, InstructionSet] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    models: list[Model] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)
    offline: Offline = field(default_factory=Offline)
    self_test: SelfTest | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def broken(self) -> bool:
        """Whether any finding is "broken"."""
        return any(finding.level == "broken" for finding in self.findings)

    def as_dict(self) -> dict[str, object]:
        """Return the report as JSON values."""
        report = asdict(self)
        report["llama"] = _named_build(self.llama) if self.llama else {}
        report["features"] = {
            name: {"llama.cpp": feature.llama, "cpu": feature.cpu}
            for name, feature in self.features.items()
        }
        test = report["self_test"] or {}
        report["self_test"] = {name: value for name, value in test.items() if value is not None}
        return report | {"broken": self.broken}

    def add(self, level: str, text: str, *command: str, cause: JlocalError | None = None) -> None:
        """Add a finding; its text may quote the message of an error, its cause."""
        terms = cause.message.terms if cause else ()
        self.findings.append(Finding(level, Message(text, *terms), command))


def _named_build(build: BuildInfo) -> dict[str, object]:
    """Return build information under the names that the report has in JSON."""
    return {
        "llama.cpp": build.version,
        "system info": build.system_info,
        "gpu offload": build.gpu_offload,
        "backends": build.backends,
        "gpus": build.gpus,
        "kernels": build.kernels,
        "no kernels": build.no_kernels,
    }
