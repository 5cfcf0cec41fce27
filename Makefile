# `make` lists the targets. A fresh Debian needs Rust and Python 3; scripts/setup.sh brings the rest.

# What tests and benches with real peers are told; scripts/setup.sh puts it there.
export FINIAL_ENVOY     ?= $(CURDIR)/target/peers/envoy-1.40/envoy/_bin/envoy
export FINIAL_ENVOY_136 ?= $(CURDIR)/target/peers/envoy-1.36/envoy/_bin/envoy
export FINIAL_PYTHON    ?= $(CURDIR)/target/venv/bin/python
export FINIAL_HELM      ?= $(CURDIR)/target/peers/helm/helm

# How long `make demo` runs, and how often each certificate is renewed meanwhile.
FOR          ?= 30s
ROTATE_EVERY ?= 1s

# How often `make compare` starts both products afresh, two minutes each time.
ROUNDS       ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast lint fmt bench compare setup-demo setup-test

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup-demo ## two real Envoys talk mTLS while their certificates and the CA rotate
	cargo build --locked --release
	target/release/finial dev --envoy "$(FINIAL_ENVOY)" --for $(FOR) --rotate-every $(ROTATE_EVERY)

test: setup-test ## every test, those with real Envoys and gRPC clients included
	cargo test --locked --doc
	cargo test --locked --no-fail-fast --tests

test-fast: ## the unit tests and the rules of the source tree: no download, no peer
	cargo test --locked --lib
	cargo test --locked --test it architecture

lint: ## formatting, clippy and the documentation, warnings denied
	cargo fmt --check
	cargo clippy --locked --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

fmt: ## format everything
	cargo fmt

bench: setup-test ## the benches behind SPECIFICATION.md, each with its bound
	cargo bench --locked --benches

compare: ## the same load on finial and on the SPIRE whose programs are in SPIRE_BIN_DIR
	$(if $(SPIRE_BIN_DIR),,$(error set SPIRE_BIN_DIR to the folder with spire-server and spire-agent of the SPIRE to compare with))
	cargo bench --locked --bench promises -- compare --rounds $(ROUNDS)

setup-demo setup-test: setup-%:
	@scripts/setup.sh $*
