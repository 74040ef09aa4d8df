#!/bin/bash
# One call on a machine with a GPU: bash recipes/mini/gpu.sh PACK OUT STAGE SECONDS [words for gpu.py train]
# STAGE: tokenizer, decoder, transformer, or measure (the benchmark and the tests of the GPU). See recipes/mini/gpu.py.
set -eu
pack=$1 out=$2 stage=$3 seconds=$4
shift 4
here=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$out"
if [ -d "$pack/wheels" ]; then
    "${PYTHON:-python3}" -m pip install -q --no-index --no-deps --target "$pack/site" "$pack"/wheels/*.whl
    export PYTHONPATH="$pack/site:${PYTHONPATH:-}"
fi
export PYTHONPATH="$here:${PYTHONPATH:-}"
if [ "$stage" = measure ]; then
    timeout "$seconds" "${PYTHON:-python3}" -m masktools bench --device cuda 2>&1 | tee "$out/bench.txt" || true
    cd "$here" && timeout 300 "${PYTHON:-python3}" -m pytest -q -m gpu 2>&1 | tee "$out/tests-gpu.txt" || true
else
    "${PYTHON:-python3}" "$here/recipes/mini/gpu.py" train "$pack" "$out" "$stage" "$seconds" "$@"
fi
ls -la "$out"
