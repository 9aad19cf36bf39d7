#!/usr/bin/env bash
# install_tool.sh v1: installs certify from this checkout into a virtual environment of its own. May be called again.
#
# CERTIFY_VENV   where to (default: .venv of the checkout)
# PYTHON         with which Python (default: python3)
# TORCH_INDEX    package index for torch (default: that of its CPU builds; https://download.pytorch.org/whl/cu130 for a GPU)
set -euo pipefail

readonly VERSION=v1
if [[ ${1:-} != "$VERSION" ]]; then
    echo "usage: $0 $VERSION" >&2
    exit 2
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=${CERTIFY_VENV:-$root/.venv}
pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input)

"${PYTHON:-python3}" -m venv "$venv"
# torch goes first, on its own: resolved together with the rest it would bring gigabytes of CUDA packages along.
"${pip[@]}" torch --index-url "${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}"
"${pip[@]}" "$root"
"$venv/bin/python" -m certify --version
