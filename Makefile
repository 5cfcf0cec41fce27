# `make` lists the targets. A fresh Debian needs Rust, Go and Python 3; scripts/setup.sh brings the rest.

# What tests and benches with real peers are told; scripts/setup.sh puts it there.
export FINIAL_ENVOY     ?= $(CURDIR)/target/peers/envoy-1.40/envoy/_bin/envoy
export FINIAL_ENVOY_136 ?= $(CURDIR)/target/peers/envoy-1.36/envoy/_bin/envoy
export FINIAL_PYTHON    ?= $(CURDIR)/target/venv/bin/python
export FINIAL_CLUSTER   ?= $(CURDIR)/target/peers/cluster
export FINIAL_IMAGE     ?= $(CURDIR)/target/image/finial.tar
export FINIAL_HELM      ?= $(CURDIR)/target/peers/helm/helm

# How long `make demo` runs, and how often each certificate is renewed meanwhile.
FOR          ?= 30s
ROTATE_EVERY ?= 1s

# How often `make compare` starts both products afresh, two minutes each time.
ROUNDS       ?= 2

# Where the images belong, and how their binary is built. What is tested is what ships; `quick` saves the
# one who tries something the long link. A node that starts pulls the image before any of its pods has an
# identity: 25 MB at most, unpacked.
IMAGE_PREFIX  ?= localhost
IMAGE_PROFILE ?= release
STATIC        := $(shell uname -m)-unknown-linux-gnu
# What keeps it there: relative relocations in a twentieth of the bytes (glibc 2.36 or later to build), across
# crates only what is small inlined, and of SQLite what a server asks for.
IMAGE_RUSTC   := -C link-arg=-Wl,-z,pack-relative-relocs -C llvm-args=-inline-threshold=50
IMAGE_SQLITE  := -USQLITE_ENABLE_FTS3 -USQLITE_ENABLE_FTS3_PARENTHESIS -USQLITE_ENABLE_FTS5 \
	-USQLITE_ENABLE_RTREE -USQLITE_ENABLE_DBSTAT_VTAB -USQLITE_SOUNDEX

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast lint fmt image bench bench-cluster compare setup-demo setup-test setup-cluster

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup-demo ## two real Envoys talk mTLS while their certificates and the CA rotate
	cargo build --locked --release
	target/release/finial dev --envoy "$(FINIAL_ENVOY)" --for $(FOR) --rotate-every $(ROTATE_EVERY)

test: setup-test setup-cluster image ## every test, those with real Envoys, clients and a Kubernetes included
	cargo test --locked --doc
	cargo test --locked --no-fail-fast --tests

test-fast: setup-test ## every test but those in a Kubernetes
	cargo test --locked --doc
	cargo test --locked --no-fail-fast --lib --bins --test it

lint: ## formatting, clippy and the documentation, warnings denied
	cargo fmt --check
	cargo clippy --locked --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

fmt: ## format everything
	cargo fmt

image: ## the container images, as an archive of one static binary under its names
	RUSTFLAGS="-C target-feature=+crt-static" LIBSQLITE3_FLAGS="$(IMAGE_SQLITE)" \
		cargo rustc --locked --profile $(IMAGE_PROFILE) --target $(STATIC) --bin finial -- $(IMAGE_RUSTC)
	scripts/image.py --binary target/$(STATIC)/$(IMAGE_PROFILE)/finial --out "$(FINIAL_IMAGE)" \
		--prefix $(IMAGE_PREFIX) $(if $(filter release,$(IMAGE_PROFILE)),--max-mb 25)

bench: setup-test ## the benches behind SPECIFICATION.md, each with its bound
	cargo bench --locked --benches

bench-cluster: setup-test setup-cluster image ## the same for the figures of a cluster with a mesh
	FINIAL_BOUNDS=judge cargo test --locked --test e2e -- --nocapture figures without_a_server

compare: ## the same load on finial and on the SPIRE whose programs are in SPIRE_BIN_DIR
	$(if $(SPIRE_BIN_DIR),,$(error set SPIRE_BIN_DIR to the folder with spire-server and spire-agent of the SPIRE to compare with))
	cargo bench --locked --bench promises -- compare --rounds $(ROUNDS)

setup-demo setup-test: setup-%:
	@scripts/setup.sh $*

setup-cluster: setup-test
	@tests/cluster/build.sh
