## Usage: make TARGET [VARIABLE=value ...]
##
## Targets
##   demo        all three experiments in short, on drawings; needs no photos (3 minutes)
##   data        the article's 2,800 photos, in data/
##   scratch     experiment 1: a small convnet from scratch (article: 0.79-0.81)
##   bottleneck  experiment 2: a classifier on VGG16's bottleneck features (0.90-0.91)
##   finetune    experiment 3: VGG16's last block fine-tuned (0.94)
##   reproduce   all three with each seed, then their results beside the article's
##   report      your runs beside the article's and the published ones
##   best        beyond the article: VGG16 fed as it was trained, 0.99 in a few minutes
##   predict     the class of each photo in PHOTOS, by the best model at hand
##   evaluate    how good that model is on PHOTOS, a folder with CLASS/ subfolders
##   export      that model as one .keras file that needs nothing from here
##   app         a page on this computer: each model's answer for a photo that you drop there
##   preview     20 augmented versions of one photo, in preview/
##   crossval    one experiment, trained and tested on all photos in turn
##   efficiency  accuracy with 25 to 500 training photos per class (an hour)
##   choose      how best's settings were chosen, inside the training photos (20 minutes)
##   bench       the speed beside a plain port of the article's scripts (an hour)
##   original    the article's experiments in Keras 1.0.4 itself, on Python 2.7 (hours)
##   publish     for maintainers: your runs into results/, both READMEs filled anew
##   test        the tests
##   clean       removes what was made here but photos, records, .venv*/ and the link to VGG16
##
## Variables (also from the environment); where one isn't given, the default in brackets
##   DATA           a folder with CLASS/, or train/CLASS/ and validation/CLASS/ (data)
##   WEIGHTS        where models go (weights; for DATA=my_photos weights/my_photos)
##   ARCHIVE        an archive or folder of Dogs vs. Cats that you have already, for data
##   VGG16_WEIGHTS  VGG16's weights file, if you have it already; remembered
##   EPOCHS, BATCH_SIZE  for the experiments named on the command line (50, 32)
##   SEED, SEEDS    of everything random (0); how many reproduce and original take (1)
##   RECIPE         faithful: as in 2016; as-printed: in today's meaning; README.md tells more
##   PRECISION      float32 or mixed_bfloat16 (what the processor does best)
##   DISTRIBUTE     1: scratch and finetune train on all GPUs of this machine
##   PHOTOS         what predict looks at: photos and folders, without blanks in their names;
##                  for evaluate, a folder; for preview, a photo
##   MODEL          a model's file for predict, evaluate, export, app (the best at hand)
##   EXPERIMENT     for crossval: scratch, bottleneck, finetune or best (bottleneck); for
##                  efficiency: scratch, bottleneck or best (all three)
##   PYTHON, PYTHON27    to create .venv/ with, 3.11 to 3.13 (python3); for original (python2.7)
##   ARGS           more of the script's options: make finetune ARGS="--one-more-block"

PYTHON ?= python3
# Recipes read these from the environment, where blanks and quotes do no harm.
VARIABLES := DATA WEIGHTS ARCHIVE VGG16_WEIGHTS EPOCHS BATCH_SIZE SEED SEEDS RECIPE PRECISION \
  PHOTOS MODEL EXPERIMENT PYTHON27
export $(VARIABLES)
given := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
unknown := $(filter-out $(VARIABLES) PYTHON DISTRIBUTE ARGS -%,$(given))
$(if $(unknown),$(error no such variable: $(unknown); make alone lists them))
option = $(if $($(1)),--$(2) "$$$(1)")
folders = $(call option,DATA,data) $(call option,WEIGHTS,weights)
run = $(folders) $(call option,SEED,seed) $(call option,PRECISION,precision)
recipe = $(call option,RECIPE,recipe)
vgg16 = $(call option,VGG16_WEIGHTS,vgg16-weights)
steps = $(call option,EPOCHS,epochs) $(call option,BATCH_SIZE,batch-size)
devices = $(if $(DISTRIBUTE),--distribute)
.NOTPARALLEL: # each training uses all cores by itself
.PHONY: help demo data scratch bottleneck finetune reproduce report best predict evaluate \
  export app preview crossval efficiency choose bench original publish test clean
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

# The article's photos, for all that is not done with others. Photos that are there stay.
data: $(VENV)
	$(RUN) scripts/data.py $(if $(ARCHIVE),"$$ARCHIVE")
READY := $(VENV) $(if $(filter-out data,$(DATA)),,data)
# The experiments. Each script sees by itself whether its model is up to date.
with-scratch = scripts/scratch.py $(run) $(recipe) $(devices)
with-bottleneck = scripts/bottleneck.py $(run) $(recipe) $(vgg16)
with-finetune = scripts/finetune.py $(run) $(recipe) $(vgg16) $(devices)
scratch: $(READY)
	$(RUN) $(with-scratch) $(steps) --unless made $(ARGS)
bottleneck: $(READY)
	$(RUN) $(with-bottleneck) $(steps) --unless made $(ARGS)
# It starts from bottleneck's classifier, whatever its epochs, that is fed with the same.
finetune: $(READY)
	$(RUN) $(with-bottleneck) --unless usable $(filter --preprocessing imagenet,$(ARGS))
	$(RUN) $(with-finetune) $(steps) --unless made $(ARGS)
best: $(READY)
	$(RUN) scripts/best.py $(run) $(vgg16) --unless made $(ARGS)

# Seeds whose three runs are recorded are done. The last number is refused here if it is none.
seeds := $(shell seq "$(or $(SEED),0)" $$(($(or $(SEED),0) + $(or $(SEEDS),1) - 1)) 2>/dev/null)
reproduce: $(or $(seeds:%=reproduce-%),$(error SEEDS=$(SEEDS), SEED=$(SEED): must be whole numbers, SEEDS at least 1)) report
reproduce-%: $(READY)
	@$(foreach script,scratch bottleneck finetune,$(RUN) $(with-$(script)) $(steps) --seed $* --is-recorded &&) : || \
	  $(MAKE) scratch bottleneck finetune SEED=$*
report: $(VENV)
	@$(RUN) scripts/report.py $(folders) $(ARGS)
publish: $(VENV)
	$(RUN) scripts/report.py --publish $(folders) $(ARGS)

use = $(folders) $(call option,MODEL,model) $(vgg16) $(ARGS)
photos = $(if $(PHOTOS),-- $(1),$(error name the photos: make $@ PHOTOS="a.jpg folder/"))
predict: $(VENV)  # PHOTOS is cut at its blanks; the script itself takes names with blanks
	@$(RUN) scripts/predict.py $(use) $(call photos,$$PHOTOS)
evaluate: $(VENV)
	@$(RUN) scripts/evaluate.py $(use) $(call photos,"$$PHOTOS")
export: $(VENV)
	@$(RUN) scripts/export.py $(use)
app: .venv/requirements-app.txt
	@$(RUN) scripts/app.py $(use)
# What the page needs beyond requirements.txt, whose versions stay; made last, as .venv's.
.venv/requirements-app.txt: requirements-app.txt $(VENV)
	$(RUN) -m pip install --disable-pip-version-check -c requirements.txt -r requirements-app.txt
	cp requirements-app.txt $@

preview: $(if $(PHOTOS),$(VENV),$(READY))
	$(RUN) scripts/preview.py $(if $(PHOTOS),"$$PHOTOS",$(if $(DATA),"$$DATA")) $(call option,SEED,seed) $(recipe) $(ARGS)
crossval: $(READY)
	$(RUN) scripts/crossval.py $(if $(EXPERIMENT),"$$EXPERIMENT") $(run) $(recipe) $(steps) $(vgg16) $(ARGS)
# The features of the photos drawn are parts of those of all photos. A wrong EXPERIMENT is refused
# before these are made.
efficiency: $(if $(filter efficiency,$(MAKECMDGOALS)),$(if $(filter-out scratch bottleneck best,$(EXPERIMENT)),$(error EXPERIMENT=$(EXPERIMENT): must be scratch, bottleneck or best))) $(READY)
	$(if $(filter scratch best,$(EXPERIMENT)),,$(RUN) $(with-bottleneck) --unless usable)
	$(if $(filter scratch bottleneck,$(EXPERIMENT)),,$(RUN) scripts/best.py $(run) $(vgg16) --unless made)
	$(RUN) scripts/efficiency.py $(run) $(recipe) $(steps) $(vgg16) $(call option,EXPERIMENT,experiment) $(ARGS)
choose: $(READY)
	$(RUN) scripts/choose.py $(run) $(vgg16) $(ARGS)
bench: $(READY)
	$(RUN) scripts/bench.py $(folders) $(call option,PRECISION,precision) $(vgg16) $(ARGS)
original: $(READY)
	$(RUN) scripts/original.py $(folders) $(call option,SEED,seed) $(call option,SEEDS,seeds) \
	  $(call option,EPOCHS,epochs) $(call option,PYTHON27,python27) $(vgg16) $(ARGS)
# The demo has a folder of its own and starts from nothing each time; an epoch of fine-tuning
# shows what there is to see. Where VGG16's weights are not at hand, it has random ones.
cached := $(wildcard $(HOME)/.keras/models/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5)
drawings := DATA=demo/drawings WEIGHTS=demo/weights VGG16_WEIGHTS="$${VGG16_WEIGHTS:-$(if $(cached),imagenet,random)}"
demo: $(VENV)
	rm -rf demo
	$(RUN) scripts/draw.py demo/drawings
	$(MAKE) scratch bottleneck $(drawings) EPOCHS=15
	$(MAKE) finetune $(drawings) EPOCHS=1
	@echo; echo '300 drawings, not photos.$(if $(or $(filter-out random,$(VGG16_WEIGHTS)),$(if $(VGG16_WEIGHTS),,$(cached))),, "VGG16 random" is untrained, so the last two do badly; give VGG16_WEIGHTS.)'
	@$(RUN) scripts/report.py --data demo/drawings --weights demo/weights

test: $(VENV)
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m pytest $(ARGS)
clean:
	find weights -mindepth 1 ! -type d ! -name README.md ! -name photos.txt ! -name '*.jsonl' ! -name choice.json ! -name bench.json ! -name vgg16.h5 -delete
	find weights -mindepth 1 -type d -empty -delete
	rm -rf demo preview .partial-* .pytest_cache .ruff_cache scripts/__pycache__ scripts/common/__pycache__ tests/__pycache__
