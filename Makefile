SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
FUZZTIME    ?= 10m
SEEDS       ?= 10000
# Benchmarks measure the C library too, where it is there to be linked.
BENCHTAGS   := $(if $(wildcard /usr/include/libdeflate.h),-tags libdeflate)

.PHONY: help build test check fmt vet lint vuln race simulate fuzz-short fuzz bench demo stack sample

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the programs, static, in bin/
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/...

test: ## all tests, those of the templates and manifests too
	go test ./... && cd test/deploy && go vet ./... && go test ./...

check: fmt vet lint vuln race simulate fuzz-short ## what CI runs

fmt: ## fail on files that gofmt would change
	@bad=$$(gofmt -l cmd deploy internal pkg test); [ -z "$$bad" ] || { echo "not gofmt-ed: $$bad"; exit 1; }

vet: ## go vet
	go vet ./...

lint: ## staticcheck
	go run $(STATICCHECK) ./...

vuln: ## known vulnerabilities; where their database is out of reach it says so and goes on
	@if out=$$(go run $(GOVULNCHECK) ./... 2>&1); then echo "$$out"; \
	elif grep -q '^govulncheck: fetching vulnerabilities' <<<"$$out"; then echo "$$out"; echo "NOT CHECKED for known vulnerabilities"; \
	else echo "$$out"; exit 1; fi

race: ## all tests with the race detector
	go test -race -timeout 20m ./...

simulate: ## lives of workers with failures, kills and tampering, from SEEDS seeds (10000)
	TRAILSEAL_SEEDS=$(SEEDS) go test ./test/simulation -count 1 -timeout 30m

fuzz-short: ## each fuzz target for a few thousand inputs
	@$(MAKE) --no-print-directory fuzz FUZZTIME=5000x

fuzz: ## each fuzz target for FUZZTIME (10m)
	@for p in $$(go list ./pkg/... ./internal/...); do \
	all=$$(go test -list '^Fuzz' $$p); \
	for f in $$(grep '^Fuzz' <<<"$$all" || true); do echo "$$p $$f"; \
	go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$p | tail -n 20; done; done

bench: ## measurements; see docs/benchmarks.md
	GOMAXPROCS=1 go test -run '^$$' -bench . ./pkg/... && for n in 1 2; do GOMAXPROCS=$$n go test $(BENCHTAGS) -run '^$$' -bench '^Benchmark(Get|Inflate|Ingest)$$' ./test/bench; done
	go test -run '^$$' -bench 'Reference|Organization|Chains|Length|Concurrency|Collector|IngestS3|IngestQueue|Memory' -benchtime 1x -timeout 90m ./test/bench

demo: build ## both programs on the built-in sample: one edited log file, two hours without logging
	@rc=0; bin/ingest --once --source test/sample --keys test/sample/keys.json --since 2026-03-01 --state memory || rc=$$?; \
	[ $$rc -eq 1 ] || { echo "ingest: exit $$rc, want 1: findings"; exit 1; }
	@rc=0; bin/verifier verify --keys test/sample/keys.json --start-time 2026-03-01 --end-time 2026-03-01T08:00:00Z test/sample || rc=$$?; \
	[ $$rc -eq 1 ] || { echo "verifier: exit $$rc, want 1: findings"; exit 1; }

stack: ## the whole stack without containers, until Ctrl-C
	go run ./test/stack

sample: ## write the built-in sample anew
	cd test/signtrail && go run . sample ../sample
