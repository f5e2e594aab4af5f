#!/usr/bin/env bash
# Runs every fuzz target for FUZZTIME, one after another, and prints what they
# do in the form of `go test -json`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0

# fuzz PACKAGE TARGET: one run, into $log. Go would spend up to a minute of it on making
# one input smaller, for any that reaches something new, and run nothing else: most of
# a short run.
fuzz() {
  go test -json -run='^$' -fuzz="^$2\$" -fuzztime="$FUZZTIME" -fuzzminimizetime=10x "$1" >"$log"
}

# Go before 1.27 can take the end of the fuzzing time itself for a failure
# (go.dev/issue/75804). A real one names its input, or has more to say.
ended_by_clock() {
  grep -q '"Output":" *context deadline exceeded\\n"' "$log" &&
    ! grep -Eq 'Failing input written|panic: ' "$log"
}

# Listing targets builds a package's tests, so do that only where there are some.
fuzzed_packages() {
  go list -e -f '{{range .TestGoFiles}}{{$.ImportPath}} {{$.Dir}}/{{.}}{{"\n"}}{{end -}}
    {{range .XTestGoFiles}}{{$.ImportPath}} {{$.Dir}}/{{.}}{{"\n"}}{{end}}' ./... |
    while read -r package file; do
      [ -z "$file" ] || ! grep -q '^func Fuzz' "$file" || echo "$package"
    done | sort -u
}

for package in $(fuzzed_packages); do
  if ! targets=$(go test -list='^Fuzz' "$package"); then
    echo "fuzz: the targets of $package cannot be listed: $targets" >&2
    status=1
    continue
  fi
  for target in $(grep '^Fuzz' <<<"$targets" || true); do
    echo "fuzz: $package $target for $FUZZTIME" >&2
    if ! fuzz "$package" "$target"; then
      if ! ended_by_clock || ! fuzz "$package" "$target"; then
        status=1
      fi
    fi
    cat "$log"
  done
done
exit $status
