SHELL := bash

.PHONY: build test check fuzz soak bench demo clean

build:
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/vsock

# GUESTS=0     leaves out the tests that boot a Linux guest
# RACE=0       tests without the race detector
# WINE=0       leaves out the tests built for Windows, which run under Wine
# FUZZTIME=5s  is the time for each fuzz target; 0 leaves fuzzing out
test:
	@scripts/test.sh

check:
	@scripts/check.sh

# FUZZTIME=10m is the time for each fuzz target.
fuzz:
	@set -o pipefail; FUZZTIME=$${FUZZTIME:-10m} scripts/fuzz.sh | go run ./scripts/testreport

# SOAK=10m is for how long; SEED=N has the same happen again. The report is in .cache/soak.
soak: build
	@SOAK=$(SOAK) SEED=$(SEED) scripts/soak.sh

# ROUNDS=5 and TIME=500ms say how long it measures; SCALE=0, RELAY=0 and GUESTS=0 leave out the
# measurements of many connections, of relays and in guests. The result is in docs/PERFORMANCE.md.
bench: build
	@scripts/bench.sh

demo: build
	@scripts/demo.sh

clean:
	rm -rf bin .cache
