"""The forms that other people's rows have. In: a record. Out: rows with `messages`. Next: formats, which finishes them.

A form is recognised by the fields that it needs, the first of `FORMS` that a record has. Fields that its messages do
not say stay beside them. A turn that is not learnt gets ``"weight": 0``, whatever its file calls that.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from picochat.packs.rows import Message, Row
from picochat.strict_json import json_kind, parse_json

Conversations = Iterator[list[Message]]

ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "model"), "assistant"),
    "text": "text",
}
TOOL_ROLES = ("tool", "function", "function_call", "tool_call", "tool_response", "observation", "ipython")
UNSUPPORTED = {
    **dict.fromkeys(("tool_calls", "function_call", "tools", "functions"), "tool calls"),
    **dict.fromkeys(("images", "image", "videos", "video", "audios", "audio"), "images or sound"),
    **dict.fromkeys(("reasoning_content", "reasoning", "thinking"), "reasoning apart from the reply"),
    **dict.fromkeys(("chosen", "rejected"), "preference pairs"),
}
"""Fields of rows and turns that picochat has no way to learn, and what they hold."""
MARKS = ("weight", "loss_weight", "train", "training")  # fields of rows and turns that say whether they are learnt
_LEARNT = {"none": None, "": None, "0": 0, "0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1}
CONTROL = re.compile(r"<\|\w+\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|### END\b")  # of other tools


class UnsupportedError(ValueError):
    """A row holds what picochat cannot express; such rows are counted by `name`."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{message}; picochat learns no {name} (`--on-unsupported drop` leaves such rows out)")
        self.name = name


def rows_of(record: Any, form: str | None = None) -> list[Row]:
    """The rows of a record, of `form` if that is given; the words of a ValueError continue "FILE:LINE: "."""
    if isinstance(record, ValueError):  # what the reader of the file has to say
        raise record
    if not isinstance(record, dict):
        raise ValueError(f"holds {json_kind(record)}; an object is expected")
    if record.keys() == {"train"} and isinstance(record["train"], dict):  # MMLU's auxiliary_train
        record = record["train"]
    if isinstance(record.get("instances"), list) and "instruction" in record:  # self-instruct: several of one task
        task = {name: value for name, value in record.items() if name != "instances"}
        found = [{**task, **one} if isinstance(one, dict) else one for one in record["instances"]]
        if not found:
            raise ValueError("has no instances")
        return [row for one in found for row in rows_of(one, form)]
    _refuse_unsupported(record, "")
    for name, needed, read in FORMS:
        if needed <= record.keys() and form in (None, name) and None not in map(record.get, needed):
            row = dict(record)
            try:
                conversations = list(read(row))
            except (AttributeError, IndexError, KeyError, RecursionError, TypeError) as error:
                raise ValueError(f"is not in order as a row of the form {name} ({error!r:.80})") from error
            if [] in conversations:
                raise ValueError("holds no message")
            return [row | {"messages": messages} for messages in conversations]
    raise ValueError(_unknown(record, form))


def _unknown(record: Row, form: str | None) -> str:
    fields = ", ".join(str(field)[:40] for field in list(record)[:12])
    if form:
        needed = " or ".join(" + ".join(sorted(needed)) for name, needed, _ in FORMS if name == form)
        return f"is not of the form {form}, which has {needed} (its fields: {fields})"
    if isinstance(text := record.get("text"), str):
        if CONTROL.search(text):
            return "holds a conversation that a chat template wrote out as one text; give its messages instead"
        return "holds a document; `picochat train base` learns those, rows need 'messages' or a prompt and a reply"
    return (
        f"needs 'messages', or another form that picochat knows, and has {fields or 'no field'}; name the fields with "
        "`--map`, such as title=prompt,body=completion"
    )


def mark(holder: Row, place: str) -> int | None:
    """Take the marks out of a row or turn: 0 not learnt, 1 learnt, None where it does not say."""
    marks = []
    for name in MARKS:
        value = str(holder.pop(name, None)).lower()
        if value not in _LEARNT:
            raise UnsupportedError("fractions of a turn", f"{place}has the {name} {value[:40]}, which is not 0 or 1")
        marks.append(_LEARNT[value])
    return min((found for found in marks if found is not None), default=None)


def _refuse_unsupported(holder: Row, place: str) -> None:
    for field, value in holder.items():
        if field in UNSUPPORTED and value and value != "[]":
            raise UnsupportedError(UNSUPPORTED[field], f"{place}has the field '{field}'")


def _turns(row: Row, field: str) -> Conversations:
    """messages    {"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]}
    sharegpt    {"conversations": [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4", "weight": 0}]}
    """
    found = row[field] if field == "messages" else row.pop(field)
    if isinstance(found, str) and found.lstrip().startswith("["):  # a cell of a table
        found = parse_json(found)
    if not isinstance(found, list) or not found:
        raise ValueError(f"'{field}' must be a non-empty list of {{role, content}}")
    yield _messages(found, field)


def _messages(found: list[Any], field: str) -> list[Message]:
    messages = []
    for index, turn in enumerate(found):
        if type(turn) is dict and len(turn) == 2:  # role and text, and nothing else to look at: nearly all turns
            name, content = turn.get("role"), turn.get("content")
            if type(name) is type(content) is str and ROLES.get(name) == name:
                messages.append(turn)
                continue
            name, content = turn.get("from"), turn.get("value")
            if type(name) is type(content) is str and name in ROLES:
                messages.append({"role": ROLES[name], "content": content})
                continue
        messages.append(_message(turn, f"{field}[{index}]"))
    return messages


def _message(turn: Any, place: str) -> Message:
    """{"from": "GPT", "value": [{"type": "text", "text": "4"}], "train": false}
    → {"role": "assistant", "content": "4", "weight": 0}
    """
    expected = f"{place} must be an object with the strings 'role' and 'content'"
    if not isinstance(turn, dict):
        raise ValueError(expected)
    rest = dict(turn)
    _refuse_unsupported(rest, f"{place} ")
    role, other = rest.pop("role", None), rest.pop("from", None)
    name = str(other if role is None else role)
    if name.lower() in TOOL_ROLES:
        raise UnsupportedError("tool calls", f"{place} has the role '{name}'")
    if name.lower() not in ROLES:
        known = ", ".join(dict.fromkeys(ROLES.values()))
        raise ValueError(f"{place} has the role {name[:60]!r}; known roles are {known}")
    said = [rest.pop(field, None) for field in ("content", "value", "text")]
    content = next((text for text in said if text is not None), None)
    if isinstance(content, list):
        content = "".join(_part(part, place) for part in content)
    if not isinstance(content, str):
        raise ValueError(f"{expected}; its content is {json_kind(content)}")
    role, weight = ROLES[name.lower()], mark(rest, f"{place} ")
    learnt = role in ("assistant", "text")
    return {"role": role, "content": content, **rest, **({} if weight in (None, learnt) else {"weight": weight})}


def _part(part: Any, place: str) -> str:
    part = part if isinstance(part, dict) else {"text": part}
    kind, text = part.get("type", "text"), part.get("text", part.get("value"))
    if kind != "text" or not isinstance(text, str):
        raise UnsupportedError(f"content of the type {str(kind)[:40]}", f"{place} holds more than text")
    return text


def _pair(row: Row, asked: str, answered: tuple[str, ...]) -> Conversations:
    """prompt      {"prompt": "2 + 2?", "completion": "4"}, or response; each a text or a list of messages
    alpaca      {"instruction": "Reverse the word.", "input": "train", "output": "niart", "history": [["Hi", "Ho"]]}
    dolly       {"instruction": "When was it built?", "context": "The mill …", "response": "In 1801."}

    A prompt alone is one to be asked. An empty one makes a text to go on with, learnt as a document is.
    """
    question = row.pop(asked)
    reply = next((found for name in answered if (found := row.pop(name, None)) is not None), None)
    if question == "" and isinstance(reply, str) and asked == "prompt":
        yield [{"role": "text", "content": reply}]
        return
    turns = [("user", _with_context(row, question, asked) if asked in ("instruction", "question") else question)]
    for before in reversed(row.pop("history", None) or []):
        if len(before) != 2:
            raise ValueError("'history' must be a list of pairs, each of a question and its reply")
        turns[:0] = zip(("user", "assistant"), before, strict=True)
    turns += [] if reply is None else [("assistant", reply)]
    yield [message for role, text in turns for message in _said(role, text, asked if role == "user" else answered[0])]


def _with_context(row: Row, question: Any, field: str) -> str:
    """What is asked, and below it what it is asked of."""
    parts = [(field, question), *((name, row.pop(name, None)) for name in ("input", "context"))]
    for name, text in parts:
        if not isinstance(text, str | None) or (text is None and name == field):
            raise ValueError(f"'{name}' must be text, not {json_kind(text)}")
    return "\n\n".join(text.strip() if name == "question" else text for name, text in parts if text)


def _said(role: str, text: Any, field: str) -> list[Message]:
    if isinstance(text, list):
        return _messages(text, field)
    if role == "assistant" and isinstance(text, bool | int | float):
        text = str(text).lower()  # as JSON writes it: 5, true
    if not isinstance(text, str):
        raise ValueError(f"'{field}' must be text or a list of messages, not {json_kind(text)}")
    return [{"role": role, "content": text}]


def _question(row: Row) -> Conversations:
    """question    {"question": "Capital of France?", "answer": "Paris"}
    GSM8K       {"question": "6 packs of 7?", "answer": "6 * 7 = <<6*7=42>>42\\n#### 42"}

    The second has working: the lines before ``####`` without the calculator's notes, and then ``Final answer: 42``.
    """
    answer = row["answer"]
    worked, working, result = answer.partition("####") if isinstance(answer, str) else ("", "", "")
    steps = [line for line in re.sub(r"<<[^<>\n]*>>", "", worked).strip().splitlines() if line.strip()]
    if working and steps and (result := result.strip().replace(",", "")):
        row |= {"answer": result, "steps": steps, "answer_style": "scratchpad"}
        answer = "\n".join((*steps, f"Final answer: {result}"))
    reply = answer[0] if isinstance(answer, list) and answer else answer
    asked = _with_context(row, row.pop("question"), "question")
    yield [{"role": "user", "content": asked}, *_said("assistant", reply, "answer")]


def _choices(row: Row) -> Conversations:
    """MMLU        {"question": "…", "choices": ["iron", "wood"], "answer": 0}, or the label, or the text
    ARC         {"question": "…", "choices": {"text": ["iron", "wood"], "label": ["1", "2"]}, "answerKey": "1"}
    and         {"question": "…", "options": {"A": "iron", "B": "wood"}, "answer": "A"}
                {"question": {"stem": "…", "choices": [{"text": "iron", "label": "A"}, …]}, "answerKey": "A"}
    """
    question, choices = row.pop("question"), row.pop("choices", None) or row.pop("options", None)
    if isinstance(question, dict):
        question, choices = question["stem"], question["choices"]
    if isinstance(choices, dict):
        both = (choices["label"], choices["text"]) if "text" in choices else (choices.keys(), choices.values())
    else:
        options = [one if isinstance(one, dict) else {"text": one} for one in choices or ()]
        both = [one.get("label") for one in options], [one.get("text") for one in options]
    if not 2 <= len(both[1]) == len(both[0]) <= 26 or not all(isinstance(one, str | int | float) for one in both[1]):
        raise ValueError("needs 2 to 26 choices, each a text, with a label for each or for none")
    given = [None if label is None else str(label) for label in both[0]]  # an empty answer is no label
    texts = [str(text).strip() for text in both[1]]
    labels = [chr(ord("A") + number) for number in range(len(texts))]
    key = row.pop("answerKey") if row.get("answerKey") is not None else row.pop("answer", None)
    known: tuple[tuple[Any, Any], ...] = ((given, str(key)), (labels, key), (texts, key))
    place = next((names.index(name) for names, name in known if name in names), key)
    if type(place) is not int or not 0 <= place < len(texts):
        raise ValueError(f"the answer {str(key)[:40]!r} is none of the {len(texts)} choices")
    row |= {"choice_labels": labels, "correct_choice": labels[place]}
    lines = (f"{label}. {text}" for label, text in zip(labels, texts, strict=True))
    prompt = "\n".join((question.strip(), *lines, "Answer with the letter."))
    yield [{"role": "user", "content": prompt}, {"role": "assistant", "content": labels[place]}]


def _tree(row: Row) -> Conversations:
    """OASST       {"message_tree_id": "t1", "prompt": {"text": "Hi", "role": "prompter", "replies": [
                    {"text": "Hello.", "role": "assistant", "replies": []}, …]}}

    A row for each way down that ends with a reply. A reply on several ways is learnt on the first of them alone.
    """
    kept, learnt = {"role", "text", *MARKS, *UNSUPPORTED}, set[int]()

    def ways(node: Row, before: list[Row]) -> list[list[Row]]:
        way = [*before, node]
        deeper = [found for reply in node.get("replies") or [] for found in ways(reply, way)]
        return deeper or ([way] if ROLES.get(node["role"]) == "assistant" else [])

    tree = row.pop("prompt")
    row.setdefault("key", f"oasst:{row['message_tree_id']}")
    for way in ways(tree, []):
        turns = [
            {name: value for name, value in node.items() if name in kept}
            | ({"weight": 0} if id(node) in learnt else {})
            for node in way
        ]
        yield _messages(turns, "prompt")
        learnt.update(map(id, way))


FORMS: tuple[tuple[str, set[str], Callable[[Row], Conversations]], ...] = (
    ("messages", {"messages"}, partial(_turns, field="messages")),
    ("sharegpt", {"conversations"}, partial(_turns, field="conversations")),
    ("sharegpt", {"conversation"}, partial(_turns, field="conversation")),
    ("oasst", {"message_tree_id", "prompt"}, _tree),
    *(("choices", {"question", field}, _choices) for field in ("choices", "options", "answerKey")),
    ("alpaca", {"instruction", "output"}, partial(_pair, asked="instruction", answered=("output",))),
    ("dolly", {"instruction", "response"}, partial(_pair, asked="instruction", answered=("response",))),
    ("question", {"question", "answer"}, _question),
    ("question", {"question", "response"}, partial(_pair, asked="question", answered=("response",))),
    ("prompt", {"prompt"}, partial(_pair, asked="prompt", answered=("completion", "response"))),
    ("user", {"user"}, partial(_pair, asked="user", answered=("assistant",))),
    ("prompt", {"input", "output"}, partial(_pair, asked="input", answered=("output",))),
    ("prompt", {"inputs", "targets"}, partial(_pair, asked="inputs", answered=("targets",))),
    ("prompt", {"query", "response"}, partial(_pair, asked="query", answered=("response",))),
)
"""(name, fields that a record of it has, what makes conversations of it)."""
