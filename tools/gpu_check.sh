#!/bin/sh
# Check on a machine with one CUDA card what has to run there, and write a table: gpu_check.md.
# At most 8 minutes, no network. On a machine without a card: tools/gpu_check.sh --dry
# PYTHON is the Python with harness installed; by default that of .venv, otherwise python3.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
[ -x "$root/.venv/bin/python" ] && known="$root/.venv/bin/python" || known=python3
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export CUBLAS_WORKSPACE_CONFIG=:4096:8
exec "${PYTHON:-$known}" "$root/tools/gpu_check.py" "$@"
