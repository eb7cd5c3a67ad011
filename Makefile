# make help lists the targets. Nothing here is needed to build: go build ./cmd/server does.
.DEFAULT_GOAL := help
.PHONY: help run build test test-busy race-test cover matrix-test deploy-test fault-test import-test changeover-test bench timing-test lint fuzz screenshots previous postgres chromium pgbouncer promtool axe express systemd

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: postgres build ## run the server with a private database and the sandbox: http://localhost:3001
	@exec bin/server

build: ## build bin/server
	@CGO_ENABLED=0 go build -trimpath -o bin/server ./cmd/server

# Most tests spend most of their time waiting, so more packages run at once than there are cores. How many tests of a
# package do is up to dbtest.Run.
testing = -shuffle=on -p 4
# The packages with tests of races.
racy = $(sort $(dir $(shell grep -rl --include='*_test.go' '^func TestRace' ./cmd ./db ./internal ./test)))
needed = postgres chromium pgbouncer promtool axe express systemd

# The race detector makes the whole suite four times slower, so only the tests of races have it here.
test: $(needed) ## run all tests, in a browser too; 10 rounds of each race with the race detector, short versions of long tests
	go test $(testing) -skip '^TestRace' -timeout 60m $(TEST_FLAGS) ./...
	go test -race $(testing) -run '^TestRace' -timeout 60m $(TEST_FLAGS) $(racy)

test-busy: $(needed) ## build the tests, then run make test beside 8 busy processes and print how long it took
	@go test -run '^$$' ./... >/dev/null
	@go test -race -run '^$$' $(racy) >/dev/null
	@sh scripts/beside.sh 8 $(MAKE) test TEST_FLAGS=-count=1

race-test: $(needed) ## run all tests with the race detector, and 200 rounds of each race
	RACE_ROUNDS=200 go test -race $(testing) -count=1 -timeout 120m ./...

cover: $(needed) ## run all tests without the race detector, and print how much of each package they reach
	at=$$(mktemp -d) && GOCOVERDIR=$$at go test -coverpkg=./cmd/...,./db,./db/embedded,./internal/... \
		-coverprofile=coverage.out -p 4 -timeout 60m ./...; done=$$?; rm -rf "$$at"; exit $$done
	@awk -f scripts/coverage.awk coverage.out

matrix-test: postgres ## make every call to a provider fail in every way, the slow ones too
	MATRIX=all go test -race -count=1 -run '^Test(ProviderMatrix|MatrixIsComplete)$$' ./internal/routes

deploy-test: postgres $(if $(PREVIOUS),previous) ## replace and kill servers under load and print the figures; PREVIOUS=commit mixes that version in
	DEPLOY_PREVIOUS="$(if $(PREVIOUS),$(CURDIR)/bin/previous/server.test)" DEPLOY_ROUNDS=20 DEPLOY_KILLS=100 DEPLOY_ANSWER_KILLS=200 go test -count=1 -v -parallel 1 -timeout 30m \
		-run '^(TestRollingRestart|TestPassedSocketOutlivesServers|TestKillAtRandom|TestKillAround(Refresh|Exchange)|TestRush.*)$$' ./test/soak

fault-test: postgres ## restart, freeze and lose PostgreSQL under load for ten minutes, and print what people notice
	FAULT_MINUTES=10 go test -race -count=1 -v -parallel 2 -timeout 30m -run TestFault ./test/soak

import-test: postgres ## import a million people of the Node server, kill that 20 times, and print rate and memory
	IMPORT_USERS=1000000 IMPORT_KILLS=20 go test -count=1 -v -timeout 120m -run TestKilledImportIsCompleted ./internal/node

changeover-test: postgres express ## move people between the Node server and ours 60 times, and print what they notice
	CHANGEOVER_ROUNDS=20 go test -count=1 -v -timeout 30m -run '^TestChangeOver$$' ./test/soak

bench: postgres $(if $(PREVIOUS),previous) ## measure the server against others on this machine, in one run; half an hour; PREVIOUS=commit is one of them
ifdef PREVIOUS
	BENCH_PREVIOUS="$(CURDIR)/bin/previous/server" go test -run '^$$' -bench Previous -benchtime 1x -timeout 60m ./internal/bench
endif
	go test -run '^$$' -bench 'SignedIn|Storm|Expired' -benchtime 1x -timeout 90m ./internal/bench
	go test -run '^$$' -bench Request -benchtime 3s ./internal/bench
	go test -run '^$$' -bench Home -benchtime 3s ./internal/routes

timing-test: postgres ## compare how long forms take for addresses with and without an account, and print the rank test's p
	go test -run '^$$' -bench KnownAgainstUnknown -benchtime 1x -timeout 30m ./internal/routes

lint: ## check formatting, line length, vet, staticcheck, modern Go
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'run: gofmt -w .'; exit 1; }
	@git ls-files -z '*.go' | xargs -0 awk '{ line = $$0; gsub(/\t/, "    ", line) } \
		length(line) > 120 { print FILENAME ":" FNR ": longer than 120 columns"; n++ } END { exit n > 0 }'
	go vet ./...
	go tool staticcheck ./...
	go fix -diff ./...

fuzz: postgres ## fuzz every route, providers' answers and what parses text for a minute each
	go test -run '^$$' -fuzz FuzzRequests -fuzztime 60s -fuzzminimizetime 1x ./internal/routes
	go test -run '^$$' -fuzz FuzzAnswers -fuzztime 60s -fuzzminimizetime 1x ./internal/routes
	go test -run '^$$' -fuzz FuzzReturnPath -fuzztime 60s ./internal/routes
	go test -run '^$$' -fuzz FuzzCookieShape -fuzztime 60s ./internal/session
	go test -run '^$$' -fuzz FuzzDrawing -fuzztime 60s ./internal/activity
	go test -run '^$$' -fuzz FuzzClean -fuzztime 60s ./internal/text

screenshots: postgres chromium axe ## take pictures of every page into screenshots/
	@mkdir -p screenshots
	SCREENSHOTS="$(CURDIR)/screenshots" go test -count=1 -run InChromium ./cmd/server

previous:
	@rm -rf bin/previous && mkdir -p bin/previous && git archive $(PREVIOUS) | tar -x -C bin/previous
	@cd bin/previous && CGO_ENABLED=0 go build -o server ./cmd/server
# Its rate limits have to be those of the test, like this version's.
	@cd bin/previous && CGO_ENABLED=0 go test -c -o server.test ./cmd/server

# These install what is missing, and say so first.
postgres:
	@sh scripts/install.sh postgres

chromium:
	@sh scripts/install.sh chromium

pgbouncer:
	@sh scripts/install.sh pgbouncer

promtool:
	@sh scripts/install.sh promtool

axe:
	@sh scripts/install.sh axe

express:
	@sh scripts/install.sh express

systemd:
	@sh scripts/install.sh systemd
