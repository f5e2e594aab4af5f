#!/usr/bin/env bash
# Measures, and rewrites the tables and the picture of docs/PERFORMANCE.md.
# Nothing there is typed by hand.
#
# ROUNDS=5 TIME=500ms     how often, and how long, each measurement is made
# SCALE=0                 leaves out the measurements of many connections
# RELAY=0                 leaves out those of relays, which socat is compared in where it is
# GUESTS=0                leaves out those in Linux guests, of which it boots what can be booted here
# VHOST_DEVICE_VSOCK=FILE rust-vmm's device, to compare with; default: from PATH
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/packages.sh
. scripts/packages.sh

# 1,000 attached contexts and 10,000 connections take descriptors.
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

temp=$(mktemp -d)
device_pid=""
end() {
  [ -z "$device_pid" ] || kill "$device_pid" 2>/dev/null || true
  rm -rf "$temp"
}
trap end EXIT

# measure_guests measures in the guests that this machine can boot.
measure_guests() {
  local machines=() series
  have guests && machines+=(--machine uml)
  for series in $KERNELS; do
    if have qemu && have_kernel "$series"; then
      machines+=(--machine "qemu-$series")
    fi
  done
  if [ ${#machines[@]} = 0 ]; then
    echo "There is no guest to measure in; \`make test\` gets them." >&2
    return
  fi
  (cd test && CGO_ENABLED=0 go build -trimpath -o "$temp/loopback" ./loopback)
  bin/vsock bench guest "${machines[@]}" --loopback "$temp/loopback" ${program:+--device "$program"} \
    --rounds "${ROUNDS:-5}" --time "${TIME:-500ms}" --json >"$temp/guest.json"
  mv "$temp/guest.json" docs/performance-guest.json
}

device=()
program=${VHOST_DEVICE_VSOCK:-$(command -v vhost-device-vsock || true)}
if [ -n "$program" ]; then
  "$program" --vm "guest-cid=4,socket=$temp/device,uds-path=$temp/host" 2>"$temp/device.log" &
  device_pid=$!
  for _ in $(seq 100); do
    [ -S "$temp/device" ] && break
    sleep 0.05
  done
  device=(--device "vhost-device-vsock=$temp/device,uds=$temp/host")
else
  echo "There is no vhost-device-vsock to compare with. Where Rust is, get it with" >&2
  echo "  cargo install vhost-device-vsock --version 0.3.0 --locked" >&2
fi

bin/vsock bench compare --rounds "${ROUNDS:-5}" --time "${TIME:-500ms}" --json \
  ${device[@]+"${device[@]}"} >"$temp/performance.json"
scale=()
if [ "${SCALE:-1}" != 0 ]; then
  bin/vsock bench scale --json >"$temp/scale.json"
  mv "$temp/scale.json" docs/performance-scale.json
fi
[ ! -e docs/performance-scale.json ] || scale=(--scale docs/performance-scale.json)
relay=()
if [ "${RELAY:-1}" != 0 ]; then
  bin/vsock bench relay --rounds "${ROUNDS:-5}" --time "${TIME:-500ms}" --json >"$temp/relay.json"
  mv "$temp/relay.json" docs/performance-relay.json
fi
[ ! -e docs/performance-relay.json ] || relay=(--relay docs/performance-relay.json)
guest=()
if [ "${GUESTS:-1}" != 0 ]; then
  measure_guests
fi
[ ! -e docs/performance-guest.json ] || guest=(--guest docs/performance-guest.json)
mv "$temp/performance.json" docs/performance.json

reports=(docs/performance.json ${scale[@]+"${scale[@]}"} ${relay[@]+"${relay[@]}"} ${guest[@]+"${guest[@]}"})
bin/vsock bench render "${reports[@]}" --doc docs/PERFORMANCE.md --svg docs/performance.svg
bin/vsock bench render "${reports[@]}"
