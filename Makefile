# One command for each thing that people do here; `make help` lists them.
#
# The environment is .venv, made by uv, which is installed into .tools. Three settings, where the defaults do not fit:
#   PYTHON=python3.12      which Python to use (default: the first one from 3.11 on)
#   UV=uv                  a uv of your own instead of the one in .tools
#   UV_TORCH_BACKEND=cpu   PyTorch from its own index (cpu, cu130, ...), much smaller without CUDA

UV_VERSION := 0.13.9
PYTHON ?= python3
OWN_UV := .tools/uv-$(UV_VERSION)/bin/uv
UV ?= $(OWN_UV)
BIN := .venv/bin
STAMP := .venv/.set-up

# Every run starts a dozen Python processes. Where sources may not be compiled once and for all, each compiles them anew, which
# doubles its time to start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo images test test-cluster cluster-tools check docs format protocols schemas pipelines bench lock clean

help: ## List what can be made
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' Makefile | expand -t 16

setup: $(STAMP) ## Make .venv with everything in it, as locked

demo: setup ## Run the main job on real data: pretrain, dispatch, train at the edges, fuse, compare
	$(BIN)/cloudedge demo

# Arguments: IMAGES, REGISTRY, TAG, BASE and PYTORCH (manifests/images/Containerfile), BUILDER and BUILD_FLAGS. Where packages
# come from is taken from PIP_INDEX_URL and UV_DEFAULT_INDEX.
IMAGES ?= cloud edge
REGISTRY ?= docker.io
TAG ?= $(shell sed -nE 's/^__version__ = "(.*)"/\1/p' cloudedge/__init__.py)
BUILDER ?= $(firstword $(foreach builder,docker podman buildah,$(if $(shell command -v $(builder)),$(builder))))
FROM_HERE = org.opencontainers.image
images: ## Build the container images cloudedge/cloud and cloudedge/edge
	@test -n "$(BUILDER)" || { echo "Nothing here builds images: install docker, podman or buildah."; exit 1; }
	@for image in $(IMAGES); do \
	  $(BUILDER) build --file manifests/images/Containerfile --target $$image --tag $(REGISTRY)/cloudedge/$$image:$(TAG) \
	    $(if $(BASE),--build-arg BASE=$(BASE)) $(if $(PYTORCH),--build-arg PYTORCH=$(PYTORCH)) \
	    $(if $(PIP_INDEX_URL),--build-arg PIP_INDEX_URL) $(if $(UV_DEFAULT_INDEX),--build-arg UV_DEFAULT_INDEX) \
	    --label $(FROM_HERE).version=$(TAG) --label $(FROM_HERE).revision=$$(git rev-parse HEAD 2> /dev/null) \
	    $(BUILD_FLAGS) . || exit; \
	done

test: setup ## Run the tests that take minutes; with TIERS=all every one that this machine can run
	$(BIN)/python -m tests $(TIERS)

test-cluster: cluster-tools ## Run the tests against real servers and images, and as root on KubeEdge nodes
	$(BIN)/python -m tests servers edge cloud

cluster-tools: setup ## Build what these tests need, once for all checkouts: about 20 minutes, with Go
	$(BIN)/python -m tests.cluster.tools

check: setup ## Check format, lint, types, who may import whom, and that generated files are up to date
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m cloudedge.schemas --check
	$(BIN)/python -m cloudedge.serving.proto.generating --check
	$(BIN)/python -m pipelines.kubeflow.compile --check

docs: setup ## Build the pages as one site in build/docs; a dead link or a page that is in no navigation ends it
	rm -rf build/docs
	$(BIN)/sphinx-build --quiet --keep-going --fail-on-warning --conf-dir docs --doctree-dir build/doctrees --fresh-env . build/docs
	@echo "Ready: build/docs/index.html"

format: setup ## Format the code and mend what the linter can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

schemas: setup ## Write docs/schemas anew from the documents
	$(BIN)/python -m cloudedge.schemas

protocols: setup ## Write anew what protoc makes of the protocols' messages
	$(BIN)/python -m cloudedge.serving.proto.generating

pipelines: setup ## Compile the pipelines to the YAML beside them
	$(BIN)/python -m pipelines.kubeflow.compile

bench: setup ## Measure what we claim about speed and accuracy, each beside its peer
	$(BIN)/python -m benchmarks

# One resolution for every place, then a file for each: PyTorch and what only its CUDA build brings stand alone, so that they can
# be replaced by another build while all else keeps its hashes; the edge's file and the cloud's have what the images need besides
# PyTorch. What installs all of them is locked by itself.
# The old locks go in first: versions stay as they are unless LOCK_FLAGS=--upgrade (or --upgrade-package NAME) asks for newer ones.
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --custom-compile-command "make lock"
ONLY_TORCH := ^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==
lock: $(filter $(OWN_UV),$(UV)) ## Lock all dependencies with hashes
	rm -rf .lock && mkdir .lock
	cat requirements.lock requirements-torch.lock > .lock/all 2>/dev/null || true
	$(COMPILE) pyproject.toml $(LOCK_FLAGS) --extra camera --extra cloud --extra edge --extra textures --group dev --output-file .lock/all
	cp .lock/all .lock/edge
	$(COMPILE) pyproject.toml --extra edge --output-file .lock/edge
	cp .lock/all .lock/detector
	$(COMPILE) pyproject.toml --extra detector --extra camera --output-file .lock/detector
	cp .lock/all .lock/cloud
	$(COMPILE) pyproject.toml --extra cloud --output-file .lock/cloud
	echo uv==$(UV_VERSION) > .lock/uv.in
	$(COMPILE) .lock/uv.in --no-annotate --output-file requirements-uv.lock
	echo ml-metadata==1.17.1 > .lock/ml-metadata.in
	$(UV) pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	  --custom-compile-command "make lock" .lock/ml-metadata.in --output-file tests/cluster/ml-metadata.lock
	printf 'kserve==0.21.0\nonnxruntime\n' > .lock/kserve.in
	$(UV) pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	  --custom-compile-command "make lock" .lock/kserve.in --output-file benchmarks/kserve.lock
	awk '/^[a-z]/ { skip = /$(ONLY_TORCH)/ } !skip' .lock/all > requirements.lock
	awk '/^[a-z]/ { skip = !/$(ONLY_TORCH)/ } !skip' .lock/all > requirements-torch.lock
	awk '/^[a-z]/ { skip = /$(ONLY_TORCH)/ } !skip' .lock/edge > requirements-edge.lock
	awk '/^[a-z]/ { skip = /$(ONLY_TORCH)/ } !skip' .lock/cloud > requirements-cloud.lock
	cp .lock/detector requirements-detector.lock
	rm -rf .lock

clean: ## Remove everything that is made here, .venv and .tools too
	rm -rf .venv .tools .lock dist build local_outputs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

INSTALL = $(UV) pip install --quiet --python .venv

$(STAMP): pyproject.toml requirements.lock requirements-torch.lock | $(filter $(OWN_UV),$(UV))
	@echo "Making .venv ($(if $(UV_TORCH_BACKEND),PyTorch for $(UV_TORCH_BACKEND),about 2.5 GB to download once, \
	most of it PyTorch for CUDA; without a GPU, UV_TORCH_BACKEND=cpu makes it small))."
	@$(UV) venv --quiet --allow-existing --no-python-downloads --python '$(if $(filter file,$(origin PYTHON)),>=3.11,$(PYTHON))' .venv \
	  && $(BIN)/python -c "import sys; sys.exit(sys.version_info < (3, 11))" \
	  || { echo "cloudedge needs Python 3.11 or later. Install one, or name it: make setup PYTHON=/path/to/python3.12"; exit 1; }
	@echo "1/3 Installing the libraries."
	@$(INSTALL) --require-hashes --no-deps -r requirements.lock
	@echo "2/3 Installing PyTorch."
ifdef UV_TORCH_BACKEND
	@$(INSTALL) "$$(sed -nE 's/^(torch==[^ ]+).*/\1/p' requirements-torch.lock)"
else
	@$(INSTALL) --require-hashes --no-deps -r requirements-torch.lock
endif
	@echo "3/3 Installing cloudedge itself, from this folder."
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@$(UV) pip check --quiet --python .venv
	@touch $@
	@echo "Ready: .venv/bin/cloudedge --help"

$(OWN_UV):
	@$(PYTHON) -c "" || { echo "No Python at '$(PYTHON)'. Install Python 3.11 or later, or name it: make setup PYTHON=/path/to/python3.12"; exit 1; }
	@echo "Installing uv $(UV_VERSION) into .tools."
	@rm -rf .tools/uv-* && $(PYTHON) -m venv $(@D)/.. && $(@D)/pip install --quiet --disable-pip-version-check \
	  --require-hashes --requirement requirements-uv.lock || { \
	  rm -rf .tools/uv-*; echo "uv could not be installed. Without python3-venv (Debian, Ubuntu): apt install python3-venv." \
	  "Or install uv in another way and say: make setup UV=uv"; exit 1; }
