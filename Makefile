# SPDX-License-Identifier: GPL-2.0-or-later
# A thin front: meson and ninja do the work, scripts/ and tests/ hold the rest.
BUILD ?= build
GUEST ?= bare
PYTEST = /usr/bin/python3 -m pytest -q -p no:cacheprovider

.PHONY: all demo check check-unit check-qtest check-interop check-nested check-static check-sanitizers check-fuzz-corpus \
        bench fuzz install clean deps

all: deps $(BUILD)/build.ninja
	@ninja -C $(BUILD)

deps:
	@scripts/install-deps build

$(BUILD)/build.ninja:
	@scripts/install-deps build
	@./configure --build=$(BUILD) >/dev/null

demo: all
	@tests/demo/demo --build $(BUILD) --guest $(GUEST)

check:
	@scripts/install-deps build test nested
	@tests/run-all --build $(BUILD)

check-unit: all
	@meson test -C $(BUILD) --suite unit --print-errorlogs

check-qtest: all
	@GODWIT_BUILD=$(abspath $(BUILD)) $(PYTEST) tests/qtest

check-interop: all
	@GODWIT_BUILD=$(abspath $(BUILD)) $(PYTEST) tests/interop

check-nested: all
	@scripts/install-deps test nested
	@tests/run-all --build $(BUILD) nested

check-static:
	@scripts/check-layers && scripts/check-style

bench: all
	@scripts/install-deps test
	@tests/bench/run --build $(BUILD)

fuzz:
	@scripts/install-deps build test
	@tests/fuzz/run

install: all
	@meson install -C $(BUILD)

clean:
	rm -rf $(BUILD)
