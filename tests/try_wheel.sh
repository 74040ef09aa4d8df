#!/usr/bin/env bash
# Install a wheel into a fresh environment, outside of any checkout, and let it do what its users do first.
# Usage: tests/try_wheel.sh WHEEL [oldest|newest] [PYTHON]
set -euo pipefail
wheel=$(realpath "$1") dependencies=${2:-newest} python=${3:-python3}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$python" -m venv "$place/venv"
bin=$place/venv/bin
limits=()
if [ "$dependencies" = oldest ]; then # every requirement of the core at the lowest version that it allows
    "$bin/python" - "$wheel" > "$place/oldest.txt" <<'PYTHON'
import re, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    name = next(name for name in wheel.namelist() if name.endswith("METADATA"))
    for line in wheel.read(name).decode().splitlines():
        found = re.fullmatch(r"Requires-Dist: ([\w.-]+)>=([\d.]+)", line)
        if found:
            print(f"{found[1]}=={found[2]}" + ".*" * (found[2].count(".") < 2))
PYTHON
    limits=(-c "$place/oldest.txt")
fi
if command -v uv > /dev/null; then # much quicker where it is at hand
    uv pip install --quiet --python "$bin/python" "${limits[@]}" "$wheel"
else
    "$bin/python" -m pip install --quiet --disable-pip-version-check "${limits[@]}" "$wheel"
fi
cd "$place"
export HF_HUB_OFFLINE=1 http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 # nothing may ask for a network
"$bin/masktools" --version
"$bin/masktools" models
"$bin/masktools" demo -o demo
"$bin/python" -c "
import numpy as np, masktools
model = masktools.load('mini')
wave = np.random.default_rng(0).standard_normal(44_100).astype('f4') * 0.1
wave[20_000:24_000] = 0
filled = model.inpaint(wave, 22_050)
assert filled.samples.shape == wave.shape and abs(filled.samples[20_000:24_000]).max() > 0.01
assert '<audio' in filled._repr_html_()
assert model.embed(wave, 22_050).clip.shape
"
test -n "$(ls demo)"
echo "the wheel works with the $dependencies dependencies"
