# make demo   set up and run the main job (opens napari with a display, runs headless without one)
# make test   set up and run the tests
# make lint   ruff, mypy, import contract, napari manifest
# make bench  measurements beside the peers
SLIDE ?=
OUT ?= demo-output
PY = .venv/bin/python
CORE_PY = .venv-core/bin/python
# Tests of what must work where neither napari nor Qt is installed: they run in an environment without them.
CORE_TESTS = tests/slides tests/annotation tests/project tests/formats tests/datasets tests/histotrain tests/jobs tests/session tests/cli tests/studies

.PHONY: setup demo test test-core test-window lint format bench clean

setup: .venv/.installed
.venv/.installed: pyproject.toml .ci/setup .ci/constraints-cpu.txt
	.ci/setup .venv '.[dev]'
.venv-core/.installed: pyproject.toml .ci/setup .ci/constraints-cpu.txt
	.ci/setup .venv-core '.[train,test]'

demo: .venv/.installed
	.venv/bin/histoanno demo $(if $(SLIDE),--slide '$(SLIDE)') --output '$(OUT)'

test: test-core test-window
test-core: .venv-core/.installed
	$(CORE_PY) -m pytest -q -m 'not gpu' --durations=10 $(CORE_TESTS)
test-window: .venv/.installed
	$(PY) -m pytest -q -m 'not gpu' --durations=10 $(addprefix --ignore=,$(CORE_TESTS))

lint: .venv/.installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache
	.venv/bin/npe2 validate napari_histoanno/napari.yaml

format: .venv/.installed
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

bench: .venv/.installed
	$(PY) -m tests.benchmarks

clean:
	rm -rf .venv .venv-core demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis
