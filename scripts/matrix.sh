#!/usr/bin/env bash
# The device's tests in each environment that a device may have: its Python, its inference runtime, its NumPy. Run by
# make matrix; each environment is made in .cache/matrix-*, without TensorFlow. A Python that is not installed here is
# said and left out; the end is failure if a suite failed, or if none could run.
set -uo pipefail
cd "$(dirname "$0")/.."
unset PIP_CONSTRAINT # constraints.txt holds NumPy 2
environments='3.11:tflite 3.11:litert 3.13:litert 3.11:onnx'
passed=''
failed=''

find_version() {
    local candidate
    for candidate in "$(command -v "python$1")" "$(pyenv root 2>/dev/null)"/versions/"$1".*/bin/python; do
        if [ -x "$candidate" ] && [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$1" ]; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

for environment in ${MATRIX:-$environments}; do
    version=${environment%%:*}
    runtime=${environment#*:}
    if ! python=$(find_version "$version"); then
        echo "==> Python $version is not installed; $runtime on it is left out" >&2
        continue
    fi
    venv=.cache/matrix-$version-$runtime
    echo "==> Python $version with [$runtime]" >&2
    # onnx: some tests build their models with it; it is no runtime
    if PYTHON="$python" EXTRAS="$runtime,signing,aggregator,dev" scripts/setup.sh "$venv" &&
        "$venv/bin/python" -m pytest -q -p no:cacheprovider ${WORKERS:-} tests/edge_agent tests/headway tests/contract; then
        passed="$passed $environment"
    else
        failed="$failed $environment"
    fi
    "$venv/bin/python" -c 'import importlib.metadata as m; print("   ", *(f"{d.name} {d.version}" for d in m.distributions() if d.name in ("numpy", "ai-edge-litert", "tflite-runtime", "onnxruntime")))'
done
if [ -n "$failed" ] || [ -z "$passed" ]; then
    echo "error: passed:${passed:- none}; failed:${failed:- none could run}" >&2
    exit 1
fi
echo "==> passed:$passed" >&2
