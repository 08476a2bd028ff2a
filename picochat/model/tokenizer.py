"""Text to tokens and back. In: conversations and documents. Out: ids and which of them are learnt. Next: datamodules.

A conversation becomes one flat run of ids. Control tokens stand in angle brackets; nothing is put between them:

    <|bos|><|user|>What is 2 + 3?<|end|><|assistant|>Final answer: 5<|end|>
       0      0    0 0 0 …        0         0         1 1 …          1      supervised: the reply and its <|end|>

Control tokens have the ids 0…5. Text is encoded with control tokens switched off, so a user who types ``<|end|>`` gets
seven ordinary characters. The chat template in ``tokenizer_config.json`` gives the same ids through transformers, which
reads control tokens inside a message as what they are; the template therefore refuses such a message. (In ChatML, where
a line break ends the opening, a tokenizer may join it to one that a message begins with; `render` does not.)

Text is split into words, single digits, punctuation and white space before merges are learnt, so a number is always
read digit by digit: ``27 + 15`` → ``2 7 ␣+ ␣ 1 5``. All 256 bytes are in the vocabulary: nothing is ever unknown.

What merges do to words, and what a vocabulary of whole words does instead:

    merges         Spell␣cut  →  Sp ell ␣c ut      every word becomes pieces; which letters stand in one is to be learnt
    whole words    Spell␣cut  →  Spell ␣ c u t     frequent words are one token, all others stay letters
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from picochat.errors import UserError
from picochat.files import sha256_text, write_files

SPECIAL_TOKENS = ("<|bos|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
SMALLEST_VOCABULARY = len(SPECIAL_TOKENS) + 256
ROLES = ("system", "user", "assistant")

# Contractions, words with the space before them, one digit, punctuation with the space before it, white space up to
# the space that belongs to the next word, other white space.
_SPLIT = r"'(?i:[sdmt]|ll|ve|re)\b| ?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+"
_TYPED = (" Ab  é🙂\n\tعمر 12", "<|im_start|>user\n<|im_end|> <|endoftext|>")  # what every tokenizer must give back
_SEEN = 2  # a pair or a word seen once would be learnt by heart
_TEXTS_AT_ONCE = 8192  # encode_batch keeps every Encoding of a call alive: bounded memory, all cores busy


class Rendered(NamedTuple):
    """A conversation as tokens: ``supervised[t]`` says that ``ids[t]`` itself is to be learnt (as a target)."""

    ids: list[int]
    supervised: list[bool]


@dataclass(frozen=True)
class TurnFormat:
    """How turns are written: ``start``; for each message ``opening`` (with its role), content, ``end``, ``after``."""

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


class ChatTokenizer:
    """A tokenizer that knows turns. Made by `train_tokenizer` or `ChatTokenizer.load`.

    Args:
        content: what a ``tokenizer.json`` holds.
        origin: the file's name, for error messages.

    Attributes:
        vocab_size: number of ids.
        bos_id: the id that every rendered conversation begins with.
        end_id: the id behind every reply.
        pad_id: the id that fills rows.
        stop_ids: ids at which a reply is over: ``end_id`` and every other control token.
        fingerprint: sha256 of ``content``; a checkpoint remembers it.

    Raises:
        UserError: not a tokenizer, or one whose turns picochat does not know.
    """

    def __init__(self, content: str, origin: str = "tokenizer.json") -> None:
        try:
            self._tokenizer: Any = Tokenizer.from_str(content)
        except Exception as error:  # tokenizers raises bare Exception
            raise UserError(f"{origin} is not a tokenizer.json of the tokenizers library: {error}") from error
        self._tokenizer.encode_special_tokens = True  # control tokens inside text are text
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._content = content
        self.format = _turn_format(self._tokenizer, origin)
        self.fingerprint = sha256_text(content)
        self.vocab_size: int = self._tokenizer.get_vocab_size()

        self._start = self._control(self.format.start)
        self._opening = {role: self._control(self.format.opening.format(role=role)) for role in ROLES}
        self._end = self._control(self.format.end)
        self._after = self._control(self.format.after)
        self._document_start = self._control(self.format.document_start)
        self._document_end = self._control(self.format.document_end)
        self.bos_id = (*self._start, *self._opening["user"])[0]
        self.end_id = self._end[0]
        self.pad_id = self._control(self.format.pad)[0]
        others = {self.bos_id, self.pad_id, *(opening[0] for opening in self._opening.values()), *self._document_end}
        self.stop_ids: tuple[int, ...] = (self.end_id, *sorted(others - {self.end_id}))
        self._refuse_lossy(origin)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._content,)  # the library's own pickling forgets encode_special_tokens

    @classmethod
    def load(cls, path: str | Path) -> "ChatTokenizer":
        """Load a ``tokenizer.json``, or the one in a model folder."""
        file = Path(path) / "tokenizer.json" if Path(path).is_dir() else Path(path)
        try:
            # newline="": the fingerprint is that of the file's bytes, whatever ends its lines
            with file.open(encoding="utf-8", newline="") as opened:
                content = opened.read()
        except OSError as error:
            remedy = "make one with `picochat tok train --dataset-pack PACK --vocab-size 512 --out tokenizer.json`"
            raise UserError(f"cannot read the tokenizer {file}: {error.strerror}; {remedy}") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{file} is not a tokenizer.json: it is not UTF-8") from error
        return cls(content, str(file))

    @property
    def content(self) -> str:
        """What its tokenizer.json holds."""
        return self._content

    @property
    def chat_template(self) -> str:
        """Jinja text that renders conversations as `render` does."""
        return self.format.chat_template()

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; never a control token, whatever the text."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Text of ids. Bytes that are no UTF-8 become ``\\ufffd``."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)
        return text

    def render(self, messages: Sequence[dict[str, str]], add_generation_prompt: bool = False) -> Rendered:
        """Turn a conversation into ids and their supervision.

        Args:
            messages: ``{"role": "system" | "user" | "assistant", "content": text}``; a system message comes first.
            add_generation_prompt: end with the opening of an assistant turn, ready to be continued.

        Raises:
            UserError: an unknown role, or a system message that is not the first.
        """
        contents = [self.encode(message["content"]) for message in messages]
        return self._assemble(messages, contents, add_generation_prompt)

    def render_batch(
        self, conversations: Iterable[Sequence[dict[str, str]]], add_generation_prompt: bool = False
    ) -> list[Rendered]:
        """`render` for many conversations at once, on all cores."""
        conversations = list(conversations)
        contents = iter(self._encode_all(m["content"] for messages in conversations for m in messages))
        return [
            self._assemble(messages, [next(contents) for _ in messages], add_generation_prompt)
            for messages in conversations
        ]

    def document(self, text: str) -> list[int]:
        """A document of the base stage: start, text, end."""
        return [*self._document_start, *self.encode(text), *self._document_end]

    def documents(self, texts: Iterable[str]) -> list[list[int]]:
        """`document` for many texts at once, on all cores."""
        return [[*self._document_start, *ids, *self._document_end] for ids in self._encode_all(texts)]

    def config(self) -> dict[str, Any]:
        """What ``tokenizer_config.json`` holds; transformers loads it without code of ours."""
        token = self._tokenizer.id_to_token
        return {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": token(self.bos_id),
            "eos_token": token(self.end_id),
            "pad_token": token(self.pad_id),
            "clean_up_tokenization_spaces": False,
            "chat_template": self.chat_template,
        }

    def save(self, folder: str | Path) -> None:
        """Write ``tokenizer.json`` and ``tokenizer_config.json`` into a folder."""
        config = json.dumps(self.config(), indent=2, ensure_ascii=False) + "\n"
        write_files({Path(folder) / "tokenizer.json": self._content, Path(folder) / "tokenizer_config.json": config})

    def write(self, path: str | Path) -> None:
        """Write the one file ``tokenizer.json``, which is enough to load."""
        write_files({Path(path): self._content})

    def _assemble(
        self, messages: Sequence[dict[str, str]], contents: list[list[int]], add_generation_prompt: bool
    ) -> Rendered:
        ids = [*self._start]
        supervised = [False] * len(ids)
        for index, (message, content) in enumerate(zip(messages, contents, strict=True)):
            role = message["role"]
            if role not in self._opening or (role == "system" and index > 0):
                known = "system (first only), user, assistant"
                raise UserError(f"message {index + 1} has the role '{role}'; roles are {known}")
            ids += [*self._opening[role], *content, *self._end, *self._after]
            learnt = role == "assistant"
            supervised += [False] * len(self._opening[role])
            supervised += [learnt] * (len(content) + len(self._end))
            supervised += [False] * len(self._after)
        if add_generation_prompt:
            ids += self._opening["assistant"]
            supervised += [False] * len(self._opening["assistant"])
        return Rendered(ids, supervised)

    def _encode_all(self, texts: Iterable[str]) -> list[list[int]]:
        remaining = iter(texts)
        ids: list[list[int]] = []
        while part := list(islice(remaining, _TEXTS_AT_ONCE)):
            encodings = self._tokenizer.encode_batch_fast(part, add_special_tokens=False)
            ids += [encoding.ids for encoding in encodings]
        return ids

    def _refuse_lossy(self, origin: str) -> None:
        """Whatever a user types must come back as typed, and never as a control token."""
        highest = max(self._tokenizer.get_vocab().values())
        if highest >= self.vocab_size:  # the model has a row for each id
            raise UserError(f"{origin}: its {self.vocab_size} tokens have ids up to {highest}; they must have no gaps")
        if getattr(self._tokenizer.model, "dropout", None):
            raise UserError(f"{origin}: model.dropout makes the same text other tokens each time; set it to null")
        for text in (*_TYPED, *(token + "x" + token for token in SPECIAL_TOKENS)):
            ids = self.encode(text)
            if not set(ids).isdisjoint(self.stop_ids):
                raise UserError(
                    f"{origin}: a user who types {text!r} would write control tokens; train another tokenizer"
                )
            if self.decode(ids) != text:
                raise UserError(f"{origin}: {text!r} comes back as {self.decode(ids)!r}; it must keep text as it is")

    def _control(self, text: str) -> tuple[int, ...]:
        self._tokenizer.encode_special_tokens = False
        try:
            return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)
        finally:
            self._tokenizer.encode_special_tokens = True


def train_tokenizer(texts: Iterable[str], vocab_size: int, *, whole_words: bool = False) -> ChatTokenizer:
    """Learn a byte-level vocabulary of exactly ``vocab_size`` tokens; ``texts`` are streamed, never held.

    Args:
        texts: what is counted.
        vocab_size: tokens.
        whole_words: beside bytes and control tokens only whole words, those that spare the most tokens; else BPE.

    Raises:
        UserError: ``vocab_size`` is below 262, or above what the texts can fill; the message names what can be reached.
    """
    if vocab_size < SMALLEST_VOCABULARY:
        parts = f"{len(SPECIAL_TOKENS)} control tokens and 256 bytes"
        raise UserError(f"a vocabulary of {vocab_size} is too small: {parts} make {SMALLEST_VOCABULARY}")
    found = _Counted(texts)
    tokenizer = _of_words(found, vocab_size) if whole_words else _of_merges(found, vocab_size)
    if not found.characters:
        raise UserError("the source holds no text; a tokenizer needs some to learn from")
    reached = tokenizer.get_vocab_size()
    if reached < vocab_size:
        remedy = f"ask for {reached} or fewer (--vocab-size {reached}; in a config data.vocab_size), or give more text"
        raise UserError(f"the text is too small for a vocabulary of {vocab_size}: {reached} can be reached; {remedy}")
    return ChatTokenizer(tokenizer.to_str(pretty=True))


def _of_merges(texts: Iterable[str], vocab_size: int) -> Any:
    tokenizer = _on_bytes(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=_SEEN,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,  # prints blank lines where there is no terminal
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    return tokenizer


def _of_words(texts: Iterable[str], vocab_size: int) -> Any:
    """The words, with the space before them, of two letters and more that as one token spare most of them."""
    split, counts = _split(), Counter[str]()
    for text in texts:
        counts.update(part for part, _ in split.pre_tokenize_str(text))
    spared = {
        word: times * (len(word.encode()) - 1)
        for word, times in counts.items()
        if times >= _SEEN and len(word.strip()) > 1 and word.strip().isalpha()
    }
    words = sorted(spared, key=lambda word: (-spared[word], word))[: vocab_size - SMALLEST_VOCABULARY]
    written = [_bytes().pre_tokenize_str(word)[0][0] for word in words]
    vocabulary = (*SPECIAL_TOKENS, *sorted(pre_tokenizers.ByteLevel.alphabet()), *written)
    # no merges: a word is looked up as a whole, or stays bytes
    ids = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = _on_bytes(models.BPE(vocab=ids, merges=[], ignore_merges=True))
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return tokenizer


def _on_bytes(model: Any) -> Any:
    tokenizer: Any = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([_split(), _bytes()])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _split() -> Any:
    return pre_tokenizers.Split(Regex(_SPLIT), "isolated")


def _bytes() -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


class _Counted:
    """Texts on their way, counted."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = texts
        self.characters = 0

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self.characters += len(text)
            yield text


def _turn_format(tokenizer: Any, origin: str) -> TurnFormat:
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    if special.issuperset(SPECIAL_TOKENS):
        return PICOCHAT
    if special.issuperset({"<|im_start|>", "<|im_end|>"}):
        end = CHATML.document_end if CHATML.document_end in special else CHATML.end
        return TurnFormat(CHATML.start, CHATML.opening, CHATML.end, CHATML.after, end, "", end)
    found = ", ".join(sorted(special)[:8]) or "none"
    expected = f"{' '.join(SPECIAL_TOKENS)} (picochat) or <|im_start|> <|im_end|> (ChatML)"
    raise UserError(f"{origin} has no turn tokens that picochat knows: it needs {expected} and has {found}")
