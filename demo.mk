# The recipe at demo scale, stage by stage, in order; run by `make demo`, and by `make demo-full` with more steps and eval
# rows (the README's table) in runs/demo-full. Each stage is a public command, and is skipped when what it writes is there
# already: `make demo` after an interruption goes on where it stopped (training from its last.ckpt), after
# `rm -rf runs/demo` it starts over. Order-only prerequisites (after |) say what a stage needs.
# A training run is finished when `done` stands in its folder: best_checkpoint is there long before.
.DELETE_ON_ERROR:  # no half table
PICO := .venv/bin/picochat
RUN  := runs/demo
# the wait policy of picochat's own commands, for expect.py
export GOMP_SPINCOUNT ?= 1000
# optimizer steps of each training stage, and eval rows of each pack
BASE_STEPS := 100
SKILL_STEPS := 1800
RELEASE_STEPS := 75
SKILL_ROWS := 1200
RELEASE_ROWS := 600
# --sealed: held-out problems by a salt drawn at random, which no choice can have looked at; both packs take the same one
SEALED :=
SALT = $(if $(SEALED),--split-salt $$(sed -n 's/.*"split_salt": "\(.*\)".*/\1/p' $(RUN)/capability-pack/task_mixture_capability.json))
DATA := $(RUN)/data/dataset_pack.json
TOK  := $(RUN)/tokenizer.json
BASE := $(RUN)/base/best_checkpoint
SKILL := $(RUN)/capability/best_checkpoint
SKILL_CHAT := $(RUN)/capability-pack/chat_task_mixture_capability.jsonl
SKILL_EVAL := $(RUN)/capability-pack/eval_task_mixture_capability.jsonl
RELEASE_CHAT := $(RUN)/release-pack/chat_task_mixture_release.jsonl
RELEASE_EVAL := $(RUN)/release-pack/eval_task_mixture_release.jsonl
EVAL := $(RUN)/eval

ROWS := --batch-size 8 --context-length 256
MUON := --optimizer muon --min-lr-ratio 0.02 $(ROWS)  # at this scale it learns faster than the recipe's AdamW
# how to go on in a run folder: from its last.ckpt, or from the start
go_on = $(if $(wildcard $1/last.ckpt),--resume-from $1/last.ckpt,--force)

COMPARED := $(RUN)/comparison

TRAINED := $(DATA) $(SKILL_CHAT) $(TOK) $(RELEASE_CHAT) \
    $(foreach run,base capability release-from-base release-from-capability,$(RUN)/$(run)/done)
ANSWERED := $(foreach run,base capability release-from-base release-from-capability,$(EVAL)/capability-rows/$(run)/eval_report.json) \
    $(foreach run,release-from-base release-from-capability,$(EVAL)/release-rows/$(run)/eval_report.json)
TABLES := $(foreach table,capability release kept,$(COMPARED)/$(table)/table.txt)
STAGES := $(TRAINED) $(ANSWERED) $(TABLES)
# what is left to do: stages, training steps and replies
LEFT := $(filter-out $(wildcard $(STAGES)),$(STAGES))
left = $(words $(filter $1,$(LEFT)))
STEPS = $(shell echo $$(($(call left,%/base/done) * $(BASE_STEPS) + $(call left,%/capability/done) * $(SKILL_STEPS) \
    + ($(call left,%/release-from-base/done) + $(call left,%/release-from-capability/done)) * $(RELEASE_STEPS))))
REPLIES = $(shell echo $$(($(call left,$(EVAL)/capability-rows/%) * $(SKILL_ROWS) \
    + $(call left,$(EVAL)/release-rows/%) * $(RELEASE_ROWS))))
# $(call stage,what it does): its number among STAGES, which are built in this order
stage = @printf '\n== stage %d of $(words $(STAGES)): $1\n' $$(printf '%s\n' $(STAGES) | grep -nxF $@ | cut -d: -f1)

demo: expected $(TRAINED) answered $(TABLES)
	@echo && echo 'What the capability stage taught (capability rows, held-out problems):'
	@cat $(COMPARED)/capability/table.txt
	@echo && echo 'Two ways to a release, on release rows:'
	@cat $(COMPARED)/release/table.txt
	@echo && echo 'Two ways to a release, on capability rows: what each kept'
	@cat $(COMPARED)/kept/table.txt
	@echo && echo 'One run of each. `make study-release` repeats both ways with three seeds, with intervals over seeds and problems.'
	@echo && echo 'Next:' && echo '  source .venv/bin/activate' && echo '  picochat chat --checkpoint $(SKILL)' && \
	    echo '  picochat board $(RUN)'

# two evaluations at a time, each with half the cores: the second imports and scores while the first computes
answered: | $(TRAINED)
	@$(if $(filter $(ANSWERED),$(LEFT)),OMP_NUM_THREADS=$$(( ($$(getconf _NPROCESSORS_ONLN) + 1) / 2 )) \
	    $(MAKE) --no-print-directory --file $(firstword $(MAKEFILE_LIST)) --jobs 2 --output-sync=target \
	    $(filter $(ANSWERED),$(LEFT)))

.PHONY: demo expected answered study study-release
expected:
	@-$(if $(LEFT),.venv/bin/python benchmarks/expect.py --steps $(STEPS) --replies $(REPLIES) --commands $(words $(LEFT)))

# 1. corpus
$(DATA):
	$(call stage,corpus)
	$(PICO) data import --source stories --documents 20000 --out-dir $(RUN)/data

# 2. task packs: skills with an anchor of behaviour; behaviour alone
$(SKILL_CHAT): | $(DATA)
	$(call stage,capability task pack)
	$(PICO) data task-pack --dataset-pack $(DATA) --out-dir $(@D) --profile capability \
	    --sft-rows 60000 --eval-rows $(SKILL_ROWS) --source offline --skill-answer-style scratchpad --no-promote $(SEALED)

$(RELEASE_CHAT): | $(DATA) $(SKILL_CHAT)
	$(call stage,release task pack)
	$(PICO) data task-pack --dataset-pack $(DATA) --out-dir $(@D) --profile release \
	    --sft-rows 8000 --eval-rows $(RELEASE_ROWS) --source offline --no-promote $(SALT)

# 3. tokenizer: bytes, and the words of the training rows that spare the most tokens; all other words stay letters (a demo
# has no time to learn which letters stand behind a merged token)
$(TOK): | $(SKILL_CHAT)
	$(call stage,tokenizer)
	$(PICO) tok train --input $(SKILL_CHAT) --vocab-size 768 --whole-words --out $@

# 4. base: language, nothing else
$(RUN)/base/done: | $(TOK)
	$(call stage,base pretraining ($(BASE_STEPS) steps))
	$(PICO) train base --dataset-pack $(DATA) --tokenizer $(TOK) --out-dir $(@D) \
	    $(ROWS) --steps $(BASE_STEPS) --val-fraction 0.005 --eval-every $(BASE_STEPS) $(call go_on,$(@D))
	@touch $@

# 5. capability SFT from the base. The stages of all skills are drawn by the square roots of their sizes, which gives the
# many small ones of refusal a share to be learnt by; products of two digits by one, the longest scratchpads, get 8 % of the
# draws in place of 3.5 (docs/experiments.md)
$(RUN)/capability/done: | $(RUN)/base/done $(SKILL_CHAT)
	$(call stage,capability SFT ($(SKILL_STEPS) steps))
	$(PICO) train sft --input $(SKILL_CHAT) --eval-input $(SKILL_EVAL) --tokenizer $(TOK) --checkpoint $(BASE) \
	    --out-dir $(@D) $(MUON) --learning-rate 0.004 --steps $(SKILL_STEPS) --sampling category_sqrt --sampling-tag stage \
	    --shares '{"two_digits": 0.08}' --val-fraction 0.01 --eval-every $(SKILL_STEPS) $(call go_on,$(@D))
	@touch $@

# 6. release SFT, twice: from the base, and from the capability checkpoint
RELEASE_SFT = $(PICO) train sft --input $(RELEASE_CHAT) --eval-input $(RELEASE_EVAL) --tokenizer $(TOK) --out-dir $(@D) \
    $(MUON) --learning-rate 0.0005 --steps $(RELEASE_STEPS) --val-fraction 0.02 --eval-every $(RELEASE_STEPS) $(call go_on,$(@D))

$(RUN)/release-from-base/done: | $(RUN)/base/done $(RELEASE_CHAT)
	$(call stage,release SFT of the base ($(RELEASE_STEPS) steps))
	$(RELEASE_SFT) --checkpoint $(BASE)
	@touch $@

$(RUN)/release-from-capability/done: | $(RUN)/capability/done $(RELEASE_CHAT)
	$(call stage,release SFT of the capability checkpoint ($(RELEASE_STEPS) steps))
	$(RELEASE_SFT) --checkpoint $(SKILL)
	@touch $@

# 7. evaluation: every model answers the same held-out rows, 192 at a time (no reply depends on it, and it takes two
# thirds of the time of 64)
ANSWER = $(PICO) eval chat --batch-size 192 --checkpoint $(RUN)/$*/best_checkpoint --out-dir $(@D)

$(EVAL)/capability-rows/%/eval_report.json: | $(RUN)/%/done $(SKILL_CHAT)
	$(call stage,$* answers $(SKILL_ROWS) capability rows)
	$(ANSWER) --input $(SKILL_EVAL) --max-new-tokens 160

$(EVAL)/release-rows/%/eval_report.json: | $(RUN)/%/done $(RELEASE_CHAT)
	$(call stage,$* answers $(RELEASE_ROWS) release rows)
	$(ANSWER) --input $(RELEASE_EVAL)

# 8. comparisons, lane by lane, paired
skills = $(foreach model,$1,$(EVAL)/capability-rows/$(model)/eval_report.json)
release = $(foreach model,$1,$(EVAL)/release-rows/$(model)/eval_report.json)

TABLE = --out-dir $(@D) --force >$@

$(COMPARED)/capability/table.txt: | $(call skills,base capability)
	$(call stage,comparison of base and capability)
	@mkdir -p $(@D)
	$(PICO) eval compare $(EVAL)/capability-rows/base $(EVAL)/capability-rows/capability $(TABLE)

$(COMPARED)/release/table.txt: | $(call release,release-from-base release-from-capability)
	$(call stage,comparison of the two releases)
	@mkdir -p $(@D)
	$(PICO) eval compare $(EVAL)/release-rows/release-from-base $(EVAL)/release-rows/release-from-capability $(TABLE)

$(COMPARED)/kept/table.txt: | $(call skills,base capability release-from-base release-from-capability)
	$(call stage,comparison of what each release kept)
	@mkdir -p $(@D)
	$(PICO) eval compare $(EVAL)/capability-rows/release-from-base $(EVAL)/capability-rows/release-from-capability \
	    --before $(EVAL)/capability-rows/base --peak $(EVAL)/capability-rows/capability $(TABLE)

# studies: which lane does what (an hour on two cores), and two ways to a release with three seeds each
study: | $(RUN)/base/done
	$(PICO) study run configs/study/capability.yaml

study-release: | $(RUN)/base/done $(RELEASE_CHAT)
	@mkdir -p $(RUN)/study && cat $(RELEASE_EVAL) $(SKILL_EVAL) >$(RUN)/study/eval.jsonl
	$(PICO) study run configs/study/release.yaml
