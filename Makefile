# The one entry point of a fresh clone: `make help` lists the targets.
.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

JOBS ?= $(shell nproc)
# Tests multiply their numbers of random operations by this; see CONTRIBUTING.md.
SANITIZE_SCALE ?= 0.1
THREADS_SCALE ?= 0.1

# Tools that setup puts into .venv are found there; everything else where it was.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Older clang instantiates members of templates whose constraints do not hold.
export FUZZ_CXX ?= clang++-16

# The C++ tests simulate disks where it matters; on a file system in memory their syncs cost nothing.
CPP_TMPDIR ?= $(if $(wildcard /dev/shm/.),/dev/shm,/tmp)

VENV_PYTHON := .venv/bin/python
SUITES := check-layers test-consumer test-cpp test-sanitize test-threads test-python
# What the installed Python package is made from.
PACKAGE_SOURCES = $(shell find include src bindings python/pyrsistence cmake CMakeLists.txt pyproject.toml \
                    -type f -not -name '*.pyc' -not -name _core.pyi)

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

setup:  ## Install what is missing: system packages, and Python packages in .venv
	@[ -n "$${SETUP_DONE-}" ] || tools/setup.sh test

setup-build:
	@tools/setup.sh build

build: setup  ## Compile the engine and the C++ tests in build/, warnings as errors
	@cmake -S . -B build --log-level=WARNING -DCMAKE_BUILD_TYPE=Release -DPYRSISTENCE_WERROR=ON
	@cmake --build build --parallel $(JOBS)

test: setup  ## Run every test suite and print a summary; fails if one fails
	+@MAKE="$(MAKE)" SETUP_DONE=1 tools/run_suites.sh $(SUITES)

test-cpp: build  ## Run the C++ tests
	@TMPDIR=$(CPP_TMPDIR) ctest --test-dir build --output-on-failure --parallel $(JOBS) --no-tests=error

test-sanitize: setup  ## Run the C++ tests with AddressSanitizer and UndefinedBehaviorSanitizer
	@cmake -S . -B build-sanitize --log-level=WARNING -DCMAKE_BUILD_TYPE=RelWithDebInfo -DPYRSISTENCE_SANITIZE=ON \
	    -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g1"
	@cmake --build build-sanitize --target pyrsistence_tests pyrsistence_memory_tests --parallel $(JOBS)
	@PYRSISTENCE_TEST_SCALE=$${PYRSISTENCE_TEST_SCALE:-$(SANITIZE_SCALE)} \
	    ASAN_OPTIONS=$${ASAN_OPTIONS:-handle_sigbus=0:strict_string_checks=1} \
	    UBSAN_OPTIONS=$${UBSAN_OPTIONS:-print_stacktrace=1} \
	    TMPDIR=$(CPP_TMPDIR) ctest --test-dir build-sanitize --output-on-failure --parallel $(JOBS) --no-tests=error

test-threads: setup  ## Run the C++ tests that have threads with ThreadSanitizer
	@tools/fixed_addresses.sh true
	@cmake -S . -B build-threads --log-level=WARNING -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	    -DPYRSISTENCE_SANITIZE=thread -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g1"
	@cmake --build build-threads --target pyrsistence_tests --parallel $(JOBS)
	@PYRSISTENCE_TEST_SCALE=$${PYRSISTENCE_TEST_SCALE:-$(THREADS_SCALE)} \
	    TSAN_OPTIONS="handle_sigbus=0:second_deadlock_stack=1:suppressions='$(CURDIR)/tests/cpp/thread_sanitizer.supp':$${TSAN_OPTIONS-}" \
	    TMPDIR=$(CPP_TMPDIR) tools/fixed_addresses.sh ctest --test-dir build-threads --output-on-failure \
	    --parallel $(JOBS) --no-tests=error

test-python: setup .venv/.installed  ## Run the Python tests against the installed package
	@$(VENV_PYTHON) -m pytest tests/python

crash-long: build  ## Open 1,000,000 simulated power-cut images (hours; CRASH_IMAGES=n for fewer)
	@TMPDIR=$(CPP_TMPDIR) PYRSISTENCE_CRASH_IMAGES=$${CRASH_IMAGES:-1000000} \
	    build/tests/cpp/pyrsistence_tests --gtest_filter='LongRun.OfEveryKind'

kill-long: build  ## Kill writers and readers for ten minutes (KILL_SECONDS=n, KILL_SEED=n)
	@TMPDIR=$(CPP_TMPDIR) PYRSISTENCE_KILL_SECONDS=$${KILL_SECONDS:-600} PYRSISTENCE_KILL_SEED=$${KILL_SEED:-1000} \
	    build/tests/cpp/pyrsistence_tests --gtest_filter='KillTest.LongRun'

planted-faults: setup  ## Plant faults into a copy and prove that tests notice each (hours; PATTERN=x for some)
	@TMPDIR=$(CPP_TMPDIR) $(VENV_PYTHON) tools/planted_faults.py --jobs $(JOBS) $(if $(PATTERN),"$(PATTERN)")

fuzz:  ## Run the libFuzzer programs of fuzz/ for a minute each (FUZZ_SECONDS=n)
	@tools/setup.sh fuzz
	@cmake -S . -B build-fuzz --log-level=WARNING -DCMAKE_CXX_COMPILER=$(FUZZ_CXX) -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	    -DPYRSISTENCE_FUZZ=ON -DPYRSISTENCE_SANITIZE=address -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O2 -g1"
	@cmake --build build-fuzz --parallel $(JOBS) --target fuzz_store fuzz_replay fuzz_codec fuzz_lock
	@tools/fuzz.sh $${FUZZ_SECONDS:-60}

corpus: build  ## Make the corpus in fuzz/corpus anew, from real stores
	@cmake --build build --target make_corpus --parallel $(JOBS)
	@find build -name make_corpus -type f -exec {} fuzz/corpus \;

test-consumer: build  ## Build and run a C++ program against the installed library
	@tests/consumer/run.sh build

check-layers:  ## Check that includes point downward and that every test is registered
	@python3 tools/check_layers.py

demo: setup-build .venv/.installed  ## Install the Python package and run examples/program_map.py
	@$(VENV_PYTHON) -m pip install -qq networkx rich
	@$(VENV_PYTHON) examples/program_map.py

bench: setup-build .venv/.installed bench-packages  ## Run the benchmarks (BENCH="--rows dict" for some)
	@$(VENV_PYTHON) benchmarks/run.py $${BENCH-}

bench-beyond-ram: setup-build .venv/.installed bench-packages  ## More data than memory (hours; BENCH=...)
	@$(VENV_PYTHON) benchmarks/beyond_ram.py $${BENCH-}

bench-external: setup-build .venv/.installed  ## External sorting, C++ and Python (BENCH=--write-docs is what the project publishes)
	@tools/setup.sh bench
	@cmake -S . -B build-bench --log-level=WARNING -DCMAKE_BUILD_TYPE=Release -DPYRSISTENCE_BENCHMARKS=ON \
	    -DPYRSISTENCE_BUILD_TESTS=OFF -DPYRSISTENCE_BUILD_EXAMPLES=OFF
	@cmake --build build-bench --parallel $(JOBS) --target external_sort
	@$(VENV_PYTHON) benchmarks/external.py $${BENCH-}

bench-touches: setup-build .venv/.installed  ## Count the pages that single operations need (BENCH=--write-docs)
	@$(VENV_PYTHON) -m pip install -qq numpy
	@$(VENV_PYTHON) benchmarks/touches.py $${BENCH-}

# One by one: a rival that cannot be installed here is left out, and the benchmarks say so.
bench-packages: .venv/.installed
	@for package in $$($(VENV_PYTHON) benchmarks/run.py --packages); do \
	    $(VENV_PYTHON) -m pip install -qq $$package || echo "bench: could not install $$package" >&2; done

# BENCH_CPP="--n 1M,16M --write-docs" is what the project publishes; benchmarks/cpp_run.py --help tells the rest.
bench-cpp:  ## Run the C++ benchmarks against the rivals that are installed (BENCH_CPP="--n 10k,16M --write-docs")
	@tools/setup.sh bench
	@cmake -S . -B build-bench --log-level=WARNING -DCMAKE_BUILD_TYPE=Release -DPYRSISTENCE_BENCHMARKS=ON \
	    -DPYRSISTENCE_BUILD_TESTS=OFF -DPYRSISTENCE_BUILD_EXAMPLES=OFF
	@cmake --build build-bench --parallel $(JOBS) --target cpp_benchmarks disk_probe
	@$(VENV_PYTHON) benchmarks/cpp_run.py $(BENCH_CPP)

soak: setup-build .venv/.installed  ## One writer and eight readers for ten minutes (SOAK_SECONDS=n)
	@$(VENV_PYTHON) benchmarks/soak.py --seconds $${SOAK_SECONDS:-600}

develop: setup  ## Install the package in editable form: Python files are used in place
	@$(VENV_PYTHON) -m pip install -qq --no-build-isolation --editable .
	@touch .venv/.installed

stubs: setup-build .venv/.installed  ## Copy the generated type stub of _core beside the sources, for editors
	@cp "$$(cd / && $(CURDIR)/$(VENV_PYTHON) -c 'import pyrsistence, pathlib; \
	    print(pathlib.Path(pyrsistence.__file__).with_name("_core.pyi"))')" python/pyrsistence/_core.pyi
	@echo python/pyrsistence/_core.pyi

# PYTHONS="python3.10 python3.12" builds one wheel for each.
PYTHONS ?= $(VENV_PYTHON)
wheel: setup-build  ## Build a wheel in dist/ for every interpreter in PYTHONS
	@for python in $(PYTHONS); do $$python -m pip wheel -qq --no-deps --wheel-dir dist .; done
	@ls dist/*.whl

clean:  ## Delete everything that was built; the next make starts afresh
	rm -rf build build-* dist .venv .pytest_cache .hypothesis python/pyrsistence/_core.pyi

# Without build isolation nanobind stays where it was, so that only changed files are compiled again.
.venv/.installed: $(PACKAGE_SOURCES)
	@echo "installing the package into .venv"
	@$(VENV_PYTHON) -m pip install -qq --no-build-isolation .
	@touch $@

.PHONY: crash-long kill-long planted-faults fuzz corpus soak help setup setup-build build test $(SUITES) demo bench bench-packages bench-beyond-ram bench-external bench-touches bench-cpp develop stubs wheel clean
