# The recipe at demo scale, stage by stage, in order; run by `make demo`. Each stage is a public command, and is skipped
# when what it writes is there already: `make demo` after an interruption goes on where it stopped (training from its
# last.ckpt), after `rm -rf runs/demo` it starts over. Order-only prerequisites (behind |) say what a stage needs.
# A training run is finished when `done` stands in its folder: best_checkpoint is there long before.
.DELETE_ON_ERROR:  # no half table
PICO := .venv/bin/picochat
RUN  := runs/demo
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

demo: $(COMPARED)/capability/table.txt $(COMPARED)/release/table.txt $(COMPARED)/kept/table.txt
	@echo && echo 'What the capability stage taught (capability rows, held-out problems):'
	@cat $(COMPARED)/capability/table.txt
	@echo && echo 'Two ways to a release, on release rows:'
	@cat $(COMPARED)/release/table.txt
	@echo && echo 'Two ways to a release, on capability rows: what each kept'
	@cat $(COMPARED)/kept/table.txt

# 1. corpus
$(DATA):
	$(PICO) data import --source stories --documents 20000 --out-dir $(RUN)/data

# 2. task packs: skills with an anchor of behaviour; behaviour alone
$(SKILL_CHAT): | $(DATA)
	$(PICO) data task-pack --dataset-pack $(DATA) --out-dir $(@D) --profile capability \
	    --sft-rows 60000 --eval-rows 3100 --source offline --skill-answer-style scratchpad --no-promote

$(RELEASE_CHAT): | $(DATA)
	$(PICO) data task-pack --dataset-pack $(DATA) --out-dir $(@D) --profile release \
	    --sft-rows 8000 --eval-rows 1400 --source offline --no-promote

# 3. tokenizer: bytes, and the words of the training rows that spare the most tokens; all other words stay letters (a demo
# has no time to learn which letters stand behind a merged token)
$(TOK): | $(SKILL_CHAT)
	$(PICO) tok train --input $(SKILL_CHAT) --vocab-size 768 --whole-words --out $@

# 4. base: language, nothing else
$(RUN)/base/done: | $(TOK)
	$(PICO) train base --dataset-pack $(DATA) --tokenizer $(TOK) --out-dir $(@D) \
	    $(ROWS) --steps 150 --val-fraction 0.005 --eval-every 150 $(call go_on,$(@D))
	@touch $@

# 5. capability SFT from the base. The stages of all skills are drawn by the square roots of their sizes, which gives the
# many small ones of refusal a share to be learnt by
$(RUN)/capability/done: | $(RUN)/base/done $(SKILL_CHAT)
	$(PICO) train sft --input $(SKILL_CHAT) --eval-input $(SKILL_EVAL) --tokenizer $(TOK) --checkpoint $(BASE) \
	    --out-dir $(@D) $(MUON) --learning-rate 0.004 --steps 2200 --sampling category_sqrt --sampling-tag stage \
	    --val-fraction 0.01 --eval-every 2200 $(call go_on,$(@D))
	@touch $@

# 6. release SFT, twice: from the base, and from the capability checkpoint
RELEASE_SFT = $(PICO) train sft --input $(RELEASE_CHAT) --eval-input $(RELEASE_EVAL) --tokenizer $(TOK) --out-dir $(@D) \
    $(MUON) --learning-rate 0.0005 --steps 150 --val-fraction 0.02 --eval-every 150 $(call go_on,$(@D))

$(RUN)/release-from-base/done: | $(RUN)/base/done $(RELEASE_CHAT)
	$(RELEASE_SFT) --checkpoint $(BASE)
	@touch $@

$(RUN)/release-from-capability/done: | $(RUN)/capability/done $(RELEASE_CHAT)
	$(RELEASE_SFT) --checkpoint $(SKILL)
	@touch $@

# 7. evaluation: every model answers the same held-out rows, 192 at a time (no reply depends on it, and it takes two
# thirds of the time of 64)
ANSWER = $(PICO) eval chat --batch-size 192 --checkpoint $(RUN)/$*/best_checkpoint --out-dir $(@D)

$(EVAL)/capability-rows/%/eval_report.json: | $(RUN)/%/done $(SKILL_CHAT)
	$(ANSWER) --input $(SKILL_EVAL) --max-new-tokens 160

$(EVAL)/release-rows/%/eval_report.json: | $(RUN)/%/done $(RELEASE_CHAT)
	$(ANSWER) --input $(RELEASE_EVAL)

# 8. comparisons, lane by lane, paired
skills = $(foreach model,$1,$(EVAL)/capability-rows/$(model)/eval_report.json)
release = $(foreach model,$1,$(EVAL)/release-rows/$(model)/eval_report.json)

TABLE = --out-dir $(@D) --force >$@

$(COMPARED)/capability/table.txt: | $(call skills,base capability)
	@mkdir -p $(@D)
	$(PICO) eval compare $(EVAL)/capability-rows/base $(EVAL)/capability-rows/capability $(TABLE)

$(COMPARED)/release/table.txt: | $(call release,release-from-base release-from-capability)
	@mkdir -p $(@D)
	$(PICO) eval compare $(EVAL)/release-rows/release-from-base $(EVAL)/release-rows/release-from-capability $(TABLE)

$(COMPARED)/kept/table.txt: | $(call skills,base capability release-from-base release-from-capability)
	@mkdir -p $(@D)
	$(PICO) eval compare $(EVAL)/capability-rows/release-from-base $(EVAL)/capability-rows/release-from-capability \
	    --before $(EVAL)/capability-rows/base --peak $(EVAL)/capability-rows/capability $(TABLE)
