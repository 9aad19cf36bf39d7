#!/usr/bin/env bash
# run_instance.sh v1 CATEGORY MODEL PROPERTY RESULT SECONDS: writes the verdict to the first line of RESULT and a witness below it.
#
# Ends with exit code 0 whenever RESULT holds a verdict; `timed-out` is one, and is written before the time is up. The file appears
# whole or not at all. The category is not looked at: nothing is tuned to it.
#
# CERTIFY_VENV   the virtual environment of install_tool.sh (default: .venv of the checkout)
set -euo pipefail

readonly VERSION=v1
if [[ ${1:-} != "$VERSION" || $# -ne 6 ]]; then
    echo "usage: $0 $VERSION CATEGORY MODEL PROPERTY RESULT SECONDS" >&2
    exit 2
fi
readonly model=$3 property=$4 result=$5 seconds=$6
rm -f -- "$result" # whatever happens below, an earlier verdict is none on this call

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${CERTIFY_VENV:-$root/.venv}/bin/python

# The engine gets the time less what Python needs to start and to end; where it does not keep to that, it is ended.
read -r allowed last < <(LC_ALL=C awk -v t="$seconds" 'BEGIN {
    t = t + 0
    if (t <= 0) exit 1
    reserve = 0.5 + 0.01 * t
    if (reserve > t / 4) reserve = t / 4
    printf "%.3f %.3f\n", t - reserve, t - reserve / 2
}') || {
    echo "$0: $seconds is no number of seconds" >&2
    exit 2
}

readonly partial=$result.partial
trap 'rm -f -- "$partial"' EXIT
code=0
timeout --kill-after=0.1 "$last" "$python" -m certify verify "$model" "$property" --timeout "$allowed" >"$partial" || code=$?
if [[ $code -eq 124 ]]; then # ended by `timeout`
    echo timed-out >"$partial"
elif [[ $code -ne 0 ]]; then
    exit "$code"
fi
mv -- "$partial" "$result"
