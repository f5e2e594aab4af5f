#!/usr/bin/env bash
# Soaks a switch with all guests that this machine can boot.
# SOAK=10m is for how long, SEED=N has the same happen again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/packages.sh

install_missing guests qemu || echo "Going on without them." >&2
fetch_missing_kernels || echo "Going on without QEMU's guests." >&2
mkdir -p .cache/bin
CGO_ENABLED=0 go build -o .cache/bin/soak ./internal/soak/run
exec .cache/bin/soak -time "${SOAK:-10m}" ${SEED:+-seed "$SEED"}
