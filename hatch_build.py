"""The build hook of hatchling: it compiles native/ into the wheel.

If that is not possible, the wheel has no kernels but a text file with the reason, which
`jlocal doctor` shows.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# jlocal/llama/kernels.py looks for the files there.
_FOLDER = Path("jlocal", "llama")
_LIBRARY, _REASON = "libjlocal_kernels.so", "libjlocal_kernels.txt"


class NativeHook(BuildHookInterface):
    """Compiles jlocal's kernels with the C++ compiler."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the library, into the source tree if the installation is editable."""
        self._scratch = Path(tempfile.mkdtemp(prefix="jlocal-build-"))
        name = _compile(Path(self.root), self._scratch)
        if version == "editable":
            folder = Path(self.root, _FOLDER)
            for old in (_LIBRARY, _REASON):
                (folder / old).unlink(missing_ok=True)
            shutil.copyfile(self._scratch / name, folder / name)
        else:
            build_data["force_include"][str(self._scratch / name)] = str(_FOLDER / name)
        if name == _LIBRARY:
            platform_tag = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"] = False
            # The library does not use Python's ABI: one wheel fits every version.
            build_data["tag"] = f"py3-none-{platform_tag}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the compiled files."""
        shutil.rmtree(self._scratch, ignore_errors=True)


def _compile(root: Path, folder: Path) -> str:
    """Make the library in a folder, or else the text with the reason; return the file's name."""
    reason = _excluded()
    if reason is None:
        try:
            _build_module(root).build(folder / _LIBRARY)
        # jlocal also works without the library, so no failure may end the installation.
        except Exception as error:
            reason = f"they could not be compiled when jlocal was installed: {error}"
        else:
            return _LIBRARY
    print(f"jlocal is built without its own kernels: {reason}", file=sys.stderr)
    (folder / _REASON).write_text(f"{reason}\n", encoding="utf-8")
    return _REASON


def _excluded() -> str | None:
    if os.environ.get("JLOCAL_BUILD_KERNELS") == "0":
        return "JLOCAL_BUILD_KERNELS=0 left them out when jlocal was built"
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        return "they are for Linux on x86-64 processors"
    return None


def _build_module(root: Path) -> Any:
    spec = importlib.util.spec_from_file_location("native_build", root / "native" / "build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    # The decorator of a dataclass looks for its module there.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
