"""What a server imports before it is asked anything."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def test_a_lazy_server_imports_llama_cpp_with_its_first_model() -> None:
    code = (
        "import sys; from jlocal.server.options import ServerOptions\n"
        "from jlocal.server import run; from jlocal.server.app import create_app\n"
        "create_app(ServerOptions(models=('starter',)))\n"
        "print([name for name in ('llama_cpp', 'torch', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
