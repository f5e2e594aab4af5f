#!/usr/bin/env bash
# Runs every test, then each fuzz target for a short time, and reports.
# GUESTS, RACE, WINE and FUZZTIME: see the Makefile.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/packages.sh
. scripts/wine.sh

GUESTS=${GUESTS:-1}
RACE=${RACE:-1}
WINE=${WINE:-1}

purposes=()
[ "$GUESTS" = 0 ] || purposes+=(guests qemu socat programs kerneltest)
[ "$RACE" = 0 ] || purposes+=(race)
get_all() {
  install_missing ${purposes[@]+"${purposes[@]}"} || return
  [ "$GUESTS" = 0 ] || { fetch_missing_kernels && fetch_missing_kerneltest; }
}
if ! get_all; then
  cat >&2 <<'END'
To test without them:
  make test GUESTS=0    no Linux guests: the tests that boot one are skipped
  make test RACE=0      no race detector
END
  exit 1
fi

# What this run leaves out, for the report.
lost=()

# internal/testguest reads this: the machines that must boot, or 0 for none at
# all. A guest that is not named and cannot boot is skipped.
required=()
if [ "$GUESTS" = 0 ]; then
  required=(0)
  lost+=(-lost "Linux guests: GUESTS=0")
else
  if have guests; then
    required+=(uml)
  else
    lost+=(-lost "User Mode Linux guests: there is no linux.uml on this machine (Debian package user-mode-linux)")
  fi
  for series in $KERNELS; do
    if have qemu && have_kernel "$series"; then
      required+=("qemu-$series")
    else
      lost+=(-lost "Linux $series guests: no QEMU, or no such kernel, on this machine")
    fi
  done
fi
export VSOCKETS_REQUIRE_GUESTS="${required[*]-}"

# Programs of others that run in guests. What is named must be there; the tests of
# one that is not are skipped.
unset VSOCKETS_KERNELTEST VSOCKETS_SOCAT
if [ "$GUESTS" != 0 ]; then
  if have_kerneltest; then
    export VSOCKETS_KERNELTEST=$KERNELTEST
  else
    lost+=(-lost "Linux's own vsock_test: no source of Linux $KERNELTEST_SERIES, or no C compiler, on this machine")
  fi
  if have socat; then
    VSOCKETS_SOCAT=$(command -v socat)
    export VSOCKETS_SOCAT
  else
    lost+=(-lost "socat in guests: there is no socat on this machine (Debian package socat)")
  fi
fi

# Then a test that finds one of them missing fails where it would have been skipped.
unset VSOCKETS_REQUIRE_PROGRAMS
if have programs && have socat; then
  export VSOCKETS_REQUIRE_PROGRAMS=1
fi
have programs || lost+=(-lost "programs of others that are not on this machine: $(missing_programs | paste -sd ' ')")

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
  # A program with the detector sleeps before it ends, a second as a rule, for those that race
  # with its end. The tests start hundreds that are the tool.
  export GORACE="atexit_sleep_ms=10 ${GORACE-}"
fi

if [ "$WINE" = 0 ]; then
  lost+=(-lost "Windows tests under Wine: WINE=0")
elif ! install_missing wine || ! have wine; then
  WINE=0
  lost+=(-lost "Windows tests under Wine: there is no 64-bit Wine on this machine (Debian packages wine64, libwine)")
else
  trap stop_wine EXIT
  if ! prepare_wine; then
    WINE=0
    lost+=(-lost "Windows tests under Wine: Wine does not run Go programs on this machine, see $WINE_LOG")
  fi
fi

# The race detector has no 32 bits, and no C compiler is needed. An x86-64 kernel
# may have been built without them.
bits32=1
if ! CGO_ENABLED=0 GOARCH=386 go run ./scripts/testreport -h >/dev/null 2>&1; then
  bits32=0
  lost+=(-lost "32-bit tests: this machine runs no 386 programs")
fi

FUZZTIME=${FUZZTIME:-5s}
export FUZZTIME
if [ "$FUZZTIME" = 0 ]; then
  lost+=(-lost "fuzzing: FUZZTIME=0")
fi

# as KIND: adds to the packages' names in the output of `go test -json`, so that the
# report tells these results from others of the same packages.
as() {
  sed -E -e "s/\"Package\":\"[^\"]*/& ($1)/" -e "s/\"Output\":\"(ok  |FAIL|\\?   )\\\\t[^\\]*/& ($1)/"
}

# go_test ARGUMENTS...: go test, as all of this runs it. Results are never taken from the cache:
# Go does not know that they depend on a guest's kernel. Vet is for make check, which runs it for
# every platform.
go_test() {
  go test -json -vet=off -count=1 "$@"
}

# What guests there are is for the tests above: these boot none.
test_32_bits() {
  VSOCKETS_REQUIRE_GUESTS=0 CGO_ENABLED=0 GOARCH=386 go_test "$@"
}

run_all() {
  local status=0
  # Those that take longest come first: they wait for guests more than they compute.
  go_test ${race[@]+"${race[@]}"} ./cmd/vsock ./internal/guests/... ./... || status=1
  # Modules of their own: what only they depend on is no business of other users.
  for module in test compat/vsock adapters/vsockgrpc adapters/vsockttrpc adapters/test; do
    (cd "$module" && go_test ${race[@]+"${race[@]}"} ./...) || status=1
  done
  # Memory that is taken away is a fault, which the race detector's own runtime
  # does not always survive: those tests are left out with it, and run here.
  if [ ${#race[@]} -gt 0 ]; then
    # One after the other: the attacks are measured.
    go_test -p 1 ./internal/device ./internal/attack || status=1
  fi
  if [ "$bits32" = 1 ]; then
    test_32_bits ./vsock ./vsock/hyperv ./internal/stack ./internal/winsock | as 386 || status=1
    (cd compat/vsock && test_32_bits ./...) | as 386 || status=1
  fi
  if [ "$WINE" != 0 ]; then
    test_under_wine | as Wine || status=1
  fi
  if [ "$FUZZTIME" != 0 ]; then
    scripts/fuzz.sh || status=1
  fi
  return $status
}

go build -o .cache/bin/testreport ./scripts/testreport
run_all </dev/null | .cache/bin/testreport ${lost[@]+"${lost[@]}"}
