#!/usr/bin/env bash
# A folder that nobody has seen: random configurations, an oracle run for each, then their rows of the matrix. COUNT and SEED choose them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
uv=$(command -v uv || echo "python3 -m uv")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
$uv run golden/random_models.py "$work/models" --count "${COUNT:-10}" --seed "${SEED:-1}"
for model in "$work"/models/*/; do
  $uv run golden/oracle.py "$model" --out "$work/golden/$(basename "$model")"
done
GROUND_TRUTH_MODELS="$work/models" GROUND_TRUTH_GOLDEN="$work/golden" cargo test --test falsify
