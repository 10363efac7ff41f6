#!/bin/sh
# Makes the virtual environment of the peer benchmarks: $NEARKIN_PEERS_VENV, or bench/peers/.venv.
# PyTorch's wheel needs its CUDA libraries to be imported, although only the CPU is measured: 5 GB.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
venv=${NEARKIN_PEERS_VENV:-$here/.venv}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
"$venv/bin/python" -c 'import numpy, pytorch_metric_learning, torch; print("ready:", torch.__version__)'
echo "run: $venv/bin/python $here/kernels.py"
