# The menu. Everything is done by the scripts named here; make keeps no rules of its own for what they build.
#
#   make            this list                         make build      BPF objects, native module, bundle
#   make demo       see it work (KEEP=1 leaves it)    make test       all tests (T="unit netns" only those)
#   make check      types, lint, layout rules         make bench      figures (B="datapath --json")
#   make kernels    tests on other kernels (QEMU)     make clean      remove what was built (not node_modules)

SHELL := /bin/sh
SETUP ?= tools/setup.sh
export PATH := $(CURDIR)/build/bin:$(PATH)

# On CI the tests are preceded by the checks; SETUP=skip leaves the machine as it is.
define setup
	@[ "$(SETUP)" = skip ] || "$(SETUP)" $(1)
endef

help:
	@sed -n '3,6s/^#//p' Makefile

build:
	$(call setup,build)
	@node tools/build.mjs

demo:
	$(call setup,demo)
	@node tools/build.mjs
	@npm run --silent demo

test:
	$(call setup,test)
	@node tools/build.mjs
	@case "$(T)" in '' | *cluster* | *peer*) node --import=tsx test/support/kube/kubebin.ts >/dev/null ;; esac
	@if [ -n "$$CI" ]; then npm run --silent check; fi
	@npm run --silent test -- $(T)

check:
	$(call setup,test)
	@node tools/build.mjs
	@npm run --silent check

bench:
	$(call setup,test)
	@node tools/build.mjs
	@npm run --silent bench -- $(B)

kernels:
	$(call setup,test)
	@node tools/build.mjs
	@npm run --silent test:kernels

clean:
	rm -rf dist bpf/out native/build build/stamps

.PHONY: help build demo test check bench kernels clean
.NOTPARALLEL:
