# Licet's commands. `make help` lists them; each installs what it needs first.
# ARGS="…" is passed on, PROFILE=dev|test|demo picks the local stack, PYTHON=… picks the interpreter.

PYTHON  ?= python3
PROFILE ?= dev
ARGS    ?=

LOCAL  := $(CURDIR)/.local/venv/bin
RUN    := env PATH="$(LOCAL):$(CURDIR)/contracts/node_modules/.bin:$$PATH" "$(LOCAL)/python"
STACK  := $(RUN) -m infra.local

# Each of the many short processes would otherwise compile the project's sources anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

.PHONY: help install up down status logs demo test storm test-contracts fuzz meter check bench bench-gateway models \
	proto abi lock

help: ## list the commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  ARGS="…" is passed on; PROFILE=dev|test|demo picks the stack; PYTHON=python3.12 picks the interpreter'

# Stamps inside make this a matter of a tenth of a second when nothing has changed.
install: ## install everything into .local/ (every other command does this first)
	@$(PYTHON) infra/local/install.py

up: install ## start the stack and keep it until Ctrl-C (ARGS=--detach returns)
	@$(STACK) up --profile $(PROFILE) $(ARGS)

down: install ## stop the stack
	@$(STACK) down --profile $(PROFILE) $(ARGS)

status: install ## what runs, on which ports (ARGS=--json)
	@$(STACK) status --profile $(PROFILE) $(ARGS)

logs: install ## the end of every log (ARGS="kafka gateway-1" for some)
	@$(STACK) logs --profile $(PROFILE) $(ARGS)

demo: install ## tell the whole story, step by step (ARGS=--exit stops at the end)
	@$(RUN) -m e2e.demo $(ARGS)

test: install ## pass every test on real servers (ARGS="-k settlement" for some)
	@$(RUN) tools/run_tests.py $(ARGS)

# LICET_STORM_SEED repeats a storm, LICET_STORM_CALLS sizes it.
storm: install ## break the gateway at random moments under load
	@env LICET_STORM_CALLS="$${LICET_STORM_CALLS:-3000}" $(RUN) tools/run_tests.py \
		services/inference-gateway/tests/integration/storm.py -n 0 -s $(ARGS)

# PROFILE=ci and PROFILE=deep fuzz longer.
test-contracts: install ## prove what is promised about the contracts (PROFILE=ci takes an hour)
	@$(RUN) tools/prove.py $(if $(filter ci deep,$(PROFILE)),--profile $(PROFILE)) $(ARGS)

# PROFILE=ci fuzzes ten times as long.
fuzz: install ## send the gateway 100,000 mutated requests (PROFILE=ci sends 1,000,000)
	@$(RUN) tools/fuzz.py $(if $(filter ci,$(PROFILE)),--profile ci) $(ARGS)

check: install ## lint, formats, types, import rules, dependencies, sizes
	@$(RUN) tools/check.py $(ARGS)

bench: install ## measure; one JSON line a case
	@$(RUN) -m e2e.load.bench $(ARGS)

bench-gateway: install ## measure the gateway beside Triton and its peers (ARGS="--only http-1k-c16 --rounds 9")
	@$(RUN) -m e2e.load.gateway $(ARGS)

meter: install ## compare 10,000 calls a metering rule with what the models wrote down (ARGS="--calls 1000 -k seconds")
	@$(RUN) tools/meter.py $(ARGS)

models: install ## train the example models and write their manifests
	@$(RUN) -m examples.models.tumour_risk.train --out .local/models/tumour-risk $(ARGS)
	@$(RUN) -m examples.models.bench_identity.build --out .local/models/bench-identity $(ARGS)
	@$(RUN) -m examples.models.manual_writer.train --out .local/models/manual-writer $(ARGS)
	@$(RUN) -m examples.models.sentence_map.build --out .local/models/sentence-map $(ARGS)

proto: install ## generate Python from proto/
	@$(RUN) tools/proto.py $(ARGS)

abi: install ## build the contracts and write their ABIs
	@$(RUN) tools/abi.py $(ARGS)

lock: install ## resolve every lock again
	@$(RUN) tools/lock.py $(ARGS)
