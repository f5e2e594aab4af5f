#!/usr/bin/env bash
# Runs every fuzz target for FUZZTIME, one after another, and prints what they
# do in the form of `go test -json`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
log=$work/log
corpus=$(go env GOCACHE)/fuzz # where go test keeps what it finds
status=0

# fuzz PACKAGE DIR TARGET: one run of the package's built tests, into $log. Go would spend up
# to a minute of it on making one input smaller, for any that reaches something new, and run
# nothing else: most of a short run.
fuzz() (
  cd "$2"
  go tool test2json -t -p "$1" "$work/fuzz.test" -test.v=test2json -test.paniconexit0 -test.run='^$' \
    -test.fuzz="^$3\$" -test.fuzztime="$FUZZTIME" -test.fuzzminimizetime=10x \
    -test.fuzzcachedir="$corpus/$1" >"$log" </dev/null
)

# Go before 1.27 can take the end of the fuzzing time itself for a failure
# (go.dev/issue/75804). A real one names its input, or has more to say.
ended_by_clock() {
  grep -q '"Output":" *context deadline exceeded\\n"' "$log" &&
    ! grep -Eq 'Failing input written|panic: ' "$log"
}

# Listing targets builds a package's tests, so do that only where there are some.
fuzzed_packages() {
  go list -e -f '{{range .TestGoFiles}}{{$.ImportPath}} {{.}} {{$.Dir}}{{"\n"}}{{end -}}
    {{range .XTestGoFiles}}{{$.ImportPath}} {{.}} {{$.Dir}}{{"\n"}}{{end}}' ./... |
    while read -r package file dir; do
      [ -z "$file" ] || ! grep -q '^func Fuzz' "$dir/$file" || echo "$package $dir"
    done | sort -u
}

packages=$(fuzzed_packages)
if [ -z "$packages" ]; then
  echo "fuzz: no package has a target" >&2
  exit 1
fi

# A package's tests are linked once for all of its targets.
while read -r package dir; do
  if ! go test -c -vet=off -fuzz=. -o "$work/fuzz.test" "$package" >&2 ||
    ! targets=$("$work/fuzz.test" -test.list='^Fuzz' </dev/null); then
    echo "fuzz: the tests of $package cannot be built, or do not list their targets" >&2
    status=1
    continue
  fi
  for target in $(grep '^Fuzz' <<<"$targets" || true); do
    echo "fuzz: $package $target for $FUZZTIME" >&2
    if ! fuzz "$package" "$dir" "$target"; then
      if ! ended_by_clock || ! fuzz "$package" "$dir" "$target"; then
        status=1
      fi
    fi
    cat "$log"
  done
done <<<"$packages"
exit $status
