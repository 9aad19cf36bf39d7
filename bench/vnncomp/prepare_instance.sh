#!/usr/bin/env bash
# prepare_instance.sh v1 CATEGORY MODEL PROPERTY: brings files and libraries into memory and compiles kernels. Analyses nothing.
#
# An exit code other than 0 would skip the rest of the category, so only a wrong version or a missing installation gives one; a file
# that cannot be read is left for run_instance.sh to report.
#
# CERTIFY_VENV   the virtual environment of install_tool.sh (default: .venv of the checkout)
set -euo pipefail

readonly VERSION=v1
if [[ ${1:-} != "$VERSION" || $# -ne 4 ]]; then
    echo "usage: $0 $VERSION CATEGORY MODEL PROPERTY" >&2
    exit 2
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${CERTIFY_VENV:-$root/.venv}/bin/python
if [[ ! -x $python ]]; then
    echo "$0: there is no $python; run install_tool.sh $VERSION first" >&2
    exit 1
fi

cat -- "$3" "$4" >/dev/null || true
# Two questions about networks of our own run through the same code.
timeout 120 "$python" "$root/bench/vnncomp/warm.py" || echo "$0: could not warm up; the instance is run all the same" >&2
