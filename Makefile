# Ground Truth. `make` alone prints this list.
.DEFAULT_GOAL := help
.PHONY: help test test-parity check check-canary check-logits check-greedy check-invariance check-tokenizer check-sampling check-lengths check-ppl check-tensors power ticket report score \
        train oracle oracle-check golden-dequantized golden-llama-cpp check-llamacpp check-cross-runtime check-apr apr vectors fuzz-configs fuzz-llama-cpp audit crash mutants mutants-tool mutants-control mutants-pass mutants-diff mutants-sample coverage ci recheck clean uv

UV := $(shell command -v uv 2>/dev/null || echo "python3 -m uv")
MODELS := llama-tiny qwen2-tiny gpt2-tiny llama-outlier
# Models that are not carried, when their folder is at hand: make oracle EXTRA=path/to/model
EXTRA ?=
APR := 0.72.3
CARGO_DENY := 0.20.2
# Mutants of the suite's own code: the tool, whose they are, where the runs go, and what a sample or a difference is taken of.
MUTANTS := 27.1.0
PACKAGES := ground-truth ground-truth-falsification ground-truth-harness
MUTANTS_OUT := target/mutation
# Built in one place: a copy of the tree each, but what it depends on once.
MUTANTS_RUN := CARGO_TARGET_DIR="$(CURDIR)/$(MUTANTS_OUT)/build" PATH="$(CURDIR)/target/tools/bin:$$PATH" cargo mutants $(PACKAGES:%=-p %)
# Most mutants die by the tests of their own package, in seconds: those come first, and what survives them meets the tests of the others.
# Of each pass: the packages that are tested, and the targets. Where no mutant is of the engine, it is built once, to be fast; the table of power
# is tried on what survives everything else there, as it is the only test of its own code.
ENGINE_STAYS := "--config", "profile.mutants.package.ground-truth.opt-level=3", "--config", "profile.mutants.package.ground-truth.codegen-units=16"
WHOSE_near-ground-truth := "ground-truth"
WHOSE_near-ground-truth-falsification := "ground-truth-falsification"
WHOSE_near-ground-truth-harness := "ground-truth-harness"
WHOSE_far-ground-truth := "ground-truth-falsification", "ground-truth-harness"
WHOSE_far-others := "ground-truth-falsification", "ground-truth-harness"
TESTS_near-ground-truth := "--lib", "--test", "engine", "--test", "quant_data"
TESTS_near-ground-truth-falsification := $(ENGINE_STAYS), "--lib", "--test", "checklist"
TESTS_near-ground-truth-harness := $(ENGINE_STAYS), "--lib"
TESTS_far-ground-truth := "--config", "env.GROUND_TRUTH_ROSTER='fast'", "--test", "checklist", "--test", "convert", "--test", "falsify", "--test", "malformed", "--test", "suite"
TESTS_far-others := $(ENGINE_STAYS), "--config", "env.GROUND_TRUTH_ROSTER='fast'", "--test", "convert", "--test", "expectations", "--test", "falsify", "--test", "page", "--test", "power", "--test", "suite"
MUTANTS_SAY := cargo run --quiet -p ground-truth-harness --example mutants --
N ?= 300
SEED ?= 1
IN ?=
BASE ?= main
LLVM_COV := 0.9.1
CHECK ?=

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: ## everything: units, properties, the matrix, the power of every check, examples
	cargo test --no-fail-fast

test-parity: check ## the matrix alone (same as check)

check: ## the matrix: every model x format x quantization x runtime x check
	cargo test --test falsify

check-canary: ## greedy text equals the golden text
	cargo test --test falsify -- ::CANARY

check-logits: ## logits, norm, regret, divergence and greedy path against the golden (F-G4)
	cargo test --test falsify -- ::F-G4

check-greedy: ## the free run with re-anchoring
	cargo test --test falsify -- ::F-G4-greedy

check-invariance: ## threads, reruns, batch neighbours: identical bits
	cargo test --test falsify -- ::INV-

check-tokenizer: ## token ids equal the golden ids (F-RS6)
	cargo test --test falsify -- ::F-RS6

check-sampling: ## processors and draws equal those of transformers
	cargo test --test falsify -- ::SAMPLE

check-lengths: ## lengths around blocks, windows and the context limit (F-E2)
	cargo test --test falsify -- ::F-E2

check-ppl: ## perplexity equals the golden
	cargo test --test falsify -- ::PPL

check-tensors: ## tensor inventory and statistics
	cargo test --test falsify -- ::TENSORS

check-llamacpp: uv ## llama.cpp (xllamacpp) over every GGUF cell
	$(UV) run --script runtimes/llamacpp.py </dev/null
	cargo test --test runtimes -- --include-ignored ::llamacpp::

check-cross-runtime: uv ## every runtime of runtimes/runtimes.toml over every cell that it declares
	for asked in llamacpp.py "transformers.py safetensors"; do $(UV) run --script runtimes/$$asked </dev/null || exit 1; done
	cargo test --test runtimes -- --include-ignored

# Built as a release is, without debug assertions, so that what is judged behaves as what users run; not optimised, as the tiny models do not
# need it and the default settings do not end within two hours on two cores. One set of units for build scripts and program: what both need is built once.
APR_PROFILE := CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_STRIP=none CARGO_INCREMENTAL=0

apr: ## apr-cli at its pinned version, under target/apr (some 640 crates: long; a retry goes on where the last one ended)
	$(APR_PROFILE) cargo install apr-cli --version $(APR) --locked --no-default-features --features inference,safetensors-compare --bin apr --root target/apr --target-dir target/apr/build

check-apr: uv ## what apr answers to its own commands: writes docs/apr-status.md; CHECK=--check compares instead
	$(UV) run --script runtimes/apr_control.py
	test -x target/apr/bin/apr || $(MAKE) apr
	cargo build -p ground-truth-harness --bin ground-truth
	$(UV) run --script runtimes/apr.py $(CHECK)

ticket: ## what is red in the last run, as issues; SPLIT=DIR writes a file for each
	cargo run -q -p ground-truth-harness -- ticket $(if $(SPLIT),--split $(SPLIT))

report: ## the last run as a page beside its records (FORMAT=junit, sarif, markdown, annotations, jsonl)
	cargo run --quiet -- report $(if $(FORMAT),--format $(FORMAT))

score: ## the qualification score of the last run, beside its table; it decides nothing
	cargo run --quiet -- score

power: ## every check against every defect
	cargo test --test power

uv:
	@$(UV) --version >/dev/null 2>&1 || python3 -m pip install uv

train: uv ## train the carried models again (minutes; changes testdata/models)
	$(UV) run golden/train_roster.py

oracle: uv ## write the golden files of the carried models, and of EXTRA=DIR
	for m in $(MODELS); do $(UV) run golden/oracle.py testdata/models/$$m --carried || exit 1; done
	for m in $(EXTRA); do $(UV) run golden/oracle.py $$m || exit 1; done

oracle-check: uv ## run the oracle again and compare with the committed golden, within the floor
	for m in $(MODELS); do $(UV) run golden/oracle.py testdata/models/$$m --carried --check || exit 1; done
	for m in $(EXTRA); do $(UV) run golden/oracle.py $$m --check || exit 1; done

golden-dequantized: uv ## write what transformers answers on the values of every lossy column; CHECK=--check compares instead
	cargo build -p ground-truth-harness --bin ground-truth
	$(UV) run golden/dequantized.py --all $(addprefix testdata/models/,$(MODELS)) $(EXTRA) $(CHECK)

golden-llama-cpp: uv ## write what llama.cpp answers on every GGUF column; CHECK=--check compares instead
	cargo build -p ground-truth-harness --bin ground-truth
	$(UV) run golden/llama_cpp.py --all $(addprefix testdata/models/,$(MODELS)) $(EXTRA) $(CHECK)

vectors: uv ## write the golden vectors of RoPE frequencies, activations and sampling
	$(UV) run golden/vectors.py
	$(UV) run golden/sample.py

malformed: ## write the catalogue of hostile files again (testdata/malformed) after its generator changed
	GROUND_TRUTH_BLESS=1 cargo test --test suite hostile::f_g1_the_committed_catalogue

mutations: ## a million mutations of each container's files, where the ordinary run has a hundred thousand
	cargo test --test suite hostile:: -- --ignored --nocapture

fuzz-configs: uv ## ten random configurations, an oracle run for each, then their rows of the matrix
	golden/fuzz_configs.sh

fuzz-llama-cpp: uv ## random folders, converted to GGUF, loaded by llama.cpp and held against transformers; COUNT and SEED choose them
	cargo build -p ground-truth-harness --bin ground-truth
	work=$$(mktemp -d) && trap 'rm -rf "$$work"' EXIT && \
	$(UV) run golden/random_models.py "$$work" --gguf --count $(or $(COUNT),12) --seed $(or $(SEED),1) && $(UV) run golden/random_llama_cpp.py "$$work"/*

crash: ## 20 SIGKILLs over a conversion of 200 MB, one onto a full disk, and the memory of one of 2 GB
	cargo test --test convert -- --include-ignored crash:: --nocapture
	cargo test --test convert -- --include-ignored memory:: --nocapture

target/tools/bin/cargo-deny:
	cargo install cargo-deny --version $(CARGO_DENY) --locked --root target/tools

audit: target/tools/bin/cargo-deny ## licences, bans, sources and advisories of dependencies, by deny.toml
	target/tools/bin/cargo-deny check licenses bans sources
	if target/tools/bin/cargo-deny fetch db; then target/tools/bin/cargo-deny check --disable-fetch advisories; \
	else echo "advisories: NOT CHECKED, as the database cannot be reached"; fi

mutants-tool: # cargo-mutants at its pinned version, under target/tools
	@test "$$(target/tools/bin/cargo-mutants mutants --version 2>/dev/null)" = "cargo-mutants $(MUTANTS)" || \
	cargo install cargo-mutants --version $(MUTANTS) --locked --root target/tools

# Exit codes of cargo-mutants: 0 all caught, 2 some missed, 3 some out of time; anything else is no run.
mutants-control: mutants-tool ## the control of a mutation run: a mutant that must be caught, one that must survive, one that does not build
	mkdir -p $(MUTANTS_OUT)
	PATH="$(CURDIR)/target/tools/bin:$$PATH" cargo mutants -d harness/tests/mutation/control --no-config -o $(MUTANTS_OUT)/control || test $$? -eq 2
	$(MUTANTS_SAY) control $(MUTANTS_OUT)/control/mutants.out/outcomes.json
	$(MUTANTS_RUN) --list --json > $(MUTANTS_OUT)/list.json
	$(MUTANTS_SAY) packages $(MUTANTS_OUT)/list.json $(PACKAGES)

mutants: mutants-control ## every mutant of the three packages against their tests (days); the score, and survivors as evidence
	$(MUTANTS_RUN) -o $(MUTANTS_OUT)/all || test $$? -eq 2 -o $$? -eq 3
	$(MUTANTS_SAY) score 0 all $(MUTANTS_OUT)/all/mutants.out/outcomes.json

mutants-sample: mutants-control ## N=300 mutants, stratified by the complexity of their functions; SEED=1 chooses them, IN=falsification/src/verdict.rs limits them; at least nine tenths are due
	rm -rf $(MUTANTS_OUT)/near-* $(MUTANTS_OUT)/far*
	$(MUTANTS_SAY) select $(MUTANTS_OUT)/list.json $(N) $(SEED) $(IN) > $(MUTANTS_OUT)/sample.txt
	for package in $(PACKAGES); do \
		$(MUTANTS_SAY) of $$package $(MUTANTS_OUT)/list.json $(MUTANTS_OUT)/sample.txt > $(MUTANTS_OUT)/near-$$package.txt && \
		$(MAKE) --no-print-directory mutants-pass PASS=near-$$package || exit 1; \
	done
	$(MUTANTS_SAY) survivors $(MUTANTS_OUT)/sample.txt $(MUTANTS_OUT)/near-*/mutants.out/outcomes.json > $(MUTANTS_OUT)/survivors.txt
	$(MUTANTS_SAY) of ground-truth $(MUTANTS_OUT)/list.json $(MUTANTS_OUT)/survivors.txt > $(MUTANTS_OUT)/far-ground-truth.txt
	grep -vxFf $(MUTANTS_OUT)/far-ground-truth.txt $(MUTANTS_OUT)/survivors.txt > $(MUTANTS_OUT)/far-others.txt || test $$? -eq 1
	for pass in far-ground-truth far-others; do $(MAKE) --no-print-directory mutants-pass PASS=$$pass || exit 1; done
	$(MUTANTS_SAY) score 0.9 $(MUTANTS_OUT)/sample.txt $(MUTANTS_OUT)/near-*/mutants.out/outcomes.json $$(ls $(MUTANTS_OUT)/far-*/mutants.out/outcomes.json 2>/dev/null)

mutants-pass: # one pass of a sample, where anything is chosen for it
	if test -s $(MUTANTS_OUT)/$(PASS).txt; then \
		mkdir -p $(MUTANTS_OUT)/$(PASS)/mutants.out && \
		sed -e 's/^test_package = .*/test_package = [$(WHOSE_$(PASS))]/' $(if $(filter far-%,$(PASS)),-e '/"controls::"/d') -e "/^additional_cargo_args/,/^]/c additional_cargo_args = [$$TESTS]" mutants.toml > $(MUTANTS_OUT)/$(PASS).toml && \
		$(MUTANTS_SAY) unchosen $(MUTANTS_OUT)/list.json $(MUTANTS_OUT)/$(PASS).txt > $(MUTANTS_OUT)/$(PASS)/mutants.out/previously_caught.txt && \
		sed 's/^/--re=/' $(MUTANTS_OUT)/$(PASS).txt | xargs -x -d '\n' sh -c '$(MUTANTS_RUN) --iterate -o $(MUTANTS_OUT)/$(PASS) --config $(MUTANTS_OUT)/$(PASS).toml "$$@" || test $$? -eq 2 -o $$? -eq 3' sh; \
	fi
mutants-pass: export TESTS = $(TESTS_$(PASS))

mutants-diff: mutants-control ## mutants of the lines that differ from BASE=main; none may survive
	git diff $(BASE)... > $(MUTANTS_OUT)/changed.diff
	$(MUTANTS_RUN) --in-diff $(MUTANTS_OUT)/changed.diff -o $(MUTANTS_OUT)/diff || test $$? -eq 2 -o $$? -eq 3
	$(MUTANTS_SAY) score 1 all $(MUTANTS_OUT)/diff/mutants.out/outcomes.json

# In two steps, as counting lines keeps kernels from being vectors, and what computes ten times slower does not end within the hour: the checks and
# the harness, on an engine that is not counted and each check once; then the engine by its own tests. A hundred thousand mutations of files are not
# tried, nor are commands that build everything again. The wrapper is for bash: dash drops variables with a hyphen, as CARGO_BIN_EXE_ground-truth; the
# command has the engine's name, and is counted.
COVERAGE := PATH="$(CURDIR)/target/tools/bin:$$PATH" cargo llvm-cov
COVERED := --lib --tests --json --summary-only

coverage: ## lines that the tests reach, file by file: those below 95 % are listed, and there should be none
	rustup component add llvm-tools
	@test "$$(target/tools/bin/cargo-llvm-cov llvm-cov --version 2>/dev/null)" = "cargo-llvm-cov $(LLVM_COV)" || \
	cargo install cargo-llvm-cov --version $(LLVM_COV) --locked --root target/tools
	printf '#!/usr/bin/env bash\ncase " $$* " in *" --crate-name ground_truth "*" src/lib.rs "*) set -- "$$@" -C instrument-coverage=off ;; esac\nexec "$$@"\n' > target/uncounted
	chmod +x target/uncounted
	$(COVERAGE) clean --workspace
	RUSTC_WRAPPER="$(CURDIR)/target/uncounted" GROUND_TRUTH_ROSTER=fast $(COVERAGE) $(COVERED) -p ground-truth-falsification -p ground-truth-harness --output-path target/coverage-suite.json -- --skip hostile:: --skip f_g2_every_command
	$(COVERAGE) $(COVERED) -p ground-truth --output-path target/coverage-engine.json -- --skip quant_properties::
	$(MUTANTS_SAY) coverage 95 target/coverage-engine.json target/coverage-suite.json

ci: ## what must pass before a change lands
	.ci/run

recheck: clean test ## from an empty target

clean: ## remove everything that was built or recorded
	cargo clean
