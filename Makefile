#| Catalyst: a Kubernetes operator that turns a cluster into a self-hosted Dapr region.
#|
#|   make demo       a real Kubernetes on this machine, the operator in it, and what it does
#|                   (KEEP=1 make demo leaves it running, make down stops it)
#|   make test       all that CI runs: lints, unit tests, tests against a real Kubernetes
#|   make setup      installs what pods need from Debian; demo and test begin with it
#|   make check      lints only
#|   make image      the image of the chart, target/image/catalyst.tar, without a container engine
#|   make matrix     the promises on older Kubernetes and helm, and two builds of the image; the first time takes an hour
#|   make kills      kills each part of Dapr's control plane and of ours under load, and counts what failed
#|   make bench      how fast it is, against a plain client that does the same; writes target/bench.json
#|   make mutants    shows that each promise can be broken: turns one line off at a time, and its test has to fail
#|   make fuzz       feeds `catalyst render` what a fuzzer thinks of, for SECONDS=60; needs a C++ compiler
#|   make generate   rewrites what is generated: crds/*.yaml, schemas/, snapshots/, parts of charts/
#|
#| Needed: Linux, Rust (https://rustup.rs) and Go 1.26 or newer (https://go.dev/dl/); for pods, root and Debian.
#| The first run builds Kubernetes and all crates, which takes some minutes; both are kept in ~/.cache/catalyst.

export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/local/go/bin:/usr/sbin:/sbin

.PHONY: help setup demo down test matrix kills bench mutants fuzz check image generate

help:
	@sed -n 's/^#| \{0,1\}//p' Makefile

setup:
	@.ci/node

demo: setup
	@.ci/prepared .ci/lively cargo build --workspace --bins
	@.ci/prepared sh -c 'CATALYST_BINARY="$$CARGO_TARGET_DIR/debug/catalyst" exec "$$CARGO_TARGET_DIR/debug/demo"'

down:
	@.ci/prepared .ci/lively cargo run --quiet -p catalyst-testbed -- down

test: setup
	@.ci/prepared .ci/test

matrix:
	@.ci/prepared .ci/lively .ci/matrix

kills: setup image
	@.ci/prepared .ci/lively cargo test -p catalyst -p catalyst-e2e --test kills

bench:
	@.ci/prepared .ci/lively cargo build --release -p catalyst -p catalyst-bench --bins
	@.ci/prepared sh -c 'CATALYST_BINARY="$$CARGO_TARGET_DIR/release/catalyst" exec .ci/lively "$$CARGO_TARGET_DIR/release/catalyst-bench"'

mutants:
	@.ci/prepared .ci/lively .ci/mutants

fuzz:
	@.ci/prepared .ci/fuzz $(or $(SECONDS),60)

check:
	@.ci/prepared .ci/lively cargo fmt --all --check
	@.ci/prepared .ci/lively cargo clippy --workspace --all-targets -- -D warnings
	@.ci/prepared .ci/deny

image:
	@.ci/prepared .ci/image

generate:
	@.ci/prepared env CATALYST_GENERATE=1 .ci/lively cargo test -p catalyst-crds --test generated --test chart
	@.ci/prepared env CATALYST_GENERATE=1 .ci/lively cargo test -p catalyst --test snapshots
	@.ci/prepared env CATALYST_GENERATE=1 .ci/lively cargo test -p catalyst -p catalyst-e2e --test chart repository_shows
