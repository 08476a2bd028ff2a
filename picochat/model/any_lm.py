"""Any causal LM of transformers, with its own chat template. In: its name or folder. Out: an `evidence.Answerer`."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from tqdm import tqdm

from picochat.errors import UserError, one_line
from picochat.model.engine import DTYPES, Decoding, Precision, Reply, pick_device
from picochat.packs.rows import Message


class AnyLM:
    """A model of transformers in memory, of a folder or of the hub; UserError where it has no chat template."""

    def __init__(self, name: str, decoding: Decoding, *, device: str, precision: Precision) -> None:
        try:
            from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
        except ImportError as error:
            raise UserError("--hf needs transformers; install picochat[hf]") from error
        place = pick_device(device)
        try:
            # of any class of transformers, whose types say little
            self.tokenizer = cast("Any", AutoTokenizer.from_pretrained(name, padding_side="left"))
            self.model = cast("Any", AutoModelForCausalLM.from_pretrained(name, dtype=DTYPES[precision]))
        except (OSError, ValueError, KeyError, ImportError) as error:  # a tokenizer may need another package
            raise UserError(f"--hf {name} cannot be loaded: {one_line(str(error))}") from error
        if not self.tokenizer.chat_template:
            raise UserError(f"--hf {name} has no chat template: use a model that was fine-tuned for chat")
        self.model.to(place)
        self.model.eval()
        self.decoding = decoding
        self.provenance = {"name": name, "commit": getattr(self.model.config, "_commit_hash", None)}
        ends = self.model.generation_config.eos_token_id or self.tokenizer.eos_token_id
        self._ends: list[int] = ends if isinstance(ends, list) else [ends]
        # without a penalty of its makers', which `decoding` lacks
        self.model.generation_config = cast("Any", GenerationConfig)()
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    @torch.inference_mode()
    def reply(self, conversations: Sequence[Sequence[Message]]) -> list[Reply]:
        """Generate one reply to each conversation."""
        own, prompts = self.decoding, [self._ids(messages) for messages in conversations]
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        sampled = {"temperature": own.temperature, "top_k": own.top_k or 0, "top_p": own.top_p or 1.0}
        torch.manual_seed(own.seed)
        replies: dict[int, Reply] = {}
        for start in tqdm(range(0, len(order), own.batch_size), desc="answering"):
            indices = order[start : start + own.batch_size]
            batch = self.tokenizer.pad({"input_ids": [prompts[index] for index in indices]}, return_tensors="pt")
            made = self.model.generate(
                **batch.to(self.model.device),
                max_new_tokens=own.max_new_tokens,
                eos_token_id=self._ends,
                pad_token_id=self.tokenizer.pad_token_id,
                do_sample=own.temperature > 0,
                **(sampled if own.temperature > 0 else {}),
            )
            new = made[:, batch["input_ids"].shape[1] :].tolist()
            replies.update(zip(indices, map(self._reply, new), strict=True))
        return [replies[index] for index in range(len(prompts))]

    @torch.inference_mode()
    def choice_scores(
        self, conversations: Sequence[Sequence[Message]], labels: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """The log-likelihood of each label, with the end of the turn, as the reply, in nats."""
        scores = []
        for messages, names in zip(conversations, labels, strict=True):
            own, prompt = [], self._ids(messages)
            for label in names:
                choice = self._choice(messages, prompt, label)
                ids = torch.tensor([prompt + choice], device=self.model.device)
                shares = self.model(ids).logits[0, len(prompt) - 1 : -1].double().log_softmax(-1)
                own.append(float(shares[range(len(choice)), choice].sum()))
            scores.append(own)
        return scores

    def _choice(self, messages: Sequence[Message], prompt: list[int], label: str) -> list[int]:
        """A label as the template writes it after the prompt, with the end of the turn."""
        whole = self._ids([*messages, {"role": "assistant", "content": label}], prompt=False)
        end = next((place for place in range(len(prompt), len(whole)) if whole[place] in self._ends), None)
        if whole[: len(prompt)] == prompt and end is not None:
            return whole[len(prompt) : end + 1]
        return [*self.tokenizer.encode(label, add_special_tokens=False), self._ends[0]]

    def _ids(self, messages: Sequence[Message], *, prompt: bool = True) -> list[int]:
        try:
            text = self.tokenizer.apply_chat_template(list(messages), add_generation_prompt=prompt, tokenize=False)
        except Exception as error:  # jinja2's, or what the template raises itself: no system turns, say
            asked = f"the row that asks {messages[-1]['content'][:60]!r}"
            raise UserError(f"{asked} does not fit the model's chat template: {one_line(str(error))}") from error
        return cast("list[int]", self.tokenizer.encode(text, add_special_tokens=False))

    def _reply(self, ids: list[int]) -> Reply:
        end = next((place for place, token in enumerate(ids) if token in self._ends), None)
        ids = ids if end is None else ids[: end + 1]
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        return Reply(ids, text, self.tokenizer.decode(ids), end is not None)
