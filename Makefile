# SPDX-License-Identifier: Apache-2.0
# The whole build. `make help` lists the targets; O=DIR builds outside the tree, V=1 shows commands.

.DEFAULT_GOAL := all
.SUFFIXES:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

O ?= build
ARCH ?= $(shell uname -m | sed 's/aarch64/arm64/')
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo 0.1.0)
CC = gcc
CLANG ?= clang
BPFTOOL ?= bpftool
PKG_CONFIG ?= pkg-config

ifeq ($(V),1)
  Q :=
  say = @:
else
  Q := @
  say = @printf '  %-7s %s\n'
endif

# --- Flags -------------------------------------------------------------------------------------

packages := libbpf libelf libsystemd libmicrohttpd libcjson yaml-0.1 sqlite3
# Asked once, and only when something is compiled: the packages may be installed by this very run.
PACKAGE_CFLAGS = $(eval PACKAGE_CFLAGS := $$(shell $(PKG_CONFIG) --cflags $(packages)))$(PACKAGE_CFLAGS)
PACKAGE_LIBS = $(eval PACKAGE_LIBS := $$(shell $(PKG_CONFIG) --libs $(packages)))$(PACKAGE_LIBS)

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wundef -Wvla -Wformat=2 -Wwrite-strings -Wimplicit-fallthrough -Wno-unused-parameter
HARDENING := -fstack-protector-strong -fPIE
ifeq ($(SANITIZE),)
  OPTIMISE := -O2 -D_FORTIFY_SOURCE=2
else
  OPTIMISE := -O1 -fno-omit-frame-pointer -fsanitize=$(SANITIZE) -fno-sanitize-recover=undefined
endif
ifeq ($(WERROR),1)
  WARNINGS += -Werror
endif
CFLAGS ?= -g
ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE $(OPTIMISE) $(HARDENING) $(WARNINGS) $(CFLAGS) \
	-Iuser -I$(O)/include -include user/base/banned.h $(PACKAGE_CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now -Wl,-z,noexecstack $(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(LDFLAGS)
BPF_CFLAGS = -g -O2 -target bpf -Wall -Wextra -Wno-unused-parameter -Wno-missing-declarations \
	$(if $(filter 1,$(WERROR)),-Werror)

# --- Sources: every file found is part of the program --------------------------------------------

layers := base core host detect store plugin chain sources api agent cli
builtins := collectors diagnosers recoverers
layer_sources = $(sort $(wildcard user/$(1)/*.c))
builtin_sources := $(sort $(wildcard $(addsuffix /*.c,$(builtins))))
sources := $(foreach layer,$(layers),$(call layer_sources,$(layer))) $(builtin_sources)
objects := $(sources:%.c=$(O)/%.o)
bpf_sources := $(sort $(wildcard bpf/*.bpf.c))
skeletons := $(bpf_sources:bpf/%.bpf.c=$(O)/include/%.skel.h)

.PHONY: all
all: $(O)/lifeboat

$(O)/lifeboat: $(objects)
	$(say) LD $@
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(PACKAGE_LIBS)

$(O)/%.o: %.c | $(skeletons) $(O)/include/version.h
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(O)/include/version.h: FORCE
	@mkdir -p $(@D)
	@printf '#define LIFEBOAT_VERSION "%s"\n' '$(VERSION)' | cmp -s - $@ || \
		printf '#define LIFEBOAT_VERSION "%s"\n' '$(VERSION)' > $@

# --- BPF ---------------------------------------------------------------------------------------

bpf_arch_x86_64 := x86
bpf_arch_arm64 := arm64

# The same rule for each architecture: the objects of this machine's become skeletons, the others
# prove that the detectors compile there (make bpf-all).
define bpf_rules
$(O)/bpf/$(1)/%.bpf.o: bpf/%.bpf.c $$(wildcard bpf/*.h vmlinux/*.h vmlinux/$(1)/*.h)
	$$(say) BPF "$$< ($(1))"
	@mkdir -p $$(@D)
	$$(Q)$$(CLANG) $$(BPF_CFLAGS) -D__TARGET_ARCH_$(bpf_arch_$(1)) -Ivmlinux -Ivmlinux/$(1) -Ibpf -c -o $$@ $$<
endef
$(foreach arch,x86_64 arm64,$(eval $(call bpf_rules,$(arch))))

$(O)/include/%.skel.h: $(O)/bpf/$(ARCH)/%.bpf.o
	$(say) SKEL $@
	@mkdir -p $(@D)
	$(Q)$(BPFTOOL) gen object $(O)/bpf/$*.linked.o $< && \
		$(BPFTOOL) gen skeleton $(O)/bpf/$*.linked.o name $*_bpf > $@

.PHONY: bpf-all
bpf-all: $(foreach arch,x86_64 arm64,$(bpf_sources:bpf/%.bpf.c=$(O)/bpf/$(arch)/%.bpf.o)) ## compile the detectors for every architecture

# --- Unit tests: tests/unit/LAYER/test_X.c may use LAYER and what LAYER may depend on --------------

uses_base := base
uses_core := core base
uses_host := host base
uses_detect := detect host base
uses_store := store core base
uses_plugin := plugin core host base
uses_chain := chain plugin store core host base
uses_builtins := builtins plugin core host base
uses_sources := sources chain plugin store core detect host base
uses_api := api sources chain plugin store core detect host base
uses_agent := agent api sources chain plugin store core detect host base
uses_cli := cli agent api sources chain plugin store core detect host base

archive_sources = $(if $(filter builtins,$(1)),$(builtin_sources),$(call layer_sources,$(1)))
define archive_rule
$(O)/lib/$(1).a: $(patsubst %.c,$(O)/%.o,$(call archive_sources,$(1)))
	@mkdir -p $$(@D); rm -f $$@
	$$(Q)ar rcs $$@ $$(filter %.o,$$^)
endef
$(foreach layer,$(layers) builtins,$(eval $(call archive_rule,$(layer))))

unit_sources := $(sort $(wildcard tests/unit/*/test_*.c))
unit_tests := $(unit_sources:%.c=$(O)/%)
test_layer = $(word 3,$(subst /, ,$(1)))

define unit_rule
$(O)/$(1): $(O)/$(1).o $(foreach layer,$(uses_$(call test_layer,$(1))),$(O)/lib/$(layer).a)
	$$(say) LD $$@
	$$(Q)$$(CC) $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -o $$@ $$< -Wl,--whole-archive \
		$(foreach layer,$(uses_$(call test_layer,$(1))),$(O)/lib/$(layer).a) -Wl,--no-whole-archive \
		-lcmocka $$(PACKAGE_LIBS)
endef
$(foreach test,$(unit_sources:%.c=%),$(eval $(call unit_rule,$(test))))

.PHONY: unit-tests
unit-tests: $(unit_tests)

# --- For people --------------------------------------------------------------------------------

# Targets that are a whole errand use all cores; the others do what make is told.
JOBS ?= -j$(shell nproc)

# The distribution's Python, where install-deps puts pytest.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)

.PHONY: deps
deps: ## install what is missing (scripts/install-deps)
	@scripts/install-deps --check 2>/dev/null || scripts/install-deps

.PHONY: demo
demo: ## watch real faults being found, diagnosed, repaired and proven
	@scripts/install-deps --demo --check 2>/dev/null || scripts/install-deps --demo
	$(Q)$(MAKE) --no-print-directory $(JOBS) all
	$(Q)scripts/demo $(O)/lifeboat

# Fuzz targets have sanitizers of their own: the sanitizer build need not run them again. Its allocator stands where
# allocations would be failed.
TESTS ?= unit $(if $(SANITIZE),,fuzz) host $(if $(SANITIZE),,inject)

.PHONY: check
check: deps ## all tests: unit, the inputs kept for fuzzing, and real faults on this host (root)
	$(Q)$(MAKE) --no-print-directory $(JOBS) all bpf-all unit-tests $(if $(filter fuzz,$(TESTS)),fuzz-targets) \
		$(if $(filter inject,$(TESTS)),$(O)/inject/shim.so)
	$(Q)$(PYTHON) tests/run --build $(O) $(TESTS)

.PHONY: check-unit
check-unit: $(unit_tests) ## the unit tests alone
	$(Q)$(PYTHON) tests/run --build $(O) unit

.PHONY: check-kernels
check-kernels: ## other kernels in QEMU, with real faults (KERNELS="6.1 6.12", QUICK=1, GUESTS=2, CASES=oom)
	@scripts/install-deps --kernels --check 2>/dev/null || scripts/install-deps --kernels
	$(Q)$(MAKE) --no-print-directory $(JOBS) all
	$(Q)$(PYTHON) tests/kernels/run --build $(O) $(if $(QUICK),--quick) $(if $(CASES),--only "$(CASES)") \
		$(if $(GUESTS),--jobs $(GUESTS)) $(KERNELS)

.PHONY: asan
asan: ## all tests again under AddressSanitizer and UBSan, in O/asan
	$(Q)$(MAKE) --no-print-directory O=$(O)/asan SANITIZE=address,undefined check

KILLS ?= 2000

.PHONY: kill9
kill9: all ## kill the agent KILLS= times (2000) over a mixed load of real faults (root; SEED=)
	$(Q)LIFEBOAT=$(abspath $(O))/lifeboat $(PYTHON) tests/kill9 --kills $(KILLS) $(if $(SEED),--seed $(SEED))

RUN_PINS := /sys/fs/bpf/lifeboat-run

.PHONY: run
run: all ## the agent in the foreground on this host, with scratch state (ARGS= for its flags)
	@mkdir -p $(O)/run
	@echo "in another terminal: export LIFEBOAT_SOCKET=$(abspath $(O))/run/lifeboat.sock PATH=$(abspath $(O)):\$$PATH"
	$(Q)trap : INT; $(O)/lifeboat agent --state-dir $(O)/run/state --socket $(O)/run/lifeboat.sock \
		--bpffs $(RUN_PINS) $(ARGS); status=$$?; $(O)/lifeboat agent --detach --bpffs $(RUN_PINS); exit $$status

formatted := $(filter-out vmlinux/%,$(wildcard user/*/*.[ch] bpf/*.[ch] tests/unit/*/*.[ch] tests/fuzz/*.h tests/fuzz/*/*.[ch] bench/*.c \
	collectors/*.[ch] diagnosers/*.[ch] recoverers/*.[ch]))

.PHONY: format
format: ## put the sources into the project's format
	$(Q)clang-format -i $(formatted)

.PHONY: lint
lint: $(skeletons) $(O)/include/version.h ## format, static analysis, shell scripts, man page
	$(Q)scripts/lint $(O) "$(formatted)" "$(filter-out $(wildcard tests/unit/*/*.c),$(sources))" \
		"-std=gnu17 -D_GNU_SOURCE -Iuser -I$(O)/include -include user/base/banned.h $(PACKAGE_CFLAGS)"

# --- Installing ----------------------------------------------------------------------------------

PREFIX ?= /usr/local
sbindir ?= $(PREFIX)/sbin
mandir ?= $(PREFIX)/share/man
docdir ?= $(PREFIX)/share/doc/lifeboat
unitdir ?= $(if $(filter /usr,$(PREFIX)),/usr/lib/systemd/system,$(PREFIX)/lib/systemd/system)
bashcompdir ?= $(PREFIX)/share/bash-completion/completions
zshcompdir ?= $(PREFIX)/share/zsh/site-functions
sysconfdir ?= /etc

.PHONY: install
install: all ## into PREFIX (/usr/local), below DESTDIR: program, unit, man page, completion
	install -D -m 0755 $(O)/lifeboat $(DESTDIR)$(sbindir)/lifeboat
	install -D -m 0644 deploy/man/lifeboat.8 $(DESTDIR)$(mandir)/man8/lifeboat.8
	mkdir -p $(DESTDIR)$(unitdir) $(DESTDIR)$(bashcompdir) $(DESTDIR)$(zshcompdir)
	sed 's|@sbindir@|$(sbindir)|' deploy/systemd/lifeboat.service.in > $(DESTDIR)$(unitdir)/lifeboat.service
	$(O)/lifeboat completion bash > $(DESTDIR)$(bashcompdir)/lifeboat
	$(O)/lifeboat completion zsh > $(DESTDIR)$(zshcompdir)/_lifeboat
	install -d -m 0755 $(addprefix $(DESTDIR)$(sysconfdir)/lifeboat/,collectors.d diagnosers.d recoverers.d)
	test -e $(DESTDIR)$(sysconfdir)/lifeboat/lifeboat.yaml || \
		install -m 0644 deploy/lifeboat.yaml $(DESTDIR)$(sysconfdir)/lifeboat/lifeboat.yaml

.PHONY: uninstall
uninstall: ## remove what install put there and what is pinned in the kernel; configuration and state stay
	$(if $(DESTDIR),,test ! -x $(sbindir)/lifeboat || $(sbindir)/lifeboat agent --detach)
	rm -f $(DESTDIR)$(sbindir)/lifeboat $(DESTDIR)$(mandir)/man8/lifeboat.8 \
		$(DESTDIR)$(unitdir)/lifeboat.service $(DESTDIR)$(bashcompdir)/lifeboat $(DESTDIR)$(zshcompdir)/_lifeboat

# --- Fuzzing: tests/fuzz/LAYER/fuzz_X.c is linked as a unit test of LAYER is, with clang's libFuzzer -------

FUZZ_FLAGS := -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all
fuzz_sources := $(sort $(wildcard tests/fuzz/*/fuzz_*.c))
fuzz_targets := $(fuzz_sources:%.c=$(O)/fuzz/%)
fuzz_objects := $(patsubst %.c,$(O)/fuzz/%.o,$(fuzz_sources) $(sources))

$(O)/fuzz/%.o: %.c | $(skeletons) $(O)/include/version.h
	$(say) FUZZ $<
	@mkdir -p $(@D)
	$(Q)$(CLANG) -std=gnu17 -D_GNU_SOURCE -g -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link $(FUZZ_FLAGS) \
		-Wno-unknown-warning-option -Iuser -I$(O)/include -include user/base/banned.h $(PACKAGE_CFLAGS) \
		-MMD -MP -c -o $@ $<

define fuzz_archive_rule
$(O)/fuzz/lib/$(1).a: $(patsubst %.c,$(O)/fuzz/%.o,$(call archive_sources,$(1)))
	@mkdir -p $$(@D); rm -f $$@
	$$(Q)ar rcs $$@ $$(filter %.o,$$^)
endef
$(foreach layer,$(layers) builtins,$(eval $(call fuzz_archive_rule,$(layer))))

define fuzz_rule
$(O)/fuzz/$(1): $(O)/fuzz/$(1).o $(foreach layer,$(uses_$(call test_layer,$(1))),$(O)/fuzz/lib/$(layer).a)
	$$(say) LD $$@
	$$(Q)$$(CLANG) -fsanitize=fuzzer $$(FUZZ_FLAGS) -o $$@ $$< -Wl,--whole-archive \
		$(foreach layer,$(uses_$(call test_layer,$(1))),$(O)/fuzz/lib/$(layer).a) -Wl,--no-whole-archive \
		$$(PACKAGE_LIBS)
endef
$(foreach target,$(fuzz_sources:%.c=%),$(eval $(call fuzz_rule,$(target))))

.PHONY: fuzz-targets
fuzz-targets: $(fuzz_targets)

TIME ?= 60
FUZZ ?=
.PHONY: fuzz fuzz-keep
fuzz: deps ## fuzz what reads input from outside, TIME= seconds a target (60); FUZZ= names targets, SEED=
	$(Q)$(MAKE) --no-print-directory $(JOBS) fuzz-targets
	$(Q)$(PYTHON) tests/fuzz/run --build $(O) --seconds $(TIME) $(if $(SEED),--seed $(SEED)) $(FUZZ)

fuzz-keep: fuzz-targets ## add to tests/fuzz/corpus what fuzzing found that reaches more; FUZZ= names targets
	$(Q)$(PYTHON) tests/fuzz/run --build $(O) --keep $(FUZZ)

# --- Fault injection: what stands between the program and libc, see tests/inject/run ----------------

$(O)/inject/shim.so: tests/inject/shim.c
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu17 -O2 -g $(WARNINGS) -fPIC -shared -o $@ $< -lgcc_s

.PHONY: inject
inject: all $(O)/inject/shim.so ## fail each allocation, write, open, fork and BPF call in turn (root; ARGS=)
	$(Q)$(PYTHON) tests/inject/run --build $(O) $(ARGS)
	$(Q)$(PYTHON) tests/inject/run --build $(O) --bpf $(ARGS)
	$(Q)$(PYTHON) tests/inject/run --build $(O) --cli $(ARGS)

# --- Figures ---------------------------------------------------------------------------------------

$(O)/bench/%: bench/%.c $(wildcard bench/*.h)
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) -O2 -Wall -Wextra -o $@ $< $(PACKAGE_CFLAGS) $(PACKAGE_LIBS)

$(O)/bench/storm.bpf.o: bench/storm.bpf.c $(wildcard bench/*.h bpf/*.h vmlinux/*.h vmlinux/$(ARCH)/*.h)
	$(say) BPF $<
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -D__TARGET_ARCH_$(bpf_arch_$(ARCH)) -Ivmlinux -Ivmlinux/$(ARCH) -Ibpf -c -o $@ $<

.PHONY: bench
bench: all $(O)/bench/loops $(O)/bench/storm $(O)/bench/storm.bpf.o ## measure what the agent costs and how fast it is (root; BENCH= names figures)
	$(Q)$(PYTHON) bench/run --build $(O) $(BENCH)

.PHONY: clean
clean: ## remove what was built
	$(Q)rm -rf $(O)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST) | sort

.PHONY: FORCE
FORCE:

-include $(objects:.o=.d) $(unit_sources:%.c=$(O)/%.d) $(fuzz_objects:.o=.d)
