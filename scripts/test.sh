#!/usr/bin/env bash
# Runs every test, then each fuzz target for a short time, and reports.
# GUESTS, RACE and FUZZTIME: see the Makefile.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/packages.sh

GUESTS=${GUESTS:-1}
RACE=${RACE:-1}

purposes=()
[ "$GUESTS" = 0 ] || purposes+=(guests)
[ "$RACE" = 0 ] || purposes+=(race)
if ! install_missing ${purposes[@]+"${purposes[@]}"}; then
  cat >&2 <<'END'
To test without them:
  make test GUESTS=0    no Linux guests: the tests that boot one are skipped
  make test RACE=0      no race detector
END
  exit 1
fi

# What this run leaves out, for the report.
lost=()

# internal/testguest reads this: 1, a guest that cannot boot is a failure;
# 0, no guest is booted; unset, whatever is possible.
unset VSOCKETS_REQUIRE_GUESTS
if [ "$GUESTS" = 0 ]; then
  export VSOCKETS_REQUIRE_GUESTS=0
  lost+=(-lost "Linux guests: GUESTS=0")
elif have guests; then
  export VSOCKETS_REQUIRE_GUESTS=1
else
  lost+=(-lost "Linux guests: there is no User Mode Linux on this machine (linux.uml, Debian package user-mode-linux)")
fi

race=()
if [ "$RACE" = 0 ]; then
  lost+=(-lost "race detector: RACE=0")
elif ! have race; then
  lost+=(-lost "race detector: there is no working C compiler (CC=$(go env CC))")
elif ! CGO_ENABLED=1 go list -race ./scripts/testreport >/dev/null 2>&1; then
  lost+=(-lost "race detector: Go has none for $(go env GOOS)/$(go env GOARCH)")
else
  race=(-race)
  export CGO_ENABLED=1
fi

FUZZTIME=${FUZZTIME:-5s}
export FUZZTIME
if [ "$FUZZTIME" = 0 ]; then
  lost+=(-lost "fuzzing: FUZZTIME=0")
fi

run_all() {
  local status=0
  # Results are never taken from the cache: Go does not know that they depend
  # on a guest's kernel.
  go test -json -count=1 ${race[@]+"${race[@]}"} ./... || status=1
  if [ "$FUZZTIME" != 0 ]; then
    scripts/fuzz.sh || status=1
  fi
  return $status
}

go build -o .cache/bin/testreport ./scripts/testreport
run_all </dev/null | .cache/bin/testreport ${lost[@]+"${lost[@]}"}
