#!/usr/bin/env bash
# Make the virtual environment that every make target uses. Run by make; safe to run again, and by two at once.
set -euo pipefail
venv=${1:?usage: setup.sh VENV}
extras=${EXTRAS:-converter,litert,aggregator,demo,dev}

suitable() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
        if command -v "$candidate" >/dev/null && suitable "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    echo "error: Headway needs Python 3.11 to 3.13 and found none; install one (apt install python3 python3-venv," \
        "brew install python@3.13, pacman -S python) or name it: make PYTHON=/path/to/python" >&2
    return 2
}

mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock 9 2>/dev/null || true # without flock (macOS) two first runs at once are not supported
if [ -e "$venv/.ready" ] && [ "$venv/.ready" -nt pyproject.toml ] && [ "$venv/.ready" -nt scripts/setup.sh ]; then
    exit 0
fi
python=$(find_python)
if [ ! -x "$venv/bin/python" ] || ! suitable "$venv/bin/python"; then
    rm -rf "$venv"
    if ! "$python" -m venv "$venv" >"$venv.log" 2>&1; then
        rm -rf "$venv"
        echo "error: $python cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" \
            "(what it said is in $venv.log)" >&2
        exit 2
    fi
fi
rm -f "$venv/.ready"
touch "$venv/.installing" # older than what changes meanwhile, which is then installed the next time
large=''
case $extras in *converter*) large='; TensorFlow is large, this takes a minute or more' ;; esac
echo "==> installing Headway with [$extras] into $venv$large" >&2
if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -e ".[$extras]" >"$venv.log" 2>&1; then
    tail -n 15 "$venv.log" >&2
    echo "error: pip could not install Headway; the whole log is in $venv.log" >&2
    exit 2
fi
mv "$venv/.installing" "$venv/.ready"
