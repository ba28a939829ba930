# capsnetd: a capsule network behind HTTP.  `make help` lists the targets.
#
# One non-recursive Makefile.  Objects lie under build/ (build/sanitize-... with
# SANITIZE=...).  Header dependencies come from -MMD; a stamp rebuilds
# everything when the flags change.

# Its one place is the Dockerfile: an image's label can be read from nowhere else.
VERSION := $(shell sed -n 's/^ARG VERSION=//p' Dockerfile)

# ---- Options, each settable on the command line -----------------------------
CC       ?= cc
CFLAGS   ?= -O3 -g
SANITIZE ?=#          e.g. address,undefined or thread
WERROR   ?=#          1 in CI
MPI      ?=#          1: capsnet-train for several machines, with OpenMPI, in build/mpi/
CROSS    ?=#          a cross compiler's prefix, e.g. aarch64-linux-gnu-; builds in build/aarch64-linux-gnu/
V        ?=#          1 shows every command
PORT     ?= 8080
WEIGHTS  ?= weights/capsnet-mnist.safetensors
MODELS   ?= weights#  what is served, installed and shipped: a folder of weights, or one file
DATA     ?= data#     where `make data` puts MNIST

# ---- Flags ------------------------------------------------------------------
comma := ,
BUILD := build$(if $(CROSS),/$(CROSS:%-=%))$(if $(MPI),/mpi)$(if $(SANITIZE),/sanitize-$(subst $(comma),-,$(SANITIZE)))

PKGS := libmicrohttpd libcjson libpng zlib openblas
# Each library and the Debian package that has it, for the sentence about a missing one.
NEEDED := libmicrohttpd:libmicrohttpd-dev gnutls:libgnutls28-dev libcjson:libcjson-dev \
          libpng:libpng-dev zlib:zlib1g-dev openblas:libopenblas-pthread-dev $(if $(MPI),ompi-c:libopenmpi-dev)

# Debian's libraries of another architecture lie beside the machine's own.  What is
# exported reaches recipes, but not $(shell).
PKG_CONFIG := pkg-config
ifneq ($(CROSS),)
CC := $(CROSS)gcc
AR := $(CROSS)ar
export PKG_CONFIG_LIBDIR := /usr/lib/$(CROSS:%-=%)/pkgconfig:/usr/share/pkgconfig
PKG_CONFIG := PKG_CONFIG_LIBDIR=$(PKG_CONFIG_LIBDIR) pkg-config
endif

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wvla -Wstrict-prototypes \
            -Wmissing-prototypes $(if $(WERROR),-Werror)
HARDEN   := -fPIE -fstack-protector-strong $(if $(SANITIZE),,-D_FORTIFY_SOURCE=2)
CPPFLAGS_ALL := -D_GNU_SOURCE -DCAPSNET_VERSION='"$(VERSION)"' -I. $(CPPFLAGS) \
                $(if $(MPI),-DCAPSNET_MPI $(shell $(PKG_CONFIG) --cflags-only-I ompi-c))
CFLAGS_ALL = -std=c11 $(CFLAGS) $(WARNINGS) $(HARDEN) -pthread \
             $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer) \
             $(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null)
LDFLAGS_ALL = -pie -pthread -Wl,-z,relro,-z,now $(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(LDFLAGS)

# Linked in where there is a static one: model/kernels/openblas.c says why.
LIBS_OPENBLAS = $(or $(wildcard $(addsuffix /libopenblas.a,$(shell $(PKG_CONFIG) --variable=libdir openblas))),$(shell $(PKG_CONFIG) --libs openblas))
LIBS_MODEL  = $(shell $(PKG_CONFIG) --libs libcjson) $(LIBS_OPENBLAS) -lm
LIBS_TRAIN  = $(shell $(PKG_CONFIG) --libs libpng zlib $(if $(MPI),ompi-c))
LIBS_SERVER = $(shell $(PKG_CONFIG) --libs libmicrohttpd gnutls libpng zlib)

# A kernel source is compiled once per CPU level; its own flags apply to that
# object alone.  The rest of the program is baseline x86-64 (or any other
# architecture, which has `ref` only).
KERNEL_FLAGS := -O3 -ffp-contract=fast -fno-math-errno -fno-trapping-math
LEVEL_ref    :=
LEVEL_avx2   := -mavx2 -mfma -mf16c
LEVEL_avx512 := -mavx512f -mavx512vl -mavx512bw -mavx512dq $(LEVEL_avx2) -mprefer-vector-width=512
LEVEL_avx512vnni := $(LEVEL_avx512) -mavx512vnni
LEVEL_avx512bf16 := $(LEVEL_avx512vnni) -mavx512bf16
ARCH   := $(shell $(CC) -dumpmachine 2>/dev/null | cut -d- -f1)
# OpenBLAS's products; all else, and so the flags, from ref.
LEVEL_openblas := $(LEVEL_ref)
LEVELS := ref $(if $(filter x86_64,$(ARCH)),avx2 avx512 avx512vnni avx512bf16)

# ---- Files ------------------------------------------------------------------
MODEL_FILES = $(filter %.safetensors,$(wildcard $(MODELS) $(MODELS)/*.safetensors))
# The rooms of each library; tests/rooms.txt says what may know of what.
SHARED_SRC := $(wildcard model/picture/*.c model/draw/*.c model/command_line/*.c)# what both programs need beside the network
MODEL_SRC  := $(wildcard $(patsubst %,model/%/*.c,machine network layers inference weights_file)) \
              $(patsubst %,model/kernels/%.c,dispatch openblas)
KERNEL_SRC := $(filter-out $(patsubst %,model/kernels/%.c,dispatch openblas gemm_cblas),$(wildcard model/kernels/*.c))
TRAIN_SRC  := $(wildcard model/train/*.c model/train/*/*.c)
SERVER_SRC := $(wildcard server/*.c server/*/*.c)

object = $(patsubst %.c,$(BUILD)/%.o,$(1))
MODEL_OBJ  := $(call object,$(MODEL_SRC)) \
              $(foreach level,$(LEVELS),$(KERNEL_SRC:%.c=$(BUILD)/%_$(level).o)) \
              $(patsubst %,$(BUILD)/model/kernels/%_openblas.o,gemm_cblas level_table)
SHARED_OBJ := $(call object,$(SHARED_SRC))
TRAIN_OBJ  := $(call object,$(filter-out model/train/main.c,$(TRAIN_SRC)))
SERVER_OBJ := $(call object,$(filter-out server/main.c,$(SERVER_SRC)))

# tests/unit/ROOM/test_NAME.c, tests/trainer/ and tests/http/test_NAME.c: one program
# each; tests/common/ is linked into the first two, the other .c files of tests/http/
# into the last.
UNIT_SRC   := $(wildcard tests/unit/*/test_*.c tests/trainer/test_*.c)
HTTP_SRC   := $(wildcard tests/http/test_*.c)
UNIT_COMMON := $(call object,$(wildcard tests/common/*.c))
HTTP_COMMON := $(call object,$(filter-out $(HTTP_SRC),$(wildcard tests/http/*.c)))
UNIT_BIN   := $(patsubst %.c,$(BUILD)/%,$(UNIT_SRC))
HTTP_BIN   := $(patsubst %.c,$(BUILD)/%,$(HTTP_SRC))
# tests/fuzz/fuzz_NAME.c: one fuzz target each.  REPLAY_BIN run them over their
# corpora; `make fuzz` links them with libFuzzer.
FUZZ_SRC    := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_COMMON := $(BUILD)/tests/fuzz/common.o
REPLAY_BIN  := $(patsubst %.c,$(BUILD)/%,$(FUZZ_SRC))
FUZZ_SECONDS ?= 60
SOAK_MINUTES ?= 3
# Not beside a sanitizer, which has an allocator of its own.
FAULTS_BIN   := $(if $(SANITIZE),,$(BUILD)/tests/faults/test_faults $(BUILD)/tests/faults/test_machine)
FUZZ_TARGETS ?= $(patsubst tests/fuzz/fuzz_%.c,%,$(FUZZ_SRC))
FUZZ_BUILD   := build/sanitize-fuzzer-no-link-address-undefined

QUIET := $(if $(V),,@)
say    = $(if $(V),,@printf '  %-6s %s\n' $(1) $(patsubst $(BUILD)/%,%,$@))

.DEFAULT_GOAL := all
.SECONDARY:
.DELETE_ON_ERROR:

# ---- For users --------------------------------------------------------------
.PHONY: help all run data train test check test-mpi check-mpi answers bench-plan bench-peers deps-bench-peers test-qemu test-arm64 check-arm64 deps-qemu deps-arm64 bench bench-train clean deps deps-test

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

all: $(if $(MPI),,$(BUILD)/capsnetd) $(BUILD)/capsnet-train ## build build/capsnetd and build/capsnet-train

run: deps ## install what is missing, build, serve the models of weights/ on port 8080
	$(QUIET)$(MAKE) --no-print-directory all
	$(BUILD)/capsnetd --listen 127.0.0.1:$(PORT) --weights $(MODELS)

test: deps-test data ## install what is missing, build, run all tests
	$(QUIET)$(MAKE) --no-print-directory check

RUN_TESTS := PATH="$(CURDIR)/build/tools:$$PATH" BUILD=$(BUILD) tests/run.sh

BENCH_BIN := $(patsubst %,$(BUILD)/tests/bench/%,infer answers plan train machine engine contender)
# A sanitizer has an allocator of its own, so no faults; OpenMPI is not made for one;
# benchmarks would measure it.
check: all $(UNIT_BIN) $(HTTP_BIN) $(REPLAY_BIN) $(FAULTS_BIN) $(if $(SANITIZE),,$(BENCH_BIN)) ## run all tests (packages already installed)
	@tests/test_rooms.sh
	$(if $(SANITIZE),,@$(BUILD)/tests/bench/infer $(WEIGHTS) $(DATA) check)
	@BUILD=$(BUILD) WEIGHTS=$(WEIGHTS) tests/browser/run.sh
	$(if $(SANITIZE),,$(QUIET)$(MAKE) --no-print-directory check-mpi)
	@$(RUN_TESTS) $(UNIT_BIN) $(HTTP_BIN) $(REPLAY_BIN) $(FAULTS_BIN)

# The oldest x86-64 CPU that QEMU knows, less the one thing it has beyond the
# baseline that Debian is built for.
OLDEST_CPU := Opteron_G1,-pni
test-qemu: deps-qemu ## all unit tests and the programs on an emulated baseline x86-64 CPU
	$(QUIET)$(MAKE) --no-print-directory all $(UNIT_BIN)
	@WEIGHTS=$(WEIGHTS) tests/qemu.sh "qemu-x86_64 -cpu $(OLDEST_CPU)" $(BUILD) $(UNIT_BIN)

test-arm64: deps-arm64 ## build for arm64 with Debian's cross compiler, the same tests under emulation
	$(QUIET)$(MAKE) --no-print-directory CROSS=aarch64-linux-gnu- check-arm64

check-arm64: all $(UNIT_BIN)
	@WEIGHTS=$(WEIGHTS) tests/qemu.sh qemu-aarch64 $(BUILD) $(UNIT_BIN)

test-mpi: ## install OpenMPI if missing, then test the trainer as several processes
	$(QUIET)$(MAKE) --no-print-directory deps MPI=1
	$(QUIET)$(MAKE) --no-print-directory check-mpi

check-mpi:
	$(QUIET)$(MAKE) --no-print-directory MPI= all
	$(QUIET)$(MAKE) --no-print-directory MPI=1 all
	@tests/trainer/mpi.sh build/capsnet-train build/mpi/capsnet-train

# The recipe of the shipped file, in three stages; weights/README.md tells how it was
# chosen.  Broken off, `make train` goes on where it was; build/STAGE.safetensors of
# an earlier run stand.
STAGE1 := --epochs 34 --holdout 5000 --seed 1 --shift 2 --rotate 12 --zoom 0.1 --shear 0.1 --elastic 1.2
STAGE2 := --epochs 18 --holdout 5000 --seed 3 --rate 0.0005 --alpha 0.0005 --shift 2 --distorted 0.6 \
          --rotate 12 --zoom 0.12 --shear 0.12 --elastic 1.2 --stroke 0.2
STAGE3 := --epochs 36 --holdout 5000 --seed 4 --batch 64 --rate 0.0006 --ema 0.9995 --alpha 0.0005 --shift 2 \
          --distorted 0.85 --rotate 15 --zoom 0.15 --shear 0.2 --elastic 1.5 --stroke 0.25
stage = $(BUILD)/capsnet-train train --data $(DATA) --out $1 $2 --checkpoint $(BUILD)/$3.checkpoint \
        --log $(BUILD)/$3.jsonl $(if $(wildcard $(BUILD)/$3.checkpoint),--resume)
train: deps data ## train weights/capsnet-mnist.safetensors anew on MNIST
	$(QUIET)$(MAKE) --no-print-directory all
	$(QUIET)$(MAKE) --no-print-directory $(BUILD)/second.safetensors
	$(call stage,$(WEIGHTS),--init $(BUILD)/second.safetensors --test $(STAGE3),third)

# A stage needs no earlier one when its own file is there.
.SECONDARY: $(BUILD)/first.safetensors $(BUILD)/second.safetensors
$(BUILD)/first.safetensors:
	$(call stage,$@,$(STAGE1),first)
$(BUILD)/second.safetensors: $(BUILD)/first.safetensors
	$(call stage,$@,--init $< $(STAGE2),second)

# A network of a tenth of the parameters, in one stage; it learns from the shipped one, too.
SLIM_WEIGHTS ?= weights/capsnet-mnist-slim.safetensors
SLIM_SHAPE := --conv1 32 --types 8 --hidden1 128 --hidden2 256
SLIM  := --epochs 60 --seed 1 --rate 0.002 --hold 0.5 --ema 0.9995 --teacher $(WEIGHTS) --shift 2 \
         --distorted 0.85 --rotate 15 --zoom 0.15 --shear 0.2 --elastic 1.5 --stroke 0.25
.PHONY: train-slim
train-slim: deps data ## train weights/capsnet-mnist-slim.safetensors, a small network, anew
	$(QUIET)$(MAKE) --no-print-directory all
	$(call stage,$(SLIM_WEIGHTS),--name capsnet-mnist-slim --test $(SLIM_SHAPE) $(SLIM),slim)

# Two digits on top of each other, on 36 x 36 (weights/README.md has the protocol).
PAIRS_WEIGHTS ?= weights/capsnet-multimnist.safetensors
PAIRS_SHAPE := --conv1 128 --types 16 --hidden1 256 --hidden2 512
PAIRS := --pairs --singles 0.1 --holdout 1000 --epochs 60 --seed 1 --rate 0.0015 --hold 0.5 --ema 0.9995 \
         --distorted 0.5 --rotate 10 --zoom 0.1 --shear 0.1 --elastic 1
.PHONY: train-pairs
train-pairs: deps data ## train weights/capsnet-multimnist.safetensors, for two overlapping digits, anew
	$(QUIET)$(MAKE) --no-print-directory all
	$(call stage,$(PAIRS_WEIGHTS),--name capsnet-multimnist --test $(PAIRS_SHAPE) $(PAIRS),pairs)

bench: deps data ## measure the forward pass, beside OpenBLAS's
	$(QUIET)$(MAKE) --no-print-directory $(BUILD)/tests/bench/infer
	$(BUILD)/tests/bench/infer $(WEIGHTS) $(DATA)

bench-plan: deps data ## at every batch, the plan that is measured at load beside both
	$(QUIET)$(MAKE) --no-print-directory $(BUILD)/tests/bench/plan
	$(BUILD)/tests/bench/plan $(WEIGHTS) $(DATA)

PEERS_PYTHON := build/peers/bin/python -B
bench-peers: deps-bench-peers data ## ours beside ONNX Runtime, OpenVINO and PyTorch from PyPI, and how far that is from the goals
	$(QUIET)$(MAKE) --no-print-directory $(patsubst %,$(BUILD)/tests/bench/%,contender machine)
	$(PEERS_PYTHON) tests/bench/peers/compare.py $(BUILD) $(WEIGHTS) $(DATA)

answers: deps data ## count what each precision and plan changes of the answers for MNIST's test images
	$(QUIET)$(MAKE) --no-print-directory $(BUILD)/tests/bench/answers
	$(BUILD)/tests/bench/answers $(WEIGHTS) $(DATA)

# BEFORE: a capsnet-train built before, or a git revision, which is built.
BEFORE ?=
bench-train: deps-bench-peers $(if $(BEFORE),data) ## what `make bench` is, for a training step; BEFORE=REVISION or =CAPSNET-TRAIN: beside that one
	$(QUIET)$(MAKE) --no-print-directory $(BUILD)/tests/bench/train $(BUILD)/tests/bench/machine $(BUILD)/capsnet-train
	$(if $(BEFORE),$(PEERS_PYTHON) tests/bench/peers/train_before.py $(BUILD) $(DATA) $(BEFORE))
	$(BUILD)/tests/bench/train "$(PEERS_PYTHON) tests/bench/peers/train_torch.py"

fuzz: deps-fuzz ## fuzz each parser for FUZZ_SECONDS (60) with clang's libFuzzer
	$(QUIET)$(MAKE) --no-print-directory CC=clang CFLAGS='-O1 -g -fno-sanitize-recover=all' \
	    SANITIZE=fuzzer-no-link,address,undefined fuzzers
	@tests/fuzz/run.sh $(FUZZ_BUILD)/tests/fuzz $(FUZZ_SECONDS) $(FUZZ_TARGETS)

bench-http: deps-bench-http ## the server under wrk, beside the engine alone; then 4 times too much
	$(QUIET)$(MAKE) --no-print-directory $(BUILD)/capsnetd $(BUILD)/tests/bench/engine \
	    $(BUILD)/tests/http/test_overload
	@tests/bench/http.sh $(BUILD) $(WEIGHTS)
	@BUILD=$(BUILD) OVERLOAD_WEIGHTS=$(WEIGHTS) $(BUILD)/tests/http/test_overload

check-http: all $(HTTP_BIN)
	@$(RUN_TESTS) $(HTTP_BIN)

.PHONY: test-openapi
test-openapi: deps build/tools/schemathesis/bin/schemathesis ## openapi.json against the service, by schemathesis
	$(QUIET)$(MAKE) --no-print-directory all
	@tests/openapi/run.sh $(BUILD) $(WEIGHTS)

# From PyPI, every package of it pinned.
build/tools/schemathesis/bin/schemathesis: tests/openapi/requirements.txt
	$(call install,python3-venv)
	/usr/bin/python3 -m venv $(@D)/.. && $(@D)/pip install -q -r $< && touch $@

.PHONY: test-clients
test-clients: deps build/tools/clients/installed ## clients from PyPI against the service: tritonclient, and one made of openapi.json
	$(QUIET)$(MAKE) --no-print-directory all
	@tests/clients/run.sh $(BUILD) $(WEIGHTS)

# From PyPI, every package of it pinned.
build/tools/clients/installed: tests/clients/requirements.txt
	$(call install,python3-venv)
	/usr/bin/python3 -m venv $(@D) && $(@D)/bin/pip install -q --disable-pip-version-check -r $< && touch $@

test-threads: deps-test ## the server in all HTTP tests, load included, under ThreadSanitizer
	$(QUIET)$(MAKE) --no-print-directory SANITIZE=thread check-http

.PHONY: bench-scale
bench-scale: deps-bench-http ## what one CPU delivers over HTTP, what TLS and a balancer cost
	$(QUIET)$(MAKE) --no-print-directory $(BUILD)/capsnetd
	@tests/deploy/scale.sh $(BUILD) $(WEIGHTS)

.PHONY: bench-deploy
bench-deploy: deps-bench-http ## memory, and requests within the CPU and memory limits of the manifests
	$(QUIET)$(MAKE) --no-print-directory $(BUILD)/capsnetd
	@tests/deploy/bench.py $(BUILD)/capsnetd $(WEIGHTS)

soak: deps-test ## the server under mixed traffic and reloads for SOAK_MINUTES (3); a chart of what it held
	$(QUIET)$(MAKE) --no-print-directory all $(BUILD)/tests/soak/soak
	$(QUIET)BUILD=$(BUILD) SOAK_MINUTES=$(SOAK_MINUTES) SOAK_CHART=$(BUILD)/soak.png $(BUILD)/tests/soak/soak

.PHONY: fuzz fuzzers deps-fuzz soak bench-http deps-bench-http check-http test-threads
fuzzers: $(patsubst %.c,$(BUILD)/%.fuzzer,$(FUZZ_SRC))

.PHONY: accuracy
ACCURACY_FLAGS ?=# e.g. --only ruled; tests/accuracy/accuracy.c tells all
accuracy: deps data ## measure what is read right, by kind of picture
	$(call install,$(PACKAGES_FONTS))
	$(QUIET)$(MAKE) --no-print-directory $(BUILD)/tests/accuracy/accuracy
	$(BUILD)/tests/accuracy/accuracy --data $(DATA) --weights $(WEIGHTS) $(ACCURACY_FLAGS)

.PHONY: claims
claims: deps data ## what is said of capsules, measured: poses, parts, couplings, rounds (tests/claims/)
	$(call install,python3 python3-pil)
	$(QUIET)$(MAKE) --no-print-directory all
	@/usr/bin/python3 -B tests/claims/claims.py --program $(BUILD)/capsnetd --weights $(WEIGHTS) --data $(DATA)

data: ## bring MNIST into data/ and check it
	@model/train/fetch_mnist.sh $(DATA)

clean: ## remove build/
	rm -rf build

# ---- Shipping ---------------------------------------------------------------
ENGINE   ?= $(firstword $(foreach e,docker podman,$(if $(shell command -v $(e)),$(e))))# builds and runs images
IMAGE    ?= capsnetd
PLATFORM ?=#          e.g. linux/arm64
# What an image's files are dated; the same sources then give the same image.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
REVISION = $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
IMAGE_FLAGS = $(if $(PLATFORM),--platform $(PLATFORM)) --build-arg REVISION=$(REVISION) \
              --build-arg SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) \
              $(if $(findstring podman,$(ENGINE)),--format docker --timestamp $(SOURCE_DATE_EPOCH))

.PHONY: image
image: ## build the container images, the server's and the trainer's
	$(ENGINE) build $(IMAGE_FLAGS) -t $(IMAGE):$(VERSION) -t $(IMAGE):latest .
	$(ENGINE) build $(IMAGE_FLAGS) --target trainer -t capsnet-train:$(VERSION) .

.PHONY: image-test
image-test: ## build the images and exercise them with the engine at hand
	@IMAGE=$(IMAGE):$(VERSION) TRAINER=capsnet-train:$(VERSION) VERSION=$(VERSION) REVISION=$(REVISION) \
	    EPOCH=$(SOURCE_DATE_EPOCH) tests/deploy/with-engine.sh tests/deploy/image.sh

.PHONY: compose-test
compose-test: ## bring up deploy/compose.yaml, kill and restart replicas under load
	@VERSION=$(VERSION) tests/deploy/with-engine.sh tests/deploy/compose.sh

.PHONY: deploy-check
deploy-check: all $(MAN) ## check manifests, compose, Dockerfile, rules, dashboard, unit, man pages
	@BUILD=$(BUILD) WEIGHTS=$(WEIGHTS) VERSION=$(VERSION) tests/deploy/check.sh

.PHONY: cves
cves: $(BUILD)/capsnetd build/tools/debsecan ## list known vulnerabilities of what the image holds
	$(call install,python3-apt)
	@PATH="$(CURDIR)/build/tools:$$PATH" ENGINE=$(ENGINE) sh deploy/cves.sh $(BUILD)/capsnetd \
	    $(if $(ENGINE),$(shell $(ENGINE) image inspect $(IMAGE):$(VERSION) >/dev/null 2>&1 && echo $(IMAGE):$(VERSION)))

# A release: sources, programs, bill of materials, checksums.  The same commit and
# packages give the same bytes.
DIST  := build/dist
TAR    = tar --sort=name --mtime=@$(SOURCE_DATE_EPOCH) --owner=0 --group=0 --numeric-owner -c
DEBARCH = $(shell dpkg --print-architecture 2>/dev/null || echo $(ARCH))
.PHONY: dist
dist: all ## make a release in build/dist/: sources, programs, SBOM, checksums
	@git diff --quiet HEAD -- || echo "note: the source tarball has the last commit, without your changes since"
	$(QUIET)rm -rf $(DIST) $(MAN) && mkdir -p $(DIST)/tmp
	$(QUIET)git archive --prefix=capsnetd-$(VERSION)/ HEAD | gzip -9n > $(DIST)/capsnetd-$(VERSION).tar.gz
	$(QUIET)$(MAKE) -s install prefix=/usr/local DESTDIR=$(DIST)/tmp/capsnetd-$(VERSION)
	$(QUIET)strip $(DIST)/tmp/capsnetd-$(VERSION)/usr/local/bin/*
	$(QUIET)cp LICENSE README.md CHANGELOG.md $(DIST)/tmp/capsnetd-$(VERSION)/
	$(QUIET)$(TAR) -C $(DIST)/tmp capsnetd-$(VERSION) | gzip -9n > $(DIST)/capsnetd-$(VERSION)-linux-$(DEBARCH).tar.gz
	$(QUIET)sh deploy/rootfs.sh $(DIST)/tmp/capsnetd-$(VERSION)/usr/local/bin/capsnetd $(DIST)/tmp/1 $(MODEL_FILES)
	$(QUIET)sh deploy/rootfs.sh $(DIST)/tmp/capsnetd-$(VERSION)/usr/local/bin/capsnet-train $(DIST)/tmp/2
	$(QUIET)deploy/sbom.py $(VERSION) $(SOURCE_DATE_EPOCH) $(DIST)/tmp/1 $(DIST)/tmp/2 > $(DIST)/capsnetd-$(VERSION).spdx.json
	$(QUIET)rm -rf $(DIST)/tmp && cd $(DIST) && sha256sum capsnetd-* > SHA256SUMS && ls -l

# Set DESTDIR to install into a package's folder, prefix to install elsewhere.
prefix  ?= /usr/local
DESTDIR ?=
INSTALLED = bin/capsnetd bin/capsnet-train share/man/man8/capsnetd.8 \
            share/man/man1/capsnet-train.1 $(patsubst %,share/capsnetd/%,$(notdir $(MODEL_FILES)))
UNIT = $(DESTDIR)$(if $(filter /usr,$(prefix)),/usr/lib,/etc)/systemd/system/capsnetd.service
SOCKET_UNIT = $(UNIT:.service=.socket)

MAN := $(BUILD)/capsnetd.8 $(BUILD)/capsnet-train.1
$(BUILD)/capsnetd.8: $(BUILD)/capsnetd
$(BUILD)/capsnet-train.1: $(BUILD)/capsnet-train
$(MAN): $(BUILD)/%: deploy/man/%.in deploy/man/options.sh
	$(call say,MAN)
	$(QUIET)deploy/man/options.sh $< $(VERSION) $(SOURCE_DATE_EPOCH) $(filter $(BUILD)/%,$^) > $@

.PHONY: install uninstall
install: all $(MAN) ## install programs, weights, man pages and the systemd unit
	install -D -m 755 $(BUILD)/capsnetd $(DESTDIR)$(prefix)/bin/capsnetd
	install -D -m 755 $(BUILD)/capsnet-train $(DESTDIR)$(prefix)/bin/capsnet-train
	install -D -m 644 $(BUILD)/capsnetd.8 $(DESTDIR)$(prefix)/share/man/man8/capsnetd.8
	install -D -m 644 $(BUILD)/capsnet-train.1 $(DESTDIR)$(prefix)/share/man/man1/capsnet-train.1
	install -D -m 644 -t $(DESTDIR)$(prefix)/share/capsnetd $(MODEL_FILES)
	install -d $(dir $(UNIT))
	sed 's|/usr/local|$(prefix)|g' deploy/systemd/capsnetd.service > $(UNIT)
	install -m 644 deploy/systemd/capsnetd.socket $(SOCKET_UNIT)
	[ -e $(DESTDIR)/etc/default/capsnetd ] || \
	    install -D -m 644 deploy/systemd/capsnetd.default $(DESTDIR)/etc/default/capsnetd

uninstall: ## remove what install made; /etc/default/capsnetd stays if it was changed
	rm -f $(addprefix $(DESTDIR)$(prefix)/,$(INSTALLED)) $(UNIT) $(SOCKET_UNIT)
	! cmp -s deploy/systemd/capsnetd.default $(DESTDIR)/etc/default/capsnetd || \
	    rm -f $(DESTDIR)/etc/default/capsnetd
	-rmdir $(DESTDIR)$(prefix)/share/capsnetd

# ---- Packages ---------------------------------------------------------------
PACKAGES       := gcc libc6-dev pkg-config libmicrohttpd-dev libgnutls28-dev libcjson-dev libpng-dev \
                  zlib1g-dev libopenblas-pthread-dev $(if $(MPI),libopenmpi-dev openmpi-bin)
PACKAGES_CHECK := $(PACKAGES) libcmocka-dev libcurl4-gnutls-dev
PACKAGES_TEST   = $(PACKAGES_CHECK) libopenmpi-dev openmpi-bin $(PACKAGES_BROWSER)
PACKAGES_ARM64 := gcc-aarch64-linux-gnu pkg-config \
                  $(addsuffix :arm64,$(filter lib%,$(PACKAGES)) zlib1g-dev libcmocka-dev)
PACKAGES_FUZZ  := $(PACKAGES) clang libclang-rt-14-dev
PACKAGES_BROWSER = fonts-liberation \
    $(if $(shell command -v chromium chromium-browser google-chrome),,chromium) \
    $(if $(shell command -v node),,nodejs) $(if $(shell command -v npm),,npm)

PACKAGES_FONTS := $(patsubst %,fonts-%,liberation dejavu dkg-handwriting breip humor-sans klee kristi ecolier-court)

PACKAGES_DEPLOY = $(PACKAGES) git mandoc python3 python3-apt shellcheck systemd yamllint \
    $(if $(shell command -v node),,nodejs) $(if $(shell command -v npm),,npm)

# $(call install,PACKAGES): says what is missing and installs it, through sudo
# when not root.  Where there is no dpkg it only says what is needed.
define install
	@if ! command -v dpkg >/dev/null; then \
	    echo "not a Debian system: make sure that you have the equivalents of: $(1)"; exit 0; fi; \
	native=$$(dpkg --print-architecture); \
	missing=$$(for p in $(1); do \
	    case $$p in *:*) arch=$${p#*:} ;; *) arch=$$native ;; esac; \
	    dpkg-query -W -f '$${db:Status-Status} $${Architecture}\n' $$p 2>/dev/null | \
	        grep -qE "^installed (all|$$arch)$$" || printf '%s ' $$p; done); \
	[ -z "$$missing" ] && exit 0; \
	echo "missing packages: $$missing"; echo "installing them with apt-get"; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	$$sudo apt-get update -qq && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing
endef

deps: ## install the packages that building needs
	$(call install,$(PACKAGES))

# Whatever browser and node are there already will do.
deps-test: ## install what the tests need: a test library, OpenMPI, Chromium with node, promtool
	$(call install,$(PACKAGES_TEST))
	$(QUIET)$(MAKE) --no-print-directory tests/browser/node_modules/.package-lock.json \
	    $(if $(shell command -v promtool),,build/tools/promtool)

tests/browser/node_modules/.package-lock.json: tests/browser/package-lock.json
	cd $(@D)/.. && npm ci --no-audit --no-fund && touch node_modules/.package-lock.json

.PHONY: deps-deploy
deps-deploy: ## install what deploy-check needs: linters, promtool, validators
	$(call install,$(PACKAGES_DEPLOY))
	$(QUIET)$(MAKE) --no-print-directory build/tools/debsecan \
	    $(if $(shell command -v prometheus),,build/tools/prometheus)
	cd tests/deploy && npm ci --no-audit --no-fund

# Unpacked rather than installed: the packages would start a Prometheus and a cron job here.
unpack = cd $(@D) && { apt-get download -qq $1 || { apt-get update -qq && apt-get download -qq $1; }; } \
         && dpkg-deb --fsys-tarfile $1_*.deb | tar -x --strip-components=3 $(patsubst %,./usr/bin/%,$2)
build/tools/promtool build/tools/prometheus &:
	@mkdir -p $(@D)
	$(call unpack,prometheus,promtool prometheus)
build/tools/debsecan:
	@mkdir -p $(@D)
	$(call unpack,debsecan,debsecan)

deps-bench-peers: deps ## install ONNX Runtime, OpenVINO and PyTorch from PyPI in build/peers: 3 GB to download
	$(call install,python3 python3-venv g++)
	$(QUIET)$(MAKE) --no-print-directory build/peers/installed

build/peers/installed: tests/bench/peers/requirements.txt
	python3 -m venv build/peers
	build/peers/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

deps-bench-http: ## install wrk
	$(call install,$(PACKAGES_CHECK) wrk)

deps-qemu: ## install QEMU's emulators of other CPUs
	$(call install,$(PACKAGES_CHECK) qemu-user curl)

deps-arm64: deps-qemu ## install a cross compiler for arm64, and arm64's libraries beside this machine's
	@[ -n "$(filter arm64,$(shell dpkg --print-foreign-architectures))" ] || \
	    $$([ "$$(id -u)" = 0 ] || echo sudo) dpkg --add-architecture arm64
	$(call install,$(PACKAGES_ARM64))

deps-fuzz: ## install the packages that the fuzzers need
	$(call install,$(PACKAGES_FUZZ))

# ---- Rules ------------------------------------------------------------------
FLAGS_STAMP := $(BUILD)/flags
FLAGS_TEXT   = $(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(LDFLAGS_ALL) $(KERNEL_FLAGS) $(LEVELS)

# Also the first to run: says what is missing before a compiler complains about it.
.PHONY: FORCE
$(FLAGS_STAMP): FORCE
	@missing=$$(command -v $(firstword $(CC)) >/dev/null || echo gcc; \
	if ! command -v pkg-config >/dev/null; then echo pkg-config; else \
	    for p in $(NEEDED); do $(PKG_CONFIG) --exists $${p%%:*} || echo $${p#*:}; done; fi); \
	[ -z "$$missing" ] || { echo "not installed:" $$missing"; \`make deps\` installs what building needs" >&2; exit 1; }
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(FLAGS_TEXT))' | cmp -s - $@ || \
	 printf '%s\n' '$(subst ','\'',$(FLAGS_TEXT))' > $@

$(BUILD)/%.o: %.c $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(call say,CC)
	$(QUIET)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# The page's files, which the compiler does not see through .incbin.
$(BUILD)/server/answers/web_page.o: $(wildcard server/web/*)

# The fuzz targets compute at level ref; sanitizing the others' unrolled loops takes clang
# minutes a file.
unsanitized = $(if $(filter-out ref,$1),$(if $(findstring fuzzer,$(SANITIZE)),-fno-sanitize=all))
define kernel_rule
$(BUILD)/model/kernels/%_$(1).o: model/kernels/%.c $(FLAGS_STAMP)
	@mkdir -p $$(@D)
	$$(call say,CC)
	$$(QUIET)$$(CC) $$(CPPFLAGS_ALL) $$(CFLAGS_ALL) $$(KERNEL_FLAGS) $$(LEVEL_$(1)) $$(call unsanitized,$(1)) \
	    -DKERNEL_LEVEL=$(1:openblas=ref) -DPRODUCT_LEVEL=$(1) -MMD -MP -c -o $$@ $$<
endef
$(foreach level,$(LEVELS) openblas,$(eval $(call kernel_rule,$(level))))

$(BUILD)/libcapsnet.a: $(MODEL_OBJ)
$(BUILD)/libshared.a: $(SHARED_OBJ)
$(BUILD)/libtrain.a: $(TRAIN_OBJ)
$(BUILD)/libserver.a: $(SERVER_OBJ)
$(BUILD)/%.a:
	$(call say,AR)
	$(QUIET)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/capsnetd: $(BUILD)/server/main.o $(BUILD)/libserver.a $(BUILD)/libshared.a $(BUILD)/libcapsnet.a
	$(call say,LD)
	$(QUIET)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_SERVER) $(LIBS_MODEL)

$(BUILD)/capsnet-train: $(BUILD)/model/train/main.o $(BUILD)/libtrain.a $(BUILD)/libshared.a $(BUILD)/libcapsnet.a
	$(call say,LD)
	$(QUIET)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_TRAIN) $(LIBS_MODEL)

$(UNIT_BIN): $(BUILD)/%: $(BUILD)/%.o $(UNIT_COMMON) $(BUILD)/libserver.a $(BUILD)/libtrain.a $(BUILD)/libshared.a $(BUILD)/libcapsnet.a
	$(call say,LD)
	$(QUIET)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_SERVER) $(LIBS_TRAIN) $(LIBS_MODEL) \
	    $(shell $(PKG_CONFIG) --libs cmocka)

$(HTTP_BIN) $(BUILD)/tests/soak/soak $(BUILD)/tests/faults/test_faults $(BUILD)/tests/faults/test_machine: $(BUILD)/%: $(BUILD)/%.o $(HTTP_COMMON) $(BUILD)/libserver.a $(BUILD)/libtrain.a $(BUILD)/libshared.a $(BUILD)/libcapsnet.a
	$(call say,LD)
	$(QUIET)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS_SERVER) $(LIBS_TRAIN) $(LIBS_MODEL) \
	    $(shell $(PKG_CONFIG) --libs cmocka libcurl)

$(BUILD)/tests/http/test_canvas: $(BUILD)/tests/common/temp_folder.o
$(BUILD)/tests/soak/soak: $(patsubst %,$(BUILD)/tests/soak/%.o,samples traffic)
$(BUILD)/tests/faults/test_faults: | $(BUILD)/tests/faults/fail_alloc.so
$(BUILD)/tests/faults/test_machine: | $(BUILD)/tests/faults/bad_machine.so
$(BUILD)/tests/faults/%.so: tests/faults/%.c $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(call say,LD)
	$(QUIET)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -shared -fPIC -o $@ $<

FUZZ_LIBS := $(BUILD)/libserver.a $(BUILD)/libshared.a $(BUILD)/libcapsnet.a
$(REPLAY_BIN): $(BUILD)/%: $(BUILD)/%.o $(FUZZ_COMMON) $(BUILD)/tests/fuzz/replay.o $(FUZZ_LIBS)
	$(call say,LD)
	$(QUIET)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_SERVER) $(LIBS_MODEL)

$(BUILD)/%.fuzzer: $(BUILD)/%.o $(FUZZ_COMMON) $(FUZZ_LIBS)
	$(call say,LD)
	$(QUIET)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $^ $(LIBS_SERVER) $(LIBS_MODEL)

# The yardstick of speed, and the same in double precision, that of answers.
# Its plain loops may use all that the products beside them use.
YARDSTICK_FLAGS := $(KERNEL_FLAGS) -fopenmp-simd
$(BUILD)/tests/bench/yardstick.o $(BUILD)/tests/bench/yardstick_double.o: private CFLAGS += $(YARDSTICK_FLAGS)
$(BUILD)/tests/bench/yardstick_double.o: tests/bench/yardstick.c $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(call say,CC)
	$(QUIET)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -DYARDSTICK_DOUBLE -MMD -MP -c -o $@ $<

# A training step's calls into primary.c go through tests/bench/im2col.c.
$(BUILD)/tests/bench/train: $(BUILD)/tests/bench/im2col.o
$(BUILD)/tests/bench/train $(BUILD)/tests/bench/infer: $(BUILD)/tests/bench/yardstick.o
$(patsubst %,$(BUILD)/tests/bench/%,infer answers plan): $(BUILD)/tests/bench/variants.o
$(BUILD)/tests/bench/infer: $(BUILD)/tests/bench/phases.o
$(patsubst %,$(BUILD)/tests/bench/%,infer plan train machine): $(BUILD)/tests/bench/peaks.o
$(BUILD)/tests/bench/answers: $(BUILD)/tests/bench/yardstick_double.o
$(BUILD)/tests/bench/train: private LDFLAGS += $(patsubst %,-Wl$(comma)--wrap=primary_%,spectral backward input_gradient)
$(BUILD)/tests/bench/engine: $(BUILD)/libshared.a
$(patsubst %,$(BUILD)/tests/bench/%,engine contender): %: %.o $(BUILD)/libcapsnet.a
	$(call say,LD)
	$(QUIET)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS_TRAIN) $(LIBS_MODEL)

$(patsubst %,$(BUILD)/tests/bench/%,infer answers plan train machine): %: %.o $(BUILD)/tests/bench/bench.o $(BUILD)/libtrain.a $(BUILD)/libshared.a $(BUILD)/libcapsnet.a
	$(call say,LD)
	$(QUIET)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS_TRAIN) $(LIBS_MODEL)

$(BUILD)/tests/accuracy/accuracy: $(call object,$(wildcard tests/accuracy/*.c)) $(BUILD)/libserver.a $(BUILD)/libtrain.a $(BUILD)/libshared.a $(BUILD)/libcapsnet.a
	$(call say,LD)
	$(QUIET)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_SERVER) $(LIBS_TRAIN) $(LIBS_MODEL)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
