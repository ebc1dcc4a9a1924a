## Usage: make TARGET [VARIABLE=value ...]
##
## Targets
##   demo        all three experiments in short, on drawings; needs no photos (3 minutes)
##   data        the article's 2,800 photos, in data/
##   scratch     experiment 1: a small convnet from scratch (article: 0.79-0.81)
##   bottleneck  experiment 2: a classifier on VGG16's bottleneck features (0.90-0.91)
##   finetune    experiment 3: VGG16's last block fine-tuned (0.94)
##   best        beyond the article: VGG16 as it was trained, a kernel classifier (0.99)
##   choose      how best's settings were chosen, inside the training photos (20 minutes)
##   efficiency  accuracy with 25 to 500 training photos a class (an hour)
##   predict     the class of each photo in PHOTOS, by the best model at hand
##   evaluate    how good that model is on PHOTOS, a folder with CLASS/ subfolders
##   app         a page on this computer: drop a photo, see its class by each model in
##               WEIGHTS, or by MODEL, and where the network looked
##   original    the article's experiments in Keras 1.0.4 itself, on Python 2.7, with
##               each seed (hours)
##   reproduce   all three with each seed, then their results beside the article's
##   report      your runs beside the article's and the published ones
##   publish     for maintainers: your runs on the article's pictures into results/,
##               README.md and results/README.md filled anew
##   crossval    one experiment, trained and tested on all photos in turn
##   bench       the speed beside a plain port of the article's scripts (an hour)
##   preview     20 augmented versions of one photo, in preview/
##   test        the tests
##   help        this text
##   clean       removes weights, features, checkpoints, demo/ and preview/;
##               photos, records of runs, .venv/ and .venv-2016/ stay
##
## Variables (also from the environment)
##   PYTHON         the Python, 3.11 to 3.13, to create .venv/ with (python3)
##   PYTHON27       the Python 2.7 for original (python2.7)
##   ARCHIVE        an archive or folder of Dogs vs. Cats that you have already
##   VGG16_WEIGHTS  VGG16's weights file, if you have it already; remembered
##   DATA           another folder with train/CLASS/ and validation/CLASS/, or with
##                  CLASS/ alone, of which a fifth is then to validate on (data)
##   WEIGHTS        where models are (weights; for DATA=my_photos weights/my_photos)
##   PHOTOS         what predict and evaluate look at: photos, folders
##   MODEL          a model's file for predict and evaluate (the best in WEIGHTS) and for app
##   PORT           where app is: http://127.0.0.1:PORT (8501)
##   TOP            how many classes of each photo predict tells (1)
##   CSV            a file for predict to write them to, too
##   EPOCHS         for the experiments named on the command line (50)
##   BATCH_SIZE     for the experiments named on the command line (32)
##   SEED           of everything random (0)
##   SEEDS          how many seeds reproduce and original take, from SEED on (1)
##   EXPERIMENT     what crossval does: scratch, bottleneck or finetune (bottleneck)
##   FOLDS          parts into which crossval divides the photos (5)
##   DRAWS          how many sets of photos of each size efficiency draws (3)
##   RECIPE         faithful: all is computed as in 2016; as-printed: as today;
##                  as-printed-CHANGE: faithful but for shear, axes, centre,
##                  interpolation, resizing, loss or epsilon;
##                  constants: as far as constants can restore it (faithful)
##   PRECISION      float32 or mixed_bfloat16 (what the processor does best)
##   DISTRIBUTE     1: scratch and finetune train on all GPUs of this machine ()

PYTHON ?= python3
PYTHON27 ?= python2.7
ARCHIVE ?=
VGG16_WEIGHTS ?=
DATA ?= data
EPOCHS ?= 50
BATCH_SIZE ?= 32
SEED ?= 0
SEEDS ?= 1
EXPERIMENT ?= bottleneck
FOLDS ?= 5
DRAWS ?= 3
RECIPE ?= faithful
PRECISION ?=
WEIGHTS ?=
PHOTOS ?=
MODEL ?=
PORT ?= 8501
TOP ?= 1
CSV ?=
DISTRIBUTE ?=
# Not every shell expands the ~ of VARIABLE=~/folder.
tilde = $(if $(filter ~/%,$(firstword $(1))),$(HOME)/$(patsubst ~/%,%,$(1)),$(1))
override ARCHIVE := $(call tilde,$(ARCHIVE))
override VGG16_WEIGHTS := $(call tilde,$(VGG16_WEIGHTS))
override DATA := $(call tilde,$(DATA))
override WEIGHTS := $(call tilde,$(WEIGHTS))
# Recipes read them from the environment, where blanks and quotes do no harm.
export ARCHIVE VGG16_WEIGHTS DATA EPOCHS BATCH_SIZE SEED EXPERIMENT FOLDS DRAWS RECIPE PRECISION
export PYTHON27 SEEDS WEIGHTS PHOTOS MODEL PORT TOP CSV

# Another data set than data/ has a folder of its own for its outputs, as in folders.py, and
# one for what they were made with.
quoted = '$(subst ','\'',$(1))'
ifeq ($(WEIGHTS),)
override WEIGHTS := weights$(shell data=$$(realpath -- $(call quoted,$(DATA))) && [ "$$data" != "$$(realpath data)" ] && \
  printf / && basename -- "$$data" | LC_ALL=C tr -c 'A-Za-z0-9._\n-' _)
endif
ifneq ($(words $(WEIGHTS)),1)
$(error WEIGHTS=$(WEIGHTS): make can't have blanks in it)
endif
MADE := .made/$(WEIGHTS)

ifneq ($(filter-out float32 mixed_bfloat16,$(PRECISION)),)
$(error PRECISION=$(PRECISION): must be float32 or mixed_bfloat16)
endif
ifneq ($(filter-out 1,$(DISTRIBUTE)),)
$(error DISTRIBUTE=$(DISTRIBUTE): must be 1 or nothing)
endif
CHANGES := shear axes centre interpolation resizing loss epsilon
RECIPES := faithful as-printed constants $(CHANGES:%=as-printed-%)
ifneq ($(filter-out $(RECIPES),$(RECIPE)),)
$(error RECIPE=$(RECIPE): must be one of $(RECIPES))
endif

.DEFAULT_GOAL := help
.NOTPARALLEL: # each training uses all cores by itself
.PHONY: help demo data scratch bottleneck finetune best choose efficiency predict evaluate app original reproduce report publish crossval bench preview test clean FORCE

help:
	@sed -n 's/^## \{0,1\}//p' Makefile

# The environment. The copy of requirements.txt is made last: it tells a whole .venv.
VENV := .venv/requirements.txt
RUN := .venv/bin/python

$(VENV): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "error: $(PYTHON) is not Python 3.11, 3.12 or 3.13; name one: make PYTHON=..." >&2; exit 2; }
	@[ ! -L .venv ] || { echo "error: .venv is a link, and what it leads to would be emptied; remove it" >&2; exit 2; }
	$(PYTHON) -m venv --clear .venv
	$(RUN) -m pip install --disable-pip-version-check -r requirements.txt \
	  $(if $(shell command -v nvidia-smi 2>/dev/null),'tensorflow[and-cuda]')
	cp requirements.txt $@

# What an output was made with, as a file of its own that changes only when its text
# does: an output is made again when its variables, photos or files have changed.
.made/%: FORCE
	@mkdir -p $(@D)
	@text=$$($(text)); [ -f $@ ] && [ "$$text" = "$$(cat $@)" ] || printf '%s\n' "$$text" > $@

contents = find -L $(1) -type f $(2) -exec cksum {} + 2>&1 | sort | cksum
.made/archive: text = $(call contents,"$$ARCHIVE")
.made/vgg16: text = $(call contents,"$$VGG16_WEIGHTS")
$(MADE)/inputs-%: text = echo "DATA=$$DATA SEED=$$SEED RECIPE=$$RECIPE PRECISION=$$PRECISION$(call distribute,$(patsubst inputs-%,%,$(@F)))"; $(call contents,"$$DATA",$(photos))
photos = \( -iname '*.jp*g' -o -iname '*.png' -o -iname '*.bmp' -o -iname '*.ppm' -o -iname '*.tif*' \)
# EPOCHS and BATCH_SIZE are for the experiments that are named on the command line:
# `make finetune EPOCHS=3` does not train the classifier below it anew with 3 epochs.
$(MADE)/options-%: text = $(if $(call named,$(patsubst options-%,%,$(@F))),echo "$$EPOCHS $$BATCH_SIZE",cat $@ 2>/dev/null || echo $(UNNAMED))
# What an experiment that is not named has: the scripts' own defaults.
UNNAMED := 50 32
named = $(filter $(1),$(MAKECMDGOALS))

# Photos: of data/ only, the rest is the user's. ARCHIVE counts where it is given.
data: data/photos.json

PREPARED := $(and $(wildcard data/train/*/*),$(wildcard data/validation/*/*),$(if $(wildcard data/.replacement),,whole))
data/photos.json: $(if $(PREPARED),,FORCE) $(if $(ARCHIVE),.made/archive) | $(VENV)
	$(RUN) scripts/data.py $(if $(ARCHIVE),"$$ARCHIVE")

# Photos in data/ that make did not put there, without photos.json, are used as they are.
ifeq ($(DATA),data)
ifneq ($(ARCHIVE)$(if $(PREPARED),$(wildcard data/photos.json),prepare),)
READY := data/photos.json
endif
endif

# Experiments.
EVERYWHERE := $(wildcard scripts/common/*.py)
SCRATCH := $(WEIGHTS)/first_try.weights.h5
BOTTLENECK := $(WEIGHTS)/bottleneck_fc_model.weights.h5
FINETUNE := $(WEIGHTS)/fine_tuned.weights.h5
BEST := $(WEIGHTS)/best.weights.h5
SHEET := preview/contact_sheet.jpg

# Scripts write them whole or not at all; make need not delete them when interrupted.
.PRECIOUS: $(SCRATCH) $(BOTTLENECK) $(FINETUNE) $(BEST) $(SHEET) data/photos.json

$(MADE)/inputs-scratch $(MADE)/inputs-bottleneck $(MADE)/inputs-finetune $(MADE)/inputs-best $(MADE)/inputs-preview: $(READY)

recipe = $(if $(filter-out faithful,$(RECIPE)),--recipe "$$RECIPE")
settings = --data "$$DATA" $(weights) --seed "$$SEED" $(recipe) $(precision) \
  $(if $(call named,$(1)),--epochs "$$EPOCHS" --batch-size "$$BATCH_SIZE")
weights = $(if $(filter-out weights,$(WEIGHTS)),--weights "$$WEIGHTS")
distribute = $(if $(and $(DISTRIBUTE),$(filter %scratch %finetune,$(1))), --distribute)
precision = $(if $(PRECISION),--precision "$$PRECISION")
vgg16 = $(if $(VGG16_WEIGHTS),--vgg16-weights "$$VGG16_WEIGHTS")

scratch: $(SCRATCH)
bottleneck: $(BOTTLENECK)
finetune: $(FINETUNE)
best: $(BEST)
preview: $(SHEET)

$(SCRATCH): scripts/scratch.py $(EVERYWHERE) $(MADE)/inputs-scratch $(MADE)/options-scratch | $(VENV)
	$(RUN) scripts/scratch.py $(call settings,scratch)$(call distribute,scratch)

# The features, bottleneck_features_{train,validation}.npy, are made by the same command.
$(BOTTLENECK): scripts/bottleneck.py $(EVERYWHERE) $(MADE)/inputs-bottleneck \
  $(MADE)/options-bottleneck $(if $(VGG16_WEIGHTS),.made/vgg16) | $(VENV)
	$(if $(call named,bottleneck),,@echo $(UNNAMED) > $(MADE)/options-bottleneck)
	$(RUN) scripts/bottleneck.py $(call settings,bottleneck) $(vgg16)

$(FINETUNE): scripts/finetune.py $(BOTTLENECK) $(MADE)/inputs-finetune $(MADE)/options-finetune | $(VENV)
	$(RUN) scripts/finetune.py $(call settings,finetune) $(vgg16)$(call distribute,finetune)

$(BEST): scripts/best.py $(EVERYWHERE) $(MADE)/inputs-best \
  $(if $(VGG16_WEIGHTS),.made/vgg16) | $(VENV)
	$(RUN) scripts/best.py --data "$$DATA" $(weights) --seed "$$SEED" $(precision) $(vgg16)

$(SHEET): scripts/preview.py $(EVERYWHERE) $(MADE)/inputs-preview | $(VENV)
	$(RUN) scripts/preview.py "$$DATA/train" --seed "$$SEED" $(recipe)

# Each seed's three runs leave a file when they are done, so that an interrupted reproduction
# goes on where it was. The last number of SEEDS and SEED is refused here if it is none.
seeds := $(shell seq "$(SEED)" $$(($(SEED) + $(SEEDS) - 1)) 2>/dev/null)
$(MADE)/inputs-reproduce: text = echo "DATA=$$DATA RECIPE=$$RECIPE PRECISION=$$PRECISION EPOCHS=$$EPOCHS BATCH_SIZE=$$BATCH_SIZE"; $(call contents,"$$DATA",$(photos))
$(MADE)/inputs-reproduce: $(READY)
reproduced := $(seeds:%=$(MADE)/seed-%)
$(reproduced): $(MADE)/seed-%: $(MADE)/inputs-reproduce scripts/scratch.py scripts/bottleneck.py \
  scripts/finetune.py $(EVERYWHERE) $(if $(VGG16_WEIGHTS),.made/vgg16) | $(VENV)
	$(MAKE) scratch bottleneck finetune SEED=$*
	@touch $@

original: $(READY) | $(VENV)
	$(RUN) scripts/original.py --data "$$DATA" $(weights) $(vgg16) --python27 "$$PYTHON27" --seed "$$SEED" --seeds "$$SEEDS" \
	  --epochs "$$EPOCHS"

reproduce: $(if $(seeds),$(reproduced),$(error SEEDS=$(SEEDS), SEED=$(SEED): must be whole numbers, SEEDS at least 1)) report

report: $(VENV)
	@$(RUN) scripts/report.py --data "$$DATA" $(weights)

publish: $(VENV)
	$(RUN) scripts/report.py --publish --data "$$DATA" $(weights)

crossval: $(READY) | $(VENV)
	$(RUN) scripts/crossval.py "$$EXPERIMENT" --folds "$$FOLDS" --data "$$DATA" $(weights) --seed "$$SEED" \
	  $(recipe) $(precision) --epochs "$$EPOCHS" --batch-size "$$BATCH_SIZE" $(vgg16)

choose: $(READY) | $(VENV)
	$(RUN) scripts/choose.py --data "$$DATA" $(weights) --seed "$$SEED" $(precision) $(vgg16)

# VGG16's features of the photos drawn are parts of those of all photos.
efficiency: $(BOTTLENECK) $(BEST) | $(VENV)
	$(RUN) scripts/efficiency.py --data "$$DATA" $(weights) --seed "$$SEED" --draws "$$DRAWS" \
	  $(recipe) $(precision) --epochs "$$EPOCHS" --batch-size "$$BATCH_SIZE" $(vgg16)

use = --data "$$DATA" $(weights) $(if $(MODEL),--model "$$MODEL") $(vgg16)
needs_photos = @[ -n "$$PHOTOS" ] || { echo 'error: name the photos: make $@ PHOTOS=$(1)' >&2; exit 2; }

# PHOTOS is cut at its blanks; the script itself takes names with blanks.
predict: | $(VENV)
	$(call needs_photos,"a.jpg folder/")
	@$(RUN) scripts/predict.py $(use) --top "$$TOP" $(if $(CSV),--csv "$$CSV") -- $$PHOTOS

evaluate: | $(VENV)
	$(call needs_photos,folder/)
	@$(RUN) scripts/evaluate.py $(use) -- "$$PHOTOS"

# What the page needs beyond requirements.txt, whose versions stay; made last, as .venv's.
APP := .venv/requirements-app.txt
$(APP): requirements-app.txt $(VENV)
	$(RUN) -m pip install --disable-pip-version-check -c requirements.txt -r requirements-app.txt
	cp requirements-app.txt $@

app: $(APP)
	@$(RUN) scripts/app.py $(use) --port "$$PORT"

bench: $(READY) | $(VENV)
	$(RUN) scripts/bench.py --data "$$DATA" $(precision) $(vgg16) --output "$$WEIGHTS/bench.json"

# An epoch of fine-tuning shows what there is to see, and is most of the time without bfloat16.
# The demo has a folder of its own and starts from nothing each time. Without VGG16's
# weights, given or in Keras's cache, it does with a VGG16 that never saw a photo.
DEMO := --data demo/drawings --weights demo/weights --seed "$$SEED" $(recipe) $(precision)
CACHED := $(HOME)/.keras/models/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5
DEMO_VGG16 := --vgg16-weights $(if $(VGG16_WEIGHTS),"$$VGG16_WEIGHTS",$(if $(wildcard $(CACHED)),imagenet,random))

demo: $(VENV)
	rm -rf demo
	$(RUN) scripts/draw.py demo/drawings
	$(RUN) scripts/scratch.py $(DEMO) --epochs 15
	$(RUN) scripts/bottleneck.py $(DEMO) --epochs 15 $(DEMO_VGG16)
	$(RUN) scripts/finetune.py $(DEMO) --epochs 1 $(DEMO_VGG16)
	@echo
	@echo "These numbers are about 300 drawings made by a program, not about photos. Where it says"
	@echo "\"VGG16 random\", it has never seen a photo: do not expect more of it than of the small convnet."
	@$(RUN) scripts/report.py --data demo/drawings --weights demo/weights

test: $(VENV)
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m pytest

clean:
	find weights -mindepth 1 ! -type d ! -name README.md ! -name photos.txt ! -name '*.jsonl' ! -name choice.json ! -name bench.json -delete
	find weights -mindepth 1 -type d -empty -delete
	rm -rf demo preview .partial-* .made .pytest_cache .ruff_cache scripts/__pycache__ scripts/common/__pycache__ tests/__pycache__
