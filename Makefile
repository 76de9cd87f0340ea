# `make demo` and `make test` create their own environments.
PYTHON ?= python3
DEMO_OUT ?= demo_out

.PHONY: demo test ffmpeg test-edge test-tfio test-lowest test-backend test-wheel test-arm64 test-web test-slow test-all web notebooks docs \
	check-install lint types check env env-demo env-docs env-lowest env-tfio env-torch env-jax clean

demo: env-demo  ## separate the example with the bundled model; no TensorFlow
	.venv-demo/bin/mmdense separate edge/example/mixture.flac --reference edge/example \
		--picture --overwrite -o $(DEMO_OUT)

test: env ffmpeg  ## all tests but the slow ones
	.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal -m "not slow"

test-slow: env ffmpeg  ## training runs, exports in processes, several devices, notebooks
	.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal -m slow

test-all: test test-slow test-lowest test-web  ## what CI runs of the tests

ffmpeg:
	@command -v ffmpeg >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		apt-get update -q && apt-get install -y -q --no-install-recommends ffmpeg; } || \
		{ echo "the tests need the program ffmpeg: install it" >&2; exit 1; }

test-edge: env ffmpeg  ## the runner's tests alone; they import no TensorFlow
	.venv/bin/python -m pytest tests/edge

test-tfio: env-tfio  ## the tensorflow-io decoder, in an environment with TensorFlow 2.17
	.venv-tfio/bin/python -m pytest tests/tfio

# Old packages warn of newer ones that they use, so warnings are no errors here.
test-lowest: env-lowest  ## data, weights, training, export and scores at the lowest versions of all dependencies
	.venv-lowest/bin/python -m pytest -W default -n auto --maxprocesses 4 --dist loadfile \
		tests/library/test_keras_habits.py tests/library/test_bundled.py tests/library/data/test_readers.py tests/training/test_train.py

# make test-backend BACKEND=torch, or jax: neither has TensorFlow beside it
BACKEND ?= torch
test-backend: env-$(BACKEND)  ## training on JAX or PyTorch, in an environment without TensorFlow
	KERAS_BACKEND=$(BACKEND) .venv-$(BACKEND)/bin/python -m pytest tests/library/test_training_model.py

env-torch env-jax: env-%: .venv-%/ready
.venv-torch/ready .venv-jax/ready: .venv-%/ready: pyproject.toml
	$(PYTHON) -m venv --clear .venv-$*
	.venv-$*/bin/python -m pip install --quiet --upgrade pip
	.venv-$*/bin/python -m pip install --quiet -e ".[$*,musdb18,train]" "pytest>=8.2"
	touch $@

test-wheel: env  ## the wheel alone in fresh environments: runner, library on three backends, export
	rm -rf .wheel && .venv/bin/python -m pip wheel --quiet --no-deps --wheel-dir .wheel .
	$(PYTHON) tests/repository/from_wheel.py .wheel/*.whl

test-arm64: env-demo  ## the runner on an emulated arm64 Debian: install, tests, stems against x86-64
	@{ command -v qemu-aarch64-static && command -v mmdebstrap; } >/dev/null || { [ "$$(id -u)" = 0 ] && \
		apt-get update -q && apt-get install -y -q --no-install-recommends qemu-user-static \
		mmdebstrap debian-archive-keyring; } || true  # run.py tells what is missing
	.venv-demo/bin/python edge/arm64/run.py

web: edge/web/node_modules/ready  ## builds the browser page into the runner's package; commit the result
	cd edge/web && npm run build

test-web: env-demo edge/web/node_modules/ready  ## the page: is the committed build current, unit tests, Chromium
	edge/web/needs.sh chromium
	cd edge/web && npm run check && npm test && npm run e2e
test-web: export MMDENSE_PYTHON = $(CURDIR)/.venv-demo/bin/python

edge/web/node_modules/ready: edge/web/package-lock.json
	edge/web/needs.sh node
	cd edge/web && npm ci
	touch $@

notebooks: env  ## execute the notebooks and save them with their outputs
	.venv/bin/python -m nbconvert --to notebook --execute --inplace \
		--ExecutePreprocessor.timeout=1200 --ExecutePreprocessor.record_timing=False \
		--ExecutePreprocessor.extra_arguments=--IPKernelApp.capture_fd_output=False notebooks/*.ipynb
	.venv/bin/python -m nbconvert --coalesce-streams notebooks/*.ipynb

check-install:  ## what `pip install .` brings: size, packages, import time
	$(PYTHON) -m benchmarks.edge install

check: lint types  ## what CI checks besides the tests

docs: env-docs  ## the site, into site/, with warnings as errors; no page may fetch from another site
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict
	! grep -rEo '(<(script|img|iframe|source) [^>]*src=|<link [^>]*href=|url\(|@import ).?(https?:)?//[^ )>]+' \
		--include=*.html --include=*.css site

lint: env
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports

types: env
	.venv/bin/mypy

env: .venv/ready
.venv/ready: pyproject.toml
	@echo "installing TensorFlow, JAX and the tests' packages: some minutes"
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --upgrade pip
	.venv/bin/python -m pip install --quiet -e ".[dev]"
	touch $@

env-demo: .venv-demo/ready
.venv-demo/ready: pyproject.toml
	@echo "installing the runner: a minute"
	$(PYTHON) -m venv --clear .venv-demo
	.venv-demo/bin/python -m pip install --quiet -e ".[plot]"
	touch $@

env-docs: .venv-docs/ready
.venv-docs/ready: pyproject.toml
	$(PYTHON) -m venv --clear .venv-docs
	.venv-docs/bin/python -m pip install --quiet --upgrade pip
	.venv-docs/bin/python -m pip install --quiet -e ".[docs]"
	touch $@

# TensorFlow 2.17 has no wheels for newer interpreters.
define CHECK_PYTHON
@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v not in ((3, 11), (3, 12)) and \
	f"TensorFlow 2.17 needs Python 3.11 or 3.12, this is {v[0]}.{v[1]}: give PYTHON=python3.11")'
endef

env-lowest: .venv-lowest/ready
.venv-lowest/ready: pyproject.toml
	$(CHECK_PYTHON)
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct \
		-e ".[train,export,musdb18]" "pytest>=8.2" "pytest-xdist>=3.6"
	touch $@

env-tfio: .venv-tfio/ready
.venv-tfio/ready: pyproject.toml
	$(CHECK_PYTHON)
	$(PYTHON) -m venv --clear .venv-tfio
	.venv-tfio/bin/python -m pip install --quiet --upgrade pip
	.venv-tfio/bin/python -m pip install --quiet -e ".[tfio]" "pytest>=8.2"
	touch $@

clean:
	rm -rf .venv .venv-demo .venv-docs .venv-lowest .venv-tfio .venv-torch .venv-jax site $(DEMO_OUT) *.egg-info \
		edge/web/node_modules edge/web/dist edge/web/screenshots
