#!/usr/bin/env bash
# Shows the project at work. The tool says itself what it does without guests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/packages.sh

install_missing guests || echo "Going on without them." >&2
exec bin/vsock demo
