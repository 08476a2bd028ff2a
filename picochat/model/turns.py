"""How the turns of a conversation are written. In: a chat template, roles. Out: parts of text, and what of them is
learnt. Next: tokenizer.

The template is rendered once for each sequence of roles, with a mark in place of every message, and cut at the marks.
So a default system prompt, a system message that joins the first question, or the empty thought that Qwen3 puts before
a last reply need no rule of ours. For the roles user and assistant in ChatML:

    part      <|im_start|> user\\n ⟨message 0⟩ <|im_end|> \\n <|im_start|> assistant\\n ⟨message 1⟩ <|im_end|> \\n
    learnt                                                                          x          x

A reply is learnt from where the generation prompt ends, up to the first control token after it. What the parts say is
then proved on conversations of odd text against the template itself; a template that they do not follow is refused.
"""

import json
import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from functools import cache, cached_property
from operator import methodcaller
from typing import Any, NamedTuple

from picochat.errors import UserError

ROLES = ("system", "user", "assistant")
SPECIAL_TOKENS = ("<|bos|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
_OWN = (  # start, before and after the role, end, what follows it
    ("<|bos|>", "<|", "|>", "<|end|>", ""),
    ("", "<|im_start|>", "\n", "<|im_end|>", "\n"),
    ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>", ""),
)
# One line, because some renderers keep line breaks; with marks of what is generated, for TRL. Programs that read the
# template also read control tokens inside a message: there it must refuse them, or a user could end their turn and
# write the assistant's. picochat's own `render` takes them as text.
_OWN_TEMPLATE = (
    "{{ START }}{% for message in messages %}"
    "{% if message['role'] not in ROLES %}{{ raise_exception('unknown role ' + message['role']) }}{% endif %}"
    "{% for token in CONTROL %}{% if token in message['content'] %}"
    "{{ raise_exception('a message holds the control token ' + token) }}{% endif %}{% endfor %}"
    "{{ BEFORE + message['role'] + AFTER }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + END }}{% endgeneration %}"
    "{% else %}{{ message['content'] + END }}{% endif %}{{ LINE }}{% endfor %}"
    "{% if add_generation_prompt %}{{ BEFORE + 'assistant' + AFTER }}{% endif %}"
)
_TODAY = date(2024, 7, 26)  # for templates that write it: the same tokens every day
_MARK = "\ue000{}\ue001"  # private characters, which no template looks for
_TRIMS: tuple[Callable[[str], str], ...] = (  # what templates do to a message's white space
    *(str, str.strip, str.rstrip, str.lstrip),
    *(methodcaller(way, "\n") for way in ("strip", "lstrip", "rstrip")),
)
_SHAPES = ("u", "ua", "uau", "uaua", "uauauaua", "su", "sua", "suaua")  # of the conversations that prove
_ODD = ("Hi", " two\n lines \n", "\n", " ", '{{ x }} <b>&amp;"', "'s [1, 2]\t", "é🙂", "12 + 3")


class Part(NamedTuple):
    """A piece of a conversation: a control token, other text of the template, or a message."""

    text: str  # of the template; "" for a message
    control: bool
    turn: int  # the message with which it is learnt, where that is; -1: never
    message: int = -1  # the message that stands here
    trim: Callable[[str], str] = str
    begins: bool = False  # a reply: its tokens do not join with those before it


class ChatTemplate:
    """A chat template in Jinja, and the parts that it writes; UserError for what is none, or cannot be followed.

    ``named`` are the variables that it reads (bos_token, enable_thinking, …), ``origin`` is for error messages.
    """

    def __init__(self, source: str, control: Collection[str], named: Mapping[str, Any], origin: str) -> None:
        # marks of what is generated, which transformers adds to Jinja, as blocks that do nothing
        source = re.sub(r"(\{%-?\s*)generation(\s*-?%\})", r"\1if true\2", source)
        self._source = re.sub(r"(\{%-?\s*)endgeneration(\s*-?%\})", r"\1endif\2", source)
        self.named, self._origin = named, origin
        tokens = sorted(control, key=len, reverse=True)
        self._control = re.compile("(" + ("|".join(map(re.escape, tokens)) or "(?!)") + ")")
        self.parts = cache(self._cut)
        self._prove()

    def render(self, roles: Sequence[str], contents: Sequence[str], add_generation_prompt: bool) -> str:
        """What the template itself makes of a conversation."""
        from jinja2 import TemplateError

        messages = [{"role": role, "content": text} for role, text in zip(roles, contents, strict=True)]
        values = {"add_generation_prompt": add_generation_prompt, "tools": None, "documents": None, **self.named}
        try:
            return str(self._template.render(messages=messages, **values))
        except (TemplateError, TypeError, ValueError, LookupError) as error:
            raise self._refusal(f"refuses the roles {', '.join(roles)}: {error}") from None

    def taken(self, roles: Sequence[str], contents: Sequence[str], prompt: bool) -> Sequence[str]:
        """The messages as the template puts them between its parts: as they are; of a prompt, replies without thoughts.

        UserError where it looks at what a message says, and then writes something else.
        """
        watched = [f"message {number} {why}" for number, one in enumerate(contents, 1) if (why := self._watched(one))]
        if not watched:
            return contents
        plain = [self._control.sub("", one) for one in contents]  # control tokens are text here, and refused by some
        parts, written = self.parts(tuple(roles), prompt), self.render(roles, plain, prompt)
        if join(parts, plain) == written:
            return contents
        if prompt and join(parts, _spoken(roles, plain)) == written:
            return _spoken(roles, contents)
        raise UserError(
            f"{watched[0]}, and the chat template of {self._origin} then writes the conversation in another way; leave "
            "it out of the rows"
        )

    def _watched(self, text: str) -> str:
        """What of a message the template may act upon; "" for nothing."""
        return next((f"holds {word}" for word in self._looked_for if word in text), "" if text.strip() else "is empty")

    @cached_property
    def _looked_for(self) -> list[str]:
        """Words that the template looks for in messages, as in `content.split('</think>')`."""
        from jinja2 import nodes

        tree = self._template.environment.parse(self._source)
        found = [node.expr for node in tree.find_all(nodes.Compare) if node.ops[0].op in ("in", "notin")]
        found += [node.node for node in tree.find_all(nodes.Assign)]
        found += [word for node in tree.find_all((nodes.Call, nodes.Filter)) for word in node.args]
        words = [node.value for node in found if isinstance(node, nodes.Const) and isinstance(node.value, str)]
        return [word for word in dict.fromkeys(words) if word.strip() and not self._control.search(word)]

    @cached_property
    def _template(self) -> Any:
        from jinja2 import TemplateError
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        def refuse(message: str) -> None:
            raise TemplateError(message)

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
        environment.globals.update(raise_exception=refuse, strftime_now=_TODAY.strftime)
        try:
            return environment.from_string(self._source)
        except TemplateError as error:
            raise self._refusal(f"is not Jinja: {error}") from None

    def _refusal(self, why: str) -> UserError:
        return UserError(f"the chat template of {self._origin} {why}")

    def _cut(self, roles: tuple[str, ...], prompt: bool) -> list[Part]:
        """The parts of a conversation of these roles, with the generation prompt or without."""
        pieces, order = self._pieces(roles, prompt)
        parts: list[Part] = []
        for place, text in enumerate(pieces):
            before = order[place - 1] if place else -1
            after = order[place] if place < len(order) else -1
            match = self._control.search(text) if place else None
            if place and roles[before] == "assistant" and not match:
                raise self._refusal("ends a reply without a control token")
            end, begin, reply = match.end() if match else 0, len(text), after > 0 and roles[after] == "assistant"
            if reply:
                begin = max(end, self._prompt_end(text, roles, after))
            for cut, turn in ((text[:end], before), (text[end:begin], -1), (text[begin:], after)):
                split = self._control.split(cut)  # control tokens stand at the odd places
                parts += [Part(word, bool(i % 2), turn) for i, word in enumerate(split) if word]
            if after >= 0:
                trim = self._trim(roles, prompt, after)
                parts.append(Part("", False, after, after, trim, begins=reply and begin == len(text)))
        return parts

    def _pieces(self, roles: tuple[str, ...], prompt: bool) -> tuple[list[str], list[int]]:
        """The text around the messages, and the order that these stand in."""
        around = re.split(_MARK.format(r"(\d+)"), self.render(roles, _marks(roles), prompt))
        order = [int(number) for number in around[1::2]]
        if sorted(order) != [*range(len(roles))]:
            raise self._refusal(
                f"leaves out or repeats messages of the roles {', '.join(roles)}; picochat cannot tell which tokens "
                "are learnt"
            )
        return around[::2], order

    def _trim(self, roles: tuple[str, ...], prompt: bool, message: int) -> Callable[[str], str]:
        """What the template does to white space around a message."""
        marks = _marks(roles)
        plain, mark, wide = self.render(roles, marks, prompt), marks[message], f"\n \n{marks[message]}\n \n"
        marks[message] = wide
        spaced = self.render(roles, marks, prompt)
        for trim in _TRIMS:
            if plain.replace(mark, trim(wide)) == spaced:
                return trim
        raise self._refusal("changes white space in a way that picochat cannot follow")

    def _prompt_end(self, text: str, roles: tuple[str, ...], reply: int) -> int:
        """Where in the text before a reply the generation prompt ends."""
        prompt = self._pieces(roles[:reply], True)[0][-1]
        if text.startswith(prompt):
            return len(prompt)
        if prompt.startswith(text) and reply + 1 < len(roles):  # an earlier reply, shown without its thought
            return len(text)
        raise self._refusal(
            f"opens a reply with {text!r}, and with {prompt!r} to generate one; a model would learn another beginning "
            "than it is asked for"
        )

    def _prove(self) -> None:
        """Compare parts and template on conversations of odd text; a system message may be refused."""
        names, draw = {role[0]: role for role in ROLES}, random.Random(0)
        for shape in _SHAPES:
            roles = tuple(names[letter] for letter in shape)
            try:
                parts = self.parts(roles, shape.endswith("u"))
            except UserError:
                if "s" in shape:
                    continue
                raise
            for _ in range(3):
                contents = ["x".join(draw.choices(_ODD, k=3)) for _ in roles]
                if join(parts, contents) != self.render(roles, contents, shape.endswith("u")):
                    raise self._refusal("changes what messages say; picochat cannot tell which tokens are learnt")


def join(parts: Sequence[Part], contents: Sequence[str]) -> str:
    """The conversation as text."""
    return "".join(part.text if part.message < 0 else part.trim(contents[part.message]) for part in parts)


def _spoken(roles: Sequence[str], contents: Sequence[str]) -> list[str]:
    """The messages with replies that have no thoughts before them."""
    pairs = zip(roles, contents, strict=True)
    return [one.rpartition("</think>")[2].lstrip("\n") if role == "assistant" else one for role, one in pairs]


def _marks(roles: Sequence[str]) -> list[str]:
    return [_MARK.format(number) for number in range(len(roles))]


def saved_template(settings: Mapping[str, Any]) -> str | None:
    """The chat_template of a tokenizer_config.json: one text, or several by name."""
    value = settings.get("chat_template")
    if isinstance(value, list):
        named = {str(entry.get("name")): entry.get("template") for entry in value if isinstance(entry, dict)}
        value = named.get("default")
    return value if isinstance(value, str) else None


def own_template(control: Collection[str], origin: str) -> str:
    """The template that a tokenizer without one serves by its control tokens; UserError, naming ``origin``, for others.

    picochat    <|bos|><|user|>What is 2 + 3?<|end|><|assistant|>Final answer: 5<|end|>
    ChatML      <|im_start|>user\\nWhat is 2 + 3?<|im_end|>\\n<|im_start|>assistant\\nFinal answer: 5<|im_end|>\\n
    Llama 3     <|begin_of_text|><|start_header_id|>user<|end_header_id|>\\n\\nWhat is 2 + 3?<|eot_id|>…
    """
    for start, before, after, end, line in _OWN:
        tokens = {*re.findall(r"<\|\w+\|>", " ".join((start, *(before + role + after for role in ROLES), end)))}
        if tokens <= {*control}:
            tokens |= {"<|pad|>", "<|endoftext|>", "<|end_of_text|>"} & {*control}
            values = {"START": start, "BEFORE": before, "AFTER": after, "END": end, "LINE": line}
            source = _OWN_TEMPLATE
            for name, value in {**values, "ROLES": ROLES, "CONTROL": sorted(tokens)}.items():
                source = source.replace(name, json.dumps(value))
            return source.replace('{{ "" }}', "")
    found = ", ".join(sorted(control)[:8]) or "none"
    raise UserError(
        f"{origin} has no chat template and no turn tokens that picochat knows ({' '.join(SPECIAL_TOKENS)}, those of "
        f"ChatML or of Llama 3); it has {found}. Put the template of its chat model beside it (chat_template.jinja)"
    )
