#| Catalyst: a Kubernetes operator that turns a cluster into a self-hosted Dapr region.
#|
#|   make demo       a real Kubernetes on this machine, the operator in it, and what it does
#|                   (KEEP=1 make demo leaves it running, make down stops it)
#|   make test       all that CI runs: lints, unit tests, tests against a real Kubernetes
#|   make check      lints only
#|   make bench      how fast it is, against a plain client that does the same; writes target/bench.json
#|   make generate   rewrites what is generated: crds/*.yaml, schemas/, snapshots/
#|
#| Needed: Linux, Rust (https://rustup.rs) and Go 1.26 or newer (https://go.dev/dl/).
#| The first run builds Kubernetes and all crates, which takes some minutes; both are kept in ~/.cache/catalyst.

export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/local/go/bin

.PHONY: help demo down test bench check generate

help:
	@sed -n 's/^#| \{0,1\}//p' Makefile

demo:
	@.ci/prepared .ci/lively cargo build --workspace --bins
	@.ci/prepared sh -c 'CATALYST_BINARY="$$CARGO_TARGET_DIR/debug/catalyst" exec "$$CARGO_TARGET_DIR/debug/demo"'

down:
	@.ci/prepared .ci/lively cargo run --quiet -p catalyst-testbed -- down

test:
	@.ci/prepared .ci/test

bench:
	@.ci/prepared .ci/lively cargo build --release -p catalyst -p catalyst-bench --bins
	@.ci/prepared sh -c 'CATALYST_BINARY="$$CARGO_TARGET_DIR/release/catalyst" exec .ci/lively "$$CARGO_TARGET_DIR/release/catalyst-bench"'

check:
	@.ci/prepared .ci/lively cargo fmt --all --check
	@.ci/prepared .ci/lively cargo clippy --workspace --all-targets -- -D warnings
	@.ci/prepared .ci/deny

generate:
	@.ci/prepared env CATALYST_GENERATE=1 .ci/lively cargo test -p catalyst-crds --test generated
	@.ci/prepared env CATALYST_GENERATE=1 .ci/lively cargo test -p catalyst --test snapshots
