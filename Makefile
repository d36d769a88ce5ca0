# Everything that people and CI run. `make` lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help unit simulation suite suites demo test soak load bench fuzz release check tools fmt crds manifests docs build deny \
	advisories need-rust need-go

CARGO ?= cargo

# On CI a Cargo.lock that does not fit Cargo.toml is an error; elsewhere cargo brings it up to date.
LOCKED := $(if $(CI),--locked)

# Programs that are built for tests and checks lie outside of the tree, next to those of the testbed.
TOOLS_DIR := $(or $(ARTIFACTCONFIG_TOOLS_DIR),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/artifactconfig/tools)
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY_ROOT := $(TOOLS_DIR)/cargo-deny-$(CARGO_DENY_VERSION)
CARGO_DENY := $(CARGO_DENY_ROOT)/bin/cargo-deny
# Of the Dockerfile too; scripts/check-version compares them.
CARGO_AUDITABLE_VERSION := 0.7.7
CARGO_AUDITABLE_ROOT := $(TOOLS_DIR)/cargo-auditable-$(CARGO_AUDITABLE_VERSION)
CARGO_AUDITABLE := $(CARGO_AUDITABLE_ROOT)/bin/cargo-auditable
CARGO_FUZZ_VERSION := 0.13.2
CARGO_FUZZ_ROOT := $(TOOLS_DIR)/cargo-fuzz-$(CARGO_FUZZ_VERSION)
CARGO_FUZZ := $(CARGO_FUZZ_ROOT)/bin/cargo-fuzz
ACTIONLINT_VERSION := v1.7.12
ACTIONLINT_ROOT := $(TOOLS_DIR)/actionlint-$(ACTIONLINT_VERSION)
ACTIONLINT := $(ACTIONLINT_ROOT)/actionlint
CRANE ?= $(TOOLS_DIR)/crane-for-images/crane

# Tests that need programs which Go builds, most of them a cluster: `make suite SUITE=…` runs one, CI each in a lane of its
# own. `image` needs root besides; it has a target of its own.
SUITES := alerts bind chart disruption docs e2e pods registry soak workloads
# All others need nothing but Rust. A new one is among them unless it is named above.
UNIT := $(filter-out $(SUITES) image,$(sort $(patsubst %/main,%,$(patsubst tests/%.rs,%,$(wildcard tests/*.rs tests/*/main.rs))) \
	$(patsubst testbed/tests/%.rs,%,$(wildcard testbed/tests/*.rs))))

# All packages, and --examples although there are none: so cargo builds for `make demo` with the features that the
# tests need, and `make test` does not compile the dependencies a second time.
BUILD := $(CARGO) build --workspace --bins --examples $(LOCKED)

# Prints the program's path.
BUILD_STATIC = CARGO_AUDITABLE="$(CARGO_AUDITABLE)" scripts/build-static

# Asked only where it is used; a directory may be set in the environment or in a config of cargo's.
BIN = $(shell $(CARGO) metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/debug
RELEASE = $(patsubst %/debug,%/release,$(BIN))

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "The first run compiles the programs of the testbed (see testbed/README.md), which takes about 12 minutes"
	@echo "on two cores. They are kept in $(TOOLS_DIR)."

unit: need-rust ## Every test that needs neither Go nor a cluster nor the network: less than a minute when it is compiled
	SIMULATION_SEEDS=$(or $(SIMULATION_SEEDS),500) CARGO="$(CARGO)" scripts/test --workspace --no-fail-fast $(LOCKED) \
		--lib --bins $(UNIT:%=--test %) -- --skip planted::
	$(CARGO) test --workspace --quiet $(LOCKED) --doc

# With the bugs that are planted to see that it finds them, which takes longest.
simulation: need-rust ## The simulation, whole: SIMULATION_SEEDS=100000 or SIMULATION_SECONDS=120 before it for more worlds
	CARGO="$(CARGO)" scripts/test --workspace $(LOCKED) --test simulation

suite: need-go tools ## Some of the other tests: SUITE=e2e; 'make suites' lists them
	@[ -n "$(filter $(SUITES),$(SUITE))" ] || { echo "error: name one, as in make suite SUITE=e2e: $(SUITES)" >&2; exit 1; }
	CARGO="$(CARGO)" scripts/test --workspace --no-fail-fast $(LOCKED) --test $(SUITE)

suites: ## List what 'make suite' knows
	@printf '%s\n' $(SUITES)

demo: need-go build ## Tell the operator's story on a real cluster, each step checked; KEEP=1 leaves it up
	@set -x; "$(BIN)/testbed" demo --operator "$(BIN)/artifactconfig" $(if $(KEEP),--keep)

test: need-go check tools ## Everything: checks, unit tests, and end to end on a real cluster and real registries
	CARGO="$(CARGO)" scripts/test --workspace --no-fail-fast $(LOCKED)

soak: need-go release tools ## An hour of churn and trouble, and a verdict on leaks: SOAK_ARGS="--duration 15m"
	@set -x; "$(BIN)/testbed" soak --operator "$(RELEASE)/artifactconfig" --report "$(RELEASE)/soak.md" $(SOAK_ARGS)

bench: need-rust ## What decisions cost, each alone: BENCH_ARGS="--save-baseline before", later "--baseline before"
	$(CARGO) bench --workspace $(LOCKED) --bench decisions -- $(BENCH_ARGS)

# Without a sanitizer, which needs a nightly compiler and would watch for what safe code cannot do. With the versions of
# dependencies that are shipped.
fuzz: need-rust $(CARGO_FUZZ) ## Search inputs that break a parser: TARGET=manifest SECONDS=60; fuzz/README.md lists the targets
	@[ -f "fuzz/fuzz_targets/$(TARGET).rs" ] || { \
		echo "error: name one, as in make fuzz TARGET=manifest: $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))" >&2; exit 1; }
	mkdir -p fuzz/corpus/$(TARGET)
	cp Cargo.lock fuzz/Cargo.lock
	$(CARGO_FUZZ) run --sanitizer none --codegen-units 16 $(TARGET) fuzz/corpus/$(TARGET) fuzz/seeds/$(TARGET) \
		-- -max_total_time=$(or $(SECONDS),60)

load: need-go release tools ## What the operator costs, in figures (half an hour): LOAD_ARGS="--idle 0"
	@set -x; "$(BIN)/testbed" load --operator "$(RELEASE)/artifactconfig" --report "$(RELEASE)/load.md" $(LOAD_ARGS)

check: need-rust deny lint-release ## Format, lints, licences and sources of dependencies, documentation, release
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets $(LOCKED) -- -D warnings
	$(CARGO) clippy --package artifactconfig --no-default-features --features cli --lib --bins $(LOCKED) -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --lib --examples $(LOCKED)

tools: need-go build ## Build the programs of the testbed that are missing; ALL=1 also those that few tests need
	@set -x; "$(BIN)/testbed" tools $(if $(ALL),--all)

fmt: need-rust ## Format the code
	$(CARGO) fmt --all

crds: build ## Write crds/ and deploy/bind/ from the code, and the chart's copies
	"$(BIN)/artifactconfig" crd > crds/artifactconfigs.yaml.new
	mv crds/artifactconfigs.yaml.new crds/artifactconfigs.yaml
	cp crds/artifactconfigs.yaml charts/artifactconfig/files/crd.yaml
	"$(BIN)/artifactconfig" policies > deploy/bind/policies.yaml.new
	mv deploy/bind/policies.yaml.new deploy/bind/policies.yaml
	cp deploy/bind/policies.yaml charts/artifactconfig/files/policies.yaml

manifests: need-go build ## Write deploy/install.yaml and the values in the chart's README from the chart
	"$(BIN)/testbed" manifests

docs: build ## Write docs/cli.md from the code
	"$(BIN)/artifactconfig" reference > docs/cli.md.new
	mv docs/cli.md.new docs/cli.md

build: need-rust ## Compile the operator and the testbed
	$(BUILD)

# --workspace for the same reason as above.
release: build ## Compile the operator optimized, as it is shipped
	$(CARGO) build --release --workspace --bin artifactconfig $(LOCKED)

.PHONY: static image image-test lint-release
# The features of the operator alone and link-time optimization, so this shares nothing with the other builds.
static: need-rust $(CARGO_AUDITABLE) ## Compile the static program of the image: target/<platform>/release/artifactconfig
	$(BUILD_STATIC)

image: need-rust $(CARGO_AUDITABLE) $(CRANE) ## Push the image of this platform without a container engine: IMAGE=registry.example.com/name:tag
	@[ -n "$(IMAGE)" ] || { echo "error: name where to: make image IMAGE=registry.example.com/name:tag" >&2; exit 1; }
	CRANE="$(CRANE)" scripts/image-push "$$($(BUILD_STATIC))" "$(IMAGE)"

image-test: need-rust tools $(CARGO_AUDITABLE) ## Run the image as a cluster does, in a root of its own, on a real cluster (as root)
	IMAGE_PROGRAM="$$($(BUILD_STATIC))" \
		$(CARGO) test --workspace $(LOCKED) --test image -- --ignored --nocapture --test-threads=1

lint-release: $(ACTIONLINT) ## Check the workflows, and that every place names the same version
	$(ACTIONLINT) -shellcheck= -pyflakes=
	scripts/check-version
	scripts/check-lanes $(SUITES)

deny: need-rust $(CARGO_DENY) ## Check licences, sources and duplicates of the dependencies
	$(CARGO_DENY) --workspace check bans licenses sources

# Apart from `check`: the database of advisories comes from the network, and changes without a commit of ours.
advisories: need-rust $(CARGO_DENY) ## Check the dependencies for known vulnerabilities (network)
	$(CARGO_DENY) --workspace check advisories

$(CARGO_DENY): | need-rust
	@echo "Building cargo-deny $(CARGO_DENY_VERSION) into $(TOOLS_DIR): once, some minutes"
	$(CARGO) install --quiet --locked --root $(CARGO_DENY_ROOT) --version $(CARGO_DENY_VERSION) cargo-deny

$(CARGO_AUDITABLE): | need-rust
	@echo "Building cargo-auditable $(CARGO_AUDITABLE_VERSION) into $(TOOLS_DIR): once, a minute"
	$(CARGO) install --quiet --locked --root $(CARGO_AUDITABLE_ROOT) --version $(CARGO_AUDITABLE_VERSION) cargo-auditable

$(CARGO_FUZZ): | need-rust
	@echo "Building cargo-fuzz $(CARGO_FUZZ_VERSION) into $(TOOLS_DIR): once, a minute"
	$(CARGO) install --quiet --locked --root $(CARGO_FUZZ_ROOT) --version $(CARGO_FUZZ_VERSION) cargo-fuzz

# The version that the testbed pins.
$(CRANE): testbed/tools/crane/go.sum | need-go
	cd testbed/tools/crane && go build -trimpath -o "$@" github.com/google/go-containerregistry/cmd/crane

# The checksum database of Go holds what a version is.
$(ACTIONLINT): | need-go
	@echo "Building actionlint $(ACTIONLINT_VERSION) into $(TOOLS_DIR): once, half a minute"
	GOBIN="$(ACTIONLINT_ROOT)" go install github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION)

need-rust:
	@command -v $(CARGO) > /dev/null || { \
		echo "error: cargo is not installed: get Rust with rustup from https://rustup.rs" >&2; exit 1; }
	@$(CARGO) fmt --version > /dev/null && $(CARGO) clippy --version > /dev/null || { \
		echo "error: the Rust toolchain of rust-toolchain.toml is not complete: run 'rustup toolchain install'" >&2; exit 1; }
	@command -v cc > /dev/null || { \
		echo "error: there is no C compiler: install gcc or clang (Debian: apt install build-essential)" >&2; exit 1; }

need-go:
	@command -v go > /dev/null || [ -n "$$KUBEBUILDER_ASSETS" ] || { \
		echo "error: go is not installed: the programs of the testbed are built with it; get it from https://go.dev/dl/" >&2; exit 1; }
