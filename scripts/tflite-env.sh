#!/usr/bin/env bash
# Make the environment of tflite-runtime 2.14, which needs Python 3.11 and numpy<2 and so cannot live beside TensorFlow.
# The converter proves backbones there too when HEADWAY_TFLITE_PYTHON or --tflite-python names its interpreter; the make
# targets and the benchmarks name it by themselves once it exists. Safe to run again, and by two at once.
# Exit code 3: this machine has no Python 3.11 (or no wheel of tflite-runtime); nothing is left behind.
set -euo pipefail
cd "$(dirname "$0")/.."
unset PIP_CONSTRAINT # constraints.txt holds NumPy 2
environment=.cache/tflite-runtime
python=$environment/bin/python

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3.11 python3 python; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "skipped: tflite-runtime 2.14 has no wheels past Python 3.11, and no Python 3.11 was found here; install one or" \
        "name it: make tflite-env PYTHON=/path/to/python3.11" >&2
    return 3
}

proven() { "$python" -c 'import numpy, tflite_runtime.interpreter' 2>/dev/null; }

mkdir -p "$(dirname "$environment")"
exec 9>"$environment.lock"
flock 9 2>/dev/null || true # without flock (macOS) two first runs at once are not supported
if [ -e "$environment/.ready" ] && [ "$environment/.ready" -nt pyproject.toml ] && proven; then
    echo "$PWD/$python"
    exit 0
fi
base=$(find_python)
rm -rf "$environment"
"$base" -m venv "$environment"
echo "==> installing headway[tflite,signing] into $environment" >&2
if ! "$python" -m pip install --quiet --disable-pip-version-check --no-input -e '.[tflite,signing]' \
    >"$environment.log" 2>&1 || ! proven; then
    tail -n 5 "$environment.log" >&2
    rm -rf "$environment"
    echo "skipped: tflite-runtime 2.14 cannot be installed here ($(uname -sm)); the whole log is in $environment.log" >&2
    exit 3
fi
touch "$environment/.ready"
echo "$PWD/$python"
