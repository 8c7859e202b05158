# corten: two commands are enough. `make run` installs, starts and shows; `make test` proves.
#
#   make run      install what is missing, start cortend, run a first container
#   make test     linters, type check, unit, conformance, integration and compatibility tests
#   make soak     the long forms of the tests: power cuts, random kills
#   make bench    time corten against Debian's docker, containerd and podman
#   make lint     ruff, mypy and the import rules alone
#   make install  install into /opt/corten with systemd units
#   make clean    remove what was built in this directory (containers and images stay)

SHELL := /bin/bash
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
LINKS := /usr/local/bin
PREFIX := /opt/corten
SOCKET := /run/corten/corten.sock
LOG := /var/log/cortend.log

RUN_PACKAGES := crun runc conmon iproute2 nftables busybox-static catatonit
TEST_PACKAGES := $(RUN_PACKAGES) buildah containerd docker-registry docker.io e2fsprogs erofs-utils openssl podman rsyslog skopeo \
  strace systemd
BENCH_PACKAGES := $(TEST_PACKAGES) mmdebstrap

.PHONY: run test soak bench lint clean install uninstall stop venv test-venv commands run-packages test-packages

run: run-packages commands
	@docs/first-run/start.sh "$(SOCKET)" "$(LOG)"
	@docs/first-run/hello.sh

test: test-packages test-venv
	@$(BIN)/python -m pytest -n 3 --dist loadfile $(PYTEST_ARGS)

soak: test-packages test-venv
	@$(BIN)/python -m pytest -m soak $(PYTEST_ARGS)

lint: test-venv
	@$(BIN)/python -m pytest -q tests/lint

bench: test-venv
	@docs/first-run/packages.sh $(BENCH_PACKAGES)
	@$(BIN)/python tests/bench/bench.py $(BENCH_ARGS)

run-packages:
	@docs/first-run/packages.sh $(RUN_PACKAGES)

test-packages:
	@docs/first-run/packages.sh $(TEST_PACKAGES)

# The virtual environment is made again when what it is made from changed.
venv: $(VENV)/.installed
test-venv: $(VENV)/.installed-test

$(VENV)/bin/python:
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "corten needs Python 3.11 or newer; python3 here is $$(python3 --version)" >&2; exit 1; }
	@python3 -c 'import ensurepip' 2>/dev/null || docs/first-run/packages.sh python3-venv
	@echo "==> making a virtual environment in $(VENV)"
	@python3 -m venv $(VENV)

$(VENV)/.installed: pyproject.toml docs/first-run/launchers.sh | $(VENV)/bin/python
	@echo "==> installing corten and its Python packages into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@$(BIN)/python -m compileall -q client shared daemon
	@docs/first-run/launchers.sh "$(BIN)"
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "==> installing what the tests need into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@docs/first-run/launchers.sh "$(BIN)"
	@touch $@

commands: venv
	@for command in cortend corten cortenctl; do \
	  if [ "$$(readlink $(LINKS)/$$command)" != "$(BIN)/$$command" ]; then \
	    echo "==> $(LINKS)/$$command -> $(BIN)/$$command"; ln -sfn "$(BIN)/$$command" "$(LINKS)/$$command"; fi; \
	done

stop:
	@docs/first-run/stop.sh

install:
	@docs/first-run/packages.sh $(RUN_PACKAGES) python3-venv
	@echo "==> installing corten into $(PREFIX)"
	@python3 -m venv $(PREFIX)
	@$(PREFIX)/bin/python -m pip install --quiet --disable-pip-version-check .
	@docs/first-run/launchers.sh $(PREFIX)/bin
	@for command in cortend corten cortenctl; do ln -sfn $(PREFIX)/bin/$$command $(LINKS)/$$command; done
	@install -D -m 644 systemd/cortend.service systemd/cortend.socket -t /etc/systemd/system
	@install -D -m 644 systemd/sysusers.d/corten.conf /usr/lib/sysusers.d/corten.conf
	@install -D -m 644 systemd/tmpfiles.d/corten.conf /usr/lib/tmpfiles.d/corten.conf
	@! command -v systemd-sysusers >/dev/null || systemd-sysusers corten.conf
	@if [ -d /run/systemd/system ]; then systemctl daemon-reload; echo "==> start it with: systemctl enable --now cortend.socket cortend.service"; \
	  else echo "==> systemd does not run here; start it with: cortend"; fi

uninstall:
	@rm -f $(LINKS)/cortend $(LINKS)/corten $(LINKS)/cortenctl /etc/systemd/system/cortend.service \
	  /etc/systemd/system/cortend.socket /usr/lib/sysusers.d/corten.conf /usr/lib/tmpfiles.d/corten.conf
	@rm -rf $(PREFIX)

clean:
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache bench-results
	@find daemon client shared tests -name __pycache__ -prune -exec rm -rf {} +
