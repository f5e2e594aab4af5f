#!/usr/bin/env bash
# Formatting, vet for every platform, the linter, and a tidy go.mod.
# All checks run, whatever the first ones find.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

GOLANGCI_LINT=v2.15.0
PLATFORMS="linux/amd64 linux/arm64 linux/386 linux/riscv64 windows/amd64 windows/arm64 darwin/arm64 darwin/amd64 freebsd/amd64"
# Those of the repository, by folder.
MODULES=". test compat/vsock adapters/vsockgrpc adapters/vsockttrpc adapters/test"

failed=()

unformatted=$(gofmt -l .) || failed+=(gofmt)
if [ -n "$unformatted" ]; then
  printf 'to be formatted with gofmt -w:\n%s\n' "$unformatted"
  failed+=(gofmt)
fi

# Without cgo, so that no platform needs a C compiler.
export CGO_ENABLED=0
for platform in $PLATFORMS; do
  for module in $MODULES; do
    (cd "$module" && GOOS=${platform%/*} GOARCH=${platform#*/} go vet ./...) ||
      failed+=("vet of $module for $platform")
  done
done

# The linter has its version in its name, so that a new version is fetched.
# It is no part of go.mod: users of the library need not know of it.
linter=.cache/bin/golangci-lint-$GOLANGCI_LINT
if [ ! -x "$linter" ]; then
  echo "installing golangci-lint $GOLANGCI_LINT; this is done once and takes a few minutes"
  mkdir -p .cache/bin
  env -u GOOS -u GOARCH GOFLAGS= GOBIN="$PWD/.cache/bin" \
    go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$GOLANGCI_LINT"
  mv .cache/bin/golangci-lint "$linter"
fi
# It looks at one platform: Linux's files are the most, and so everyone sees
# the same findings.
for module in $MODULES; do
  (cd "$module" && GOLANGCI_LINT_CACHE="$root/.cache/golangci-lint" GOOS=linux GOARCH=amd64 \
    "$root/$linter" run ./...) || failed+=("golangci-lint of $module")
done

# Of packages that are missing, go mod tidy would ask the network.
if [[ ${failed[*]-} != *vet* ]]; then
  for module in $MODULES; do
    (cd "$module" && go mod tidy -diff) || failed+=("go mod tidy of $module")
  done
fi

if [ ${#failed[@]} != 0 ]; then
  printf 'FAILED: %s\n' "${failed[@]}"
  exit 1
fi
echo "all checks passed"
