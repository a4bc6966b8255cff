# Short names for the scripts and cargo commands below; `make` lists them.
.PHONY: help run test check kills faults bench-delivery test-fresh servers stop-servers

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

run: ## start an instance here, with a neighbour to talk to (NEIGHBOUR=off: alone)
	@./deploy/scripts/run $(ARGS)

test: ## install what is missing and run every test on real servers
	@./deploy/scripts/test

check: ## formatting, lints and unit tests: under a minute when warm
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets -- -D warnings
	@# Every route with every token and in every encoding takes as long as all else; make test has it.
	@# Most of them wait for a database or a clock, and not for a core.
	RUST_TEST_THREADS=$$(( $$(nproc) * 3 )) cargo test --workspace --lib --bins -q -- \
		--skip client::tests::matrix --skip client::tests::encodings

kills: ## the long form of the kill tests: three rounds of every victim in both modes
	TIDEGATE_KILL_ROUNDS=3 cargo test -p tidegate-node --test e2e kills -- --nocapture --test-threads=1

bench-delivery: ## the delivery benchmark: wants an idle machine and 15 GB of disk
	@./deploy/scripts/bench-delivery

faults: ## the long faults: brokers, networks, remote hosts (as root, takes an hour; docs/benchmarks)
	cargo test -p tidegate-node --test e2e faults -- --ignored --nocapture --test-threads=1

test-fresh: ## run `make run` and `make test` in a bare Debian 12 (as root, takes half an hour)
	./deploy/scripts/test-fresh

servers: ## private PostgreSQL, Redis and RabbitMQ, with the settings to use them
	@./deploy/scripts/install-servers
	@./deploy/scripts/servers start

stop-servers: ## end what `make servers` started
	@./deploy/scripts/servers stop
