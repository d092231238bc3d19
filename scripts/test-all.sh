#!/usr/bin/env bash
# Run the tests on every Python of the given versions that is installed here, each in an environment of its own,
# .cache/venv-3.x. Run by make test-all; fails when one of them does, or when none is installed.
# With --second, run by make test-second: on the newest one that is not .venv's, in .cache/light-3.x, without TensorFlow
# and what needs it; where there is no other, it says so and passes.
set -uo pipefail
second=''
if [ "${1:-}" = --second ]; then
    second=1
    shift
fi
versions=${*:?usage: test-all.sh [--second] 3.11 3.12 ...}
here=$(dirname "$0")
tested=''
failed=''

# on PATH, where a shim of pyenv may stand for a version that is not the active one, or among pyenv's own
find_version() {
    local candidate
    for candidate in "$(command -v "python$1")" "$(pyenv root 2>/dev/null)"/versions/"$1".*/bin/python; do
        if [ -x "$candidate" ] && is_version "$candidate" "$1"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

is_version() { [ "$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$2" ]; }

run_light() {
    PYTHON="$python" EXTRAS='litert,onnx,signing,aggregator,dev' "$here/setup.sh" "$1" &&
        make --no-print-directory test-light VENV="$1" PYTHON="$python"
}

run_all() {
    PYTHON="$python" "$here/setup.sh" "$1" && is_version "$1/bin/python" "$version" &&
        make --no-print-directory test VENV="$1" PYTHON="$python"
}

if [ -n "$second" ]; then
    for version in $(printf '%s\n' $versions | sort -rV); do
        if is_version .venv/bin/python "$version" || ! python=$(find_version "$version"); then
            continue
        fi
        echo "==> Python $version ($python), without what needs TensorFlow" >&2
        run_light ".cache/light-$version"
        exit
    done
    echo "==> no Python of $versions besides .venv's is installed; nothing to test on a second one" >&2
    exit 0
fi

for version in $versions; do
    case $version in
        3.11 | 3.12 | 3.13) ;;
        *)
            echo "error: Headway runs on Python 3.11 to 3.13, not $version; PYTHONS names versions such as 3.12" >&2
            exit 2
            ;;
    esac
    if ! python=$(find_version "$version"); then
        echo "==> Python $version is not installed; left out" >&2
        continue
    fi
    venv=".cache/venv-$version"
    echo "==> Python $version ($python)" >&2
    tested="$tested $version"
    if ! run_all "$venv"; then
        failed="$failed $version"
    fi
done
if [ -z "$tested" ]; then
    echo "error: none of Python $versions is installed; name others: make test-all PYTHONS='3.12'" >&2
    exit 2
fi
if [ -n "$failed" ]; then
    echo "error: the tests failed on Python$failed" >&2
    exit 1
fi
echo "==> passed on Python$tested" >&2
