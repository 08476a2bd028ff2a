"""How the turns of a conversation are written. In: a tokenizer's control tokens. Out: a turn format, and its chat
template. Next: tokenizer.

    picochat    <|bos|><|user|>What is 2 + 3?<|end|><|assistant|>Final answer: 5<|end|>
    ChatML      <|im_start|>user\\nWhat is 2 + 3?<|im_end|>\\n<|im_start|>assistant\\nFinal answer: 5<|im_end|>\\n
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from picochat.errors import UserError

SPECIAL_TOKENS = ("<|bos|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class TurnFormat:
    """``start``; for each message ``opening`` (with its role), content, ``end``, ``after``."""

    start: str
    opening: str
    end: str
    after: str
    pad: str
    document_start: str
    document_end: str

    def chat_template(self) -> str:
        """The Jinja template with the same result; one line, because some renderers keep line breaks."""
        # Programs that read the template also read control tokens inside a message: there it must refuse them, or a
        # user could end their turn and write the assistant's. picochat's own `render` takes them as text.
        written = " ".join((self.start, *(self.opening.format(role=role) for role in ROLES), self.end, self.pad))
        control = sorted({*re.findall(r"<\|\w+\|>", written + self.document_end)})
        before, after = (json.dumps(part) for part in self.opening.split("{role}"))
        closing = json.dumps(self.end + self.after)
        return (
            (f"{{{{ {json.dumps(self.start)} }}}}" if self.start else "")
            + "{% for message in messages %}"
            + f"{{% if message['role'] not in {json.dumps(ROLES)} %}}"
            + "{{ raise_exception('unknown role ' + message['role']) }}{% endif %}"
            + f"{{% for token in {json.dumps(control)} %}}{{% if token in message['content'] %}}"
            + "{{ raise_exception('a message holds the control token ' + token) }}{% endif %}{% endfor %}"
            + f"{{{{ {before} + message['role'] + {after} + message['content'] + {closing} }}}}"
            + "{% endfor %}{% if add_generation_prompt %}"
            + f"{{{{ {before} + 'assistant' + {after} }}}}"
            + "{% endif %}"
        )


PICOCHAT = TurnFormat("<|bos|>", "<|{role}|>", "<|end|>", "", "<|pad|>", "<|bos|>", "<|end|>")
CHATML = TurnFormat("", "<|im_start|>{role}\n", "<|im_end|>", "\n", "<|endoftext|>", "", "<|endoftext|>")


def turn_format(special: Collection[str], origin: str) -> TurnFormat:
    """The format that a tokenizer's control tokens serve.

    Raises:
        UserError: none that picochat knows; ``origin`` names the tokenizer.
    """
    if {*SPECIAL_TOKENS} <= {*special}:
        return PICOCHAT
    if {"<|im_start|>", "<|im_end|>"} <= {*special}:
        end = CHATML.document_end if CHATML.document_end in special else CHATML.end
        return replace(CHATML, pad=end, document_end=end)
    found = ", ".join(sorted(special)[:8]) or "none"
    expected = f"{' '.join(SPECIAL_TOKENS)} (picochat) or <|im_start|> <|im_end|> (ChatML)"
    raise UserError(f"{origin} has no turn tokens that picochat knows: it needs {expected} and has {found}")
