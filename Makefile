# SPDX-FileCopyrightText: The xfrguard authors
# SPDX-License-Identifier: Apache-2.0

FUZZTIME  ?= 30s
BENCH     ?= .
BENCHTIME ?= 1s
SIDE      ?=

GOFUMPT     = go run mvdan.cc/gofumpt@v0.12.0
STATICCHECK = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2

# One way to compile all but the race-detecting tests, so that it is done once: a cold CoreDNS takes
# more than a minute.
STATIC = CGO_ENABLED=0 GOFLAGS="$$(go env GOFLAGS) -trimpath"
BUILD  = $(STATIC) go build -ldflags='-s -w'

# The tests of the first run the built binary from outside: race detection would find nothing there, and
# compile 180 packages more. Those of the others have one goroutine.
ALONE = /cmd/coredns$$\|/interop/zonegen$$\|/docs$$\|/deploy$$

# Its tests wait for other servers most of the time, so it is the first to begin, and with two others.
PEERS = /xfrguard/interop

.DEFAULT_GOAL = help
MAKEFLAGS += --no-print-directory
.PHONY: help build full run test check peers lint bench hostile bench-tls microbench profile queries fuzz clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/coredns and bin/xfrguard
	@mkdir -p bin
	@$(BUILD) -o bin/ ./cmd/...
	@ls -sh1 bin | tail -n +2

full: ## build bin/coredns with CoreDNS's cloud and cluster plugins too (minutes when cold)
	@mkdir -p bin
	@$(BUILD) -tags full -o bin/coredns ./cmd/coredns

run: ## build CoreDNS and serve example.Corefile on 127.0.0.1:1053 until Ctrl-C
	@mkdir -p bin
	@$(BUILD) -o bin/coredns ./cmd/coredns
	@exec bin/coredns -conf example.Corefile

test: peers ## install missing peers (Debian packages), then vet and test everything
	@$(STATIC) go vet ./...
	@all=$$(go list ./...) && \
	CGO_ENABLED=1 go test -race -shuffle=on -p 3 -timeout 18m $$(echo "$$all" | grep '$(PEERS)$$') \
		$$(echo "$$all" | grep -v '$(PEERS)$$' | grep -v '$(ALONE)') && \
	$(STATIC) go test -shuffle=on -timeout 5m $$(echo "$$all" | grep '$(ALONE)')

check: ## vet and test what needs no peers, without the race detector: under two minutes
	@$(STATIC) go vet ./...
	@$(STATIC) go test -short -shuffle=on -timeout 10m . ./e2e ./docs ./deploy ./internal/... ./cmd/...

peers: ## install the name servers and tools that tests talk to, if missing
	@scripts/install-peers

lint: ## gofumpt, go vet, staticcheck
	@bad=$$($(GOFUMPT) -l .) && { [ -z "$$bad" ] || { echo "not in gofumpt's style:"; echo "$$bad"; exit 1; }; }
	@$(STATIC) go vet ./...
	@$(STATIC) $(STATICCHECK) ./...
	@echo "lint: nothing to complain about"

bench: peers ## transfers side by side with other servers, 20 minutes (SIDE="-quick": two; SIDE=-help: more)
	@$(STATIC) go run ./bench $(SIDE)

hostile: peers ## attacks on loopback, 10 minutes (SIDE="-peers", "-soak 60m", "-scale 3"; SIDE=-help: more)
	@$(STATIC) go run ./hostile $(SIDE)

profile: ## CPU profiles of transfers of 1k and 1m records, into bin/profile
	@$(STATIC) go run ./bench -only ours,limit -zones 1k,1m -rounds 1 -cold 1 -profile bin/profile $(SIDE)

microbench: ## Go benchmarks (BENCH=regexp, BENCHTIME=1s)
	@go test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCHTIME) -timeout 15m . ./e2e ./internal/...

bench-tls: peers ## AXFR over TLS 1.3 against named and nsd in turns (XFRGUARD_ROUNDS=15)
	@CGO_ENABLED=0 go test -run '^$$' -bench XoT -benchtime 1x -timeout 15m ./interop

queries: build ## dnsperf: ordinary queries with and without the guard
	@scripts/bench-queries

fuzz: ## run every fuzz target for FUZZTIME (30s) each
	@scripts/fuzz $(FUZZTIME)

clean: ## remove what was built
	@rm -rf bin
