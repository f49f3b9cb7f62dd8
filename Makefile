# Roost's commands. `make run` and `make test` are all that a newcomer needs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
BUILD ?= debug
BIN := .build/$(BUILD)

.PHONY: run test man build prepare lint bench fuzz sim crash cycles clean packages

run: packages build prepare      ## Install, build, prepare a kernel and an image, show the main job
	scripts/show $(BIN)

test: packages                   ## Build and pass every test
	scripts/test

build: packages                  ## Build the command, the daemon and the guest's agent
	scripts/build $(BUILD)

man: build                       ## The manual's pages, into $(BIN)/man: man -M $(BIN)/man roost
	$(BIN)/roostd --experimental-dump-help > $(BIN)/roostd.json
	$(BIN)/roost manual $(BIN)/man --daemon $(BIN)/roostd.json

prepare:                         ## Kernel and root image for this user, without any network use after
	scripts/prepare $(BIN)

packages:                        ## What Debian must have installed; says what is missing and installs it
	scripts/packages

lint:                            ## Formatting and house rules
	swift format lint --strict --parallel --recursive Sources Tests Package.swift Fuzz/Package.swift \
	    Fuzz/Driver
	swift test --filter TidyTests

sim: packages                    ## The fleet in a simulator: 1,000 seeds
	swift build -c release --product roost-sim
	.build/release/roost-sim --seeds 1..1000 --profile rough --jobs 2

fuzz: packages                   ## Every decoder of outside bytes, FUZZ_SECONDS each (60)
	scripts/fuzz

crash: packages build prepare    ## kill -9 of the daemon at each failpoint TIMES times (25), real guests
	tests/crash $(BIN) --each-point $${TIMES:-25}

cycles: packages build prepare   ## 1,000 create, start, exec, stop, delete, 8 at once, real guests
	tests/cycles $(BIN) --count $${CYCLES:-1000}
	tests/cycles $(BIN) --count $${CYCLES:-1000} --mode copy

bench: packages                  ## Figures, with peers side by side, into docs/BENCHMARKS.md
	$(MAKE) build BUILD=release
	$(MAKE) prepare BUILD=release
	swift build -c release --product roost-storebench
	swift build -c release --product roost-schedbench
	Benchmarks/bench .build/release

clean:
	rm -rf .build
