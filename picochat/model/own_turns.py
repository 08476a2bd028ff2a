"""The turns of picochat's own tokenizers, and of those that come without a chat template. In: control tokens. Out: a
chat template, and the tokenizer_config.json by which transformers reads it. Next: tokenizer.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence

from picochat.errors import UserError
from picochat.model.turns import ROLES

SPECIAL_TOKENS = ("<|bos|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
_OWN = (  # start, before and after the role, end, what follows it
    ("<|bos|>", "<|", "|>", "<|end|>", ""),
    ("", "<|im_start|>", "\n", "<|im_end|>", "\n"),
    ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>", ""),
)


def own_template(control: Collection[str], origin: str) -> str:
    """The template that a tokenizer without one serves by its control tokens.

        picochat    <|bos|><|user|>What is 2 + 3?<|end|><|assistant|>Final answer: 5<|end|>
        ChatML      <|im_start|>user\\nWhat is 2 + 3?<|im_end|>\\n<|im_start|>assistant\\nFinal answer: 5<|im_end|>\\n
        Llama 3     <|begin_of_text|><|start_header_id|>user<|end_header_id|>\\n\\nWhat is 2 + 3?<|eot_id|>…

    Raises:
        UserError: none that picochat knows; ``origin`` names the tokenizer.
    """
    for start, before, after, end, line in _OWN:
        written = " ".join((start, *(before + role + after for role in ROLES), end))
        tokens = re.findall(r"<\|\w+\|>", written)
        if {*tokens} <= {*control}:
            others = [token for token in ("<|pad|>", "<|endoftext|>", "<|end_of_text|>") if token in control]
            return _template(start, before, after, end, line, sorted({*tokens, *others}))
    found = ", ".join(sorted(control)[:8]) or "none"
    raise UserError(
        f"{origin} has no chat template and no turn tokens that picochat knows ({' '.join(SPECIAL_TOKENS)}, those of "
        f"ChatML or of Llama 3); it has {found}. Put the template of its chat model beside it (chat_template.jinja)"
    )


def _template(start: str, before: str, after: str, end: str, line: str, control: Sequence[str]) -> str:
    """One line, because some renderers keep line breaks; with marks of what is generated, for TRL."""
    # Programs that read the template also read control tokens inside a message: there it must refuse them, or a
    # user could end their turn and write the assistant's. picochat's own `render` takes them as text.
    said = "{{ message['content'] + " + json.dumps(end) + " }}"
    return (
        (f"{{{{ {json.dumps(start)} }}}}" if start else "")
        + "{% for message in messages %}"
        + f"{{% if message['role'] not in {json.dumps(ROLES)} %}}"
        + "{{ raise_exception('unknown role ' + message['role']) }}{% endif %}"
        + f"{{% for token in {json.dumps(control)} %}}{{% if token in message['content'] %}}"
        + "{{ raise_exception('a message holds the control token ' + token) }}{% endif %}{% endfor %}"
        + f"{{{{ {json.dumps(before)} + message['role'] + {json.dumps(after)} }}}}"
        + "{% if message['role'] == 'assistant' %}{% generation %}"
        + said
        + "{% endgeneration %}"
        + "{% else %}"
        + said
        + "{% endif %}"
        + (f"{{{{ {json.dumps(line)} }}}}" if line else "")
        + "{% endfor %}{% if add_generation_prompt %}"
        + f"{{{{ {json.dumps(before)} + 'assistant' + {json.dumps(after)} }}}}"
        + "{% endif %}"
    )


def tokenizer_config(named: Mapping[str, str], template: str, anchor: str, ends: Sequence[str]) -> str:
    """The text of a tokenizer_config.json.

    Args:
        named: bos_token, eos_token and pad_token by name.
        anchor: what stands before a reply, and ``ends`` what may end it: so `transformers serve` finds it.
    """
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **named,
        "clean_up_tokenization_spaces": False,
        "chat_template": template,
        "response_template": {
            "defaults": {"role": "assistant"},
            "start_anchor": anchor,
            "fields": {"content": {"close": list(ends), "content": "text"}},
        },
    }
    return json.dumps(config, indent=2, ensure_ascii=False) + "\n"
