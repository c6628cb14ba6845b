# run     build, and start on 127.0.0.1:5300 with its data in ./data
# test    what a change must pass; installs what the tests need where it may
# e2e     tests with many real servers, or of long duration; CI runs them after test
# check   test and e2e, and what else CI looks at: format, lint, fuzz, cross builds, modules
# bench   Telltale against its peers, into docs/benchmarks.md
# build   ./bin/telltale
# ui      the console, of web/ui/src into web/ui/dist; needs Node 20
# household  a made-up home and its log in ./household, to try reports on
# small   ./bin/telltale-small, for routers: docs/install.md says what it is without
# cross   ./dist/telltale-... and ./dist/telltale-small-... for every machine it is meant for

VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GO          ?= go
GOBUILD      = CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)'
STATICCHECK  = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 10s
TARGETS      = linux/amd64 linux/arm64 linux/arm linux/mips linux/mipsle

# The compiler copies small functions into their callers, which makes 2 MB of the
# program. It does so where speed is asked for: in what a query, a list, the log and a
# report go through. docs/decisions/size.md has what was measured.
FAST = std golang.org/x/crypto/... golang.org/x/net/... golang.org/x/sys/... github.com/cespare/xxhash/... github.com/dchest/siphash \
	github.com/miekg/dns github.com/quic-go/... github.com/ncruces/... \
	telltale/blocklists/... telltale/breakage telltale/clock telltale/devices telltale/dnswire telltale/evidence \
	telltale/evidence/bundle telltale/evidence/rhythm telltale/querylog/... telltale/resolver/...
FULL = -gcflags=all=-l $(FAST:%=-gcflags=%=)

# What is compiled by the same flags is compiled once: for go vet, for the tests that the race
# detector does not watch, and for the program that tests build. SQLite alone takes a minute.
ASBUILT = -trimpath $(FULL)

# The program for small machines has fewer parts, and nothing is copied.
SMALL = -tags small -gcflags=all=-l

# What `make run` says before it builds for the first time.
FIRST = The first build takes about a minute, later ones take seconds.

.PHONY: run test e2e check bench build small household ui cross tools vet format lint fuzz tidy clean

build:
	$(GOBUILD) $(FULL) -o bin/telltale ./cmd/telltale

small:
	$(GOBUILD) $(SMALL) -o bin/telltale-small ./cmd/telltale

run: data/telltale.yaml
	@[ -x bin/telltale ] || echo '$(FIRST)'
	@$(MAKE) --no-print-directory build
	./bin/telltale serve --config data/telltale.yaml

# Made once, then yours.
data/telltale.yaml: | packaging/run.yaml
	mkdir -p -m 0700 data
	mkdir -p data/lists.d
	install -m 0644 packaging/run.yaml $@

# It is written anew, by a test.
household:
	rm -rf household
	HOUSEHOLD_DIR=$(CURDIR)/household $(GO) test -count 1 -run 'TestHousehold$$' ./evidence/household
	@echo 'Its log is of 6 to 19 October 2025: say so, as in'
	@echo '  bin/telltale report --since 2025-10-13 --until 2025-10-20 --config household/telltale.yaml'
	@echo 'To look at it in the console ("make build" makes the program):'
	@echo '  bin/telltale serve --config household/telltale.yaml     then http://127.0.0.1:5381, and there that period'

# What is built is committed: a build of the program needs Go alone.
ui:
	cd web/ui && npm ci --no-audit --no-fund --ignore-scripts && npm run types && npm run check && npm run build

# The race detector needs a C compiler and a 64-bit machine. It makes comparisons
# with slow twins, and with the lists of a corpus, take minutes: with it they are
# few, and all of them run without it. It does not watch what one goroutine does alone
# and would take longer than all else with it: SQLite, which is C compiled to Go, and the
# reading of a list's text, packed or not (UNPACKING: every start of a server unpacks the catalogue). None of these may use sync.Map or other generic code
# that synchronises: the linker keeps one copy of it for the program, and an unwatched one makes races of what is none. The tests of that, of the catalogue's text, and of what a ClickHouse server is asked, run without it;
# what calls both from several goroutines is watched. Rules and their index are made by
# one goroutine and read by all: they are watched in those tests of blocklists in which
# lists change while names are decided (SHARED), and not in each server of all other tests.
# Many tests wait for timers: twice as many packages, and tests of one, as there are processors
# run at a time.
# go vet has looked at all before.
TWINS = -run 'Twin|Agree|TestSameList|TestCorpus|RandomDamage' ./blocklists ./blocklists/matcher ./querylog
PLAIN = ./blocklists/format ./blocklists/catalog ./resolver/overload ./fleet/clickhouse
SHARED = -run 'Comes?InForce|TurnsByItself|AHangingList|OfOnePath' ./blocklists ./blocklists/matcher
UNPACKING = compress/flate
ALONE = $(UNPACKING:%=-gcflags=%=-race=false) -gcflags='github.com/ncruces/go-sqlite3-wasm/...=-race=false' -gcflags='telltale/blocklists/format=-race=false'
UNWATCHED = $(ALONE) -gcflags='telltale/blocklists/rules=-race=false' -gcflags='telltale/blocklists/matcher=-race=false' -gcflags='telltale/blocklists/catalog=-race=false'
WATCHED = $(LONGEST) $$($(GO) list ./... | grep -v -e /blocklists/format -e /blocklists/catalog -e /fleet/clickhouse)
BESIDE = -p $$((2 * $$(getconf _NPROCESSORS_ONLN))) -parallel $$((2 * $$(getconf _NPROCESSORS_ONLN)))

# They are compiled and begun first: what takes longest must not be what begins last.
LONGEST = ./cmd/telltale ./querylog ./resolver

test: tools vet
	@case $$(command -v cc >/dev/null && $(GO) env GOARCH) in \
	amd64|arm64|loong64|ppc64le|riscv64|s390x) set -x; \
		CGO_ENABLED=1 $(GO) test -vet=off -race $(UNWATCHED) $(BESIDE) -timeout 30m $(WATCHED) && \
		CGO_ENABLED=1 $(GO) test -vet=off -race $(ALONE) -timeout 10m $(SHARED) && \
		CGO_ENABLED=0 $(GO) test -vet=off $(ASBUILT) $(PLAIN) && CGO_ENABLED=0 $(GO) test -vet=off $(ASBUILT) $(TWINS) ;; \
	*) echo 'no race detector: it needs a C compiler and a 64-bit machine'; $(GO) test -timeout 10m ./... ;; \
	esac

# Without the race detector: these measure what a user would, on real processes. Many wait
# for timers and for other programs. Packages that have none are not compiled for it.
E2E = $$(grep -rl --include='*_test.go' --exclude-dir=node_modules '^func TestE2E' . | xargs -n 1 dirname | sort -u)

e2e: tools
	CGO_ENABLED=0 $(GO) test -tags e2e -vet=off $(ASBUILT) $(BESIDE) -timeout 15m -run '^TestE2E' $(LONGEST) $(E2E)

check: format lint test e2e fuzz cross tidy

tools:
	@.ci/tools

vet:
	CGO_ENABLED=0 $(GO) vet $(ASBUILT) -tags e2e ./...

format:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt: $$unformatted"; exit 1; fi

# The small program is built by the e2e tests; its tests are looked at here.
lint: vet
	CGO_ENABLED=0 $(GO) vet $(ASBUILT) -tags 'small e2e' ./...
	$(GO) run $(STATICCHECK) ./...

fuzz:
	.ci/fuzz $(FUZZTIME)

tidy:
	$(GO) mod tidy -diff

bench:
	bench/run.sh

# MIPS routers seldom have a floating-point unit; 32-bit ARM here means armv7.
cross:
	@for target in $(TARGETS); do \
		os=$${target%/*} arch=$${target#*/}; \
		machine=$$os-$$arch; \
		if [ $$arch = arm ]; then machine=$${machine}v7; fi; \
		export GOOS=$$os GOARCH=$$arch GOARM=7 GOMIPS=softfloat; \
		echo dist/telltale-$$machine; \
		$(GOBUILD) $(FULL) -o dist/telltale-$$machine ./cmd/telltale || exit 1; \
		echo dist/telltale-small-$$machine; \
		$(GOBUILD) $(SMALL) -o dist/telltale-small-$$machine ./cmd/telltale || exit 1; \
	done

clean:
	rm -rf bin dist
