# The recipe at demo scale, stage by stage, in order; run by `make demo`. Each stage is a public command, and is skipped
# when what it writes is there already: `make demo` after an interruption goes on where it stopped (training from its
# last.ckpt), after `rm -rf runs/demo` it starts over. Order-only prerequisites (behind |) say what a stage needs.
# A training run is finished when `done` stands in its folder: best_checkpoint is there long before.
PICO := .venv/bin/picochat
RUN  := runs/demo
DATA := $(RUN)/data/dataset_pack.json
BASE := $(RUN)/base/best_checkpoint
SKILL := $(RUN)/capability/best_checkpoint
EVAL := $(RUN)/capability-pack/eval_task_mixture_capability.jsonl

# how to go on in a run folder: from its last.ckpt, or from the start
go_on = $(if $(wildcard $1/last.ckpt),--resume-from $1/last.ckpt,--force)

demo: $(RUN)/comparison/comparison.md
	@$(PICO) eval compare $(RUN)/eval/base $(RUN)/eval/capability

# 1. corpus
$(DATA):
	$(PICO) data import --source stories --documents 20000 --out-dir $(RUN)/data

# 2. tokenizer
$(RUN)/tokenizer.json: | $(DATA)
	$(PICO) tok train --dataset-pack $(DATA) --vocab-size 320 --out $@

# 3. base: language, nothing else
$(RUN)/base/done: | $(RUN)/tokenizer.json
	$(PICO) train base --dataset-pack $(DATA) --tokenizer $(RUN)/tokenizer.json --out-dir $(RUN)/base \
	    --optimizer muon --learning-rate 0.004 --min-lr-ratio 0.02 --steps 150 \
	    $(call go_on,$(@D))
	@touch $@

# 4. task pack: the capability mixture
$(RUN)/capability-pack/chat_task_mixture_capability.jsonl: | $(DATA)
	$(PICO) data task-pack --dataset-pack $(DATA) --out-dir $(RUN)/capability-pack --profile capability \
	    --sft-rows 60000 --eval-rows 2400 --source offline --skill-answer-style scratchpad --no-promote

# 5. SFT from the base
$(RUN)/capability/done: | $(RUN)/base/done $(RUN)/capability-pack/chat_task_mixture_capability.jsonl
	$(PICO) train sft --input $(RUN)/capability-pack/chat_task_mixture_capability.jsonl --eval-input $(EVAL) \
	    --tokenizer $(RUN)/tokenizer.json --checkpoint $(BASE) --out-dir $(RUN)/capability \
	    --optimizer muon --learning-rate 0.004 --min-lr-ratio 0.02 --lr-warmup-steps 20 --steps 1600 --batch-size 16 \
	    --val-fraction 0.02 --eval-every 400 $(call go_on,$(@D))
	@touch $@

# 6. evaluation: base and capability answer the same held-out rows
$(RUN)/eval/base/eval_report.json: | $(RUN)/base/done $(RUN)/capability-pack/chat_task_mixture_capability.jsonl
	$(PICO) eval chat --input $(EVAL) --checkpoint $(BASE) --out-dir $(@D)

$(RUN)/eval/capability/eval_report.json: | $(RUN)/capability/done
	$(PICO) eval chat --input $(EVAL) --checkpoint $(SKILL) --out-dir $(@D)

# 7. comparison, lane by lane, paired
$(RUN)/comparison/comparison.md: | $(RUN)/eval/base/eval_report.json $(RUN)/eval/capability/eval_report.json
	$(PICO) eval compare $(RUN)/eval/base $(RUN)/eval/capability --out-dir $(@D)
