#!/usr/bin/env bash
# Vectors and throughput on an NVIDIA GPU; needs the CUDA toolkit (nvcc) and a package index.
#
#     benchmarks/gpu.sh                            # prints; updates docs/benchmarks-gpu.md
#     benchmarks/gpu.sh --model nano --rounds 1    # options of both programs
#
# With JLOCAL_GPU_PYTHON, that Python is used, which has everything, and nothing is installed.

set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

nvidia-smi --list-gpus

python=${JLOCAL_GPU_PYTHON:-}
if [ -z "$python" ]; then
    command -v nvcc >/dev/null || { echo "nvcc is not on PATH: install the CUDA toolkit" >&2; exit 1; }
    venv=${JLOCAL_GPU_VENV:-${TMPDIR:-/tmp}/jlocal-gpu-venv}
    python=$venv/bin/python
    if [ ! -x "$python" ]; then
        python3 -m venv "$venv"
    fi
    # A wheel built before, from the cache or the index, may know no GPU.
    export CMAKE_ARGS="${CMAKE_ARGS:--DGGML_CUDA=on}"
    export CMAKE_BUILD_PARALLEL_LEVEL="${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}"
    "$python" -m pip install 'pip>=25.1'  # older ones know no dependency groups
    "$python" -m pip install --no-cache-dir --no-binary llama-cpp-python -e . --group bench
fi

"$python" - <<'EOF'
import sys
import llama_cpp
import torch
if not llama_cpp.llama_supports_gpu_offload():
    sys.exit(f"llama-cpp-python has no GPU: see its build in {sys.prefix}, and build it again")
if not torch.cuda.is_available():
    sys.exit("torch has no CUDA: install a build that has")
EOF

"$python" benchmarks/vectors.py --device cuda --output docs/benchmarks-gpu.md "$@"
"$python" benchmarks/throughput.py --device cuda --output docs/benchmarks-gpu.md \
    --loads 1x12 16x64 256x64 32x512 4x4096 --peers jlocal llama_server st_bfloat16 \
    "$@"
