"""Answerers without a model, and the making of eval rows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from picochat.evidence.evaluation import Evaluation, Model, RowFile
from picochat.evidence.lanes import Prediction
from picochat.evidence.scoring import Policy
from picochat.model.engine import Reply
from picochat.packs.rows import Message, Row

HOSTILE = [
    "<script>alert(1)</script>",
    "</pre></article><script src=https://evil.example/x.js></script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "<!-- --><svg/onload=alert(1)>",
    "&lt;script&gt;",
    "\x00\x1b[31m\u202e\ud800",
    "javascript:alert(1)",
]


@dataclass(frozen=True)
class Parrot:
    """Says what `speak` makes of the last user turn; likes the first label best."""

    speak: Callable[[str], str]

    def reply(self, conversations: Sequence[Sequence[Message]]) -> list[Reply]:
        texts = [self.speak(messages[-1]["content"]) for messages in conversations]
        return [Reply([], text, f"{text}<|end|>", True) for text in texts]

    def choice_scores(
        self, conversations: Sequence[Sequence[Message]], labels: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        return [[math.log(1 / (place + 1)) for place in range(len(names))] for names in labels]


def ask(prompt: str, **fields: Any) -> Row:
    return {"messages": [{"role": "user", "content": prompt}], **fields}


def eval_row(prompt: str, category: str, benchmark_profile: str, **fields: object) -> Row:
    return {
        "id": f"row-{prompt}",
        **ask(prompt),
        "category": category,
        "stage": fields.pop("stage", "one"),
        "phrasing": fields.pop("phrasing", "known"),
        "mixture_profile": "capability",
        "mixture_component": "weak_skills" if benchmark_profile == "weak_skills" else "behavior_anchor",
        "mixture_benchmark_profile": benchmark_profile,
        **fields,
    }


def perfect(prompt: str) -> str:
    """What a perfect student says to the prompts of `rows`."""
    if prompt.endswith("+ 2?"):
        a = int(prompt[0])
        return f"{a} + 2 = {a + 2}\nFinal answer: {a + 2}"
    if prompt.startswith("Who"):
        return "I am Picochat."
    return "I have no clock." if prompt.startswith("What time") else " ".join(prompt)


def complete(predictions: Sequence[Prediction], folder: str = "runs/x/best_checkpoint") -> Evaluation:
    """An evaluation of a model that there is not."""
    settings = {"max_new_tokens": 256, "temperature": 0.0, "top_k": None, "top_p": None, "seed": 42}
    provenance = {"stage": "sft", "inputs": {"chat": "ef"}}
    source = RowFile("eval.jsonl", "ab" * 32, len(predictions))
    policy = Policy.of([one.tags for one in predictions])
    return Evaluation(source, Model(folder, "cd" * 32, provenance), settings, predictions, policy)
