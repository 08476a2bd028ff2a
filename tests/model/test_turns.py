"""Chat templates in the forms of ten families: which tokens are learnt, and the ids that transformers makes."""

import json
from pathlib import Path

import pytest
from test_tokenizer import TOKENIZER, WORDS, chatml
from tokenizers import Tokenizer, decoders, models, normalizers

from picochat.errors import UserError
from picochat.model.tokenizer import ChatTokenizer
from picochat.model.turns import ChatTemplate

SYSTEM = "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' }}{% endif %}"
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
THINKING = """{%- set ns = namespace(last=0) %}
{%- for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}
{%- for m in messages %}
    {%- set text = m.content.split('</think>')[-1].lstrip('\\n') if m.role == 'assistant' else m.content %}
    {%- set thought = '<think>\\n\\n</think>\\n\\n' if loop.index0 > ns.last and m.role == 'assistant' else '' %}
    {{- '<|im_start|>' + m.role + '\\n' + thought + text + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{% endif %}
{%- endif %}"""
SMOLLM3 = """{%- set said = messages[0].content if messages[0].role == 'system' else '' %}
{{- '<|im_start|>system\\nMode: ' + ('/think' if '/think' in said else '/no_think') + '\\n' }}
{{- (said.replace('/think', '').rstrip() or 'You are SmolLM.') + '<|im_end|>\\n' }}
{%- for m in messages if m.role != 'system' %}
    {{- '<|im_start|>' + m.role + '\\n' + (m.content.lstrip('\\n') if m.role == 'assistant' else m.content) }}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}"""
LLAMA3 = """{{ bos_token }}{% if messages[0].role == 'system' %}{% set said = messages[0].content | trim %}
{%- set messages = messages[1:] %}{% else %}{% set said = '' %}{% endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday: ' + (date_string or strftime_now('%d %b %Y')) }}
{{- '\\n\\n' + said + '<|eot_id|>' }}
{%- for m in messages %}
    {{- '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""
GEMMA = """{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\\n\\n' %}
{%- set messages = messages[1:] %}{% else %}{% set first = '' %}{% endif %}
{%- for m in messages %}
    {{- '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + (first if loop.first else '') }}
    {{- m.content | trim + '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{% endif %}"""
ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""
PHI3 = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)
OLMO = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content }}{% if m.role == 'assistant' %}"
    "{% generation %}{{ eos_token }}{% endgeneration %}{% endif %}{% if not loop.last %}{{ '\\n' }}{% endif %}"
    "{% if loop.last and add_generation_prompt %}{{ '\\n<|assistant|>\\n' }}{% endif %}{% endfor %}"
)
MISTRAL = """{%- if messages[0].role == 'system' %}{% set said = messages[0].content + '\\n\\n' %}
{%- set messages = messages[1:] %}{% else %}{% set said = '' %}{% endif %}
{{- bos_token }}
{%- for m in messages %}
    {%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}
    {%- if m.role == 'user' %}{{- '[INST] ' + (said if loop.first else '') + m.content + '[/INST]' }}
    {%- else %}{{- ' ' + m.content + eos_token }}{% endif %}
{%- endfor %}"""

HEADERS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
FORMS = {  # template, control tokens (bos, others, eos), what is learnt of the two replies
    "ChatML": (CHATML, ("", "<|im_start|>", "<|im_end|>"), ["Yes<|im_end|>", "No<|im_end|>"]),
    "SmolLM2": (SYSTEM + CHATML, ("", "<|im_start|>", "<|im_end|>"), ["Yes<|im_end|>", "No<|im_end|>"]),
    "Qwen3": (THINKING, ("", "<|im_start|>", "<|im_end|>"), ["Yes<|im_end|>", "No<|im_end|>"]),
    "SmolLM3": (SMOLLM3, ("", "<|im_start|>", "<|im_end|>"), ["Yes<|im_end|>", "No<|im_end|>"]),
    "Llama 3": (LLAMA3, HEADERS, ["Yes<|eot_id|>", "No<|eot_id|>"]),
    "Gemma": (GEMMA, ("<bos>", "<start_of_turn>", "<end_of_turn>"), ["Yes<end_of_turn>", "No<end_of_turn>"]),
    "Zephyr": (ZEPHYR, ("<s>", "</s>"), ["Yes</s>", "No</s>"]),
    "Phi-3": (PHI3, ("", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"), ["Yes<|end|>", "No<|end|>"]),
    "OLMo": (OLMO, ("<|endoftext|>",), ["Yes<|endoftext|>", "No<|endoftext|>"]),
    "Mistral": (MISTRAL, ("<s>", "[INST]", "[/INST]", "</s>"), [" Yes</s>", " No</s>"]),
    "TRL": (
        CHATML.replace("{{ '<|im_start|>' +", "{%- generation -%}{{ '<|im_start|>' +").replace(
            "}}{% endfor", "}}{%- endgeneration -%}{% endfor"
        ),
        ("", "<|im_start|>", "<|im_end|>"),
        ["Yes<|im_end|>", "No<|im_end|>"],
    ),
}
TALK = [
    {"role": role, "content": text}
    for role, text in (("system", "Be short."), ("user", "Hi there"), ("assistant", "Yes"), ("user", "So?"))
]
TALK.append({"role": "assistant", "content": "No"})


def make(form: str) -> ChatTokenizer:
    template, control, _ = FORMS[form]
    named = {
        "bos_token": control[0] or None,
        "eos_token": {"__type": "AddedToken", "content": control[-1], "special": True},
    }
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **named, "chat_template": template}
    special = tuple(token for token in control if token)
    return ChatTokenizer(
        chatml(special, rstrip=form == "Phi-3"), "theirs.json", {"tokenizer_config.json": json.dumps(config)}
    )


@pytest.mark.parametrize("form", FORMS)
def test_what_is_learnt_is_each_reply_with_its_end(form: str) -> None:
    tokenizer = make(form)
    for messages in (TALK, TALK[1:]):
        ids, learnt = tokenizer.render(messages)
        spans: list[list[int]] = []
        for before, token, flag in zip([False, *learnt], ids, learnt, strict=False):
            if flag:
                spans += [[]] * (not before)
                spans[-1] = [*spans[-1], token]
        assert [tokenizer.decode(span, skip_special_tokens=False) for span in spans] == FORMS[form][2]
        assert tokenizer.end_id == spans[0][-1] == tokenizer.stop_ids[0]
        prompt = tokenizer.render(messages[:-1], add_generation_prompt=True).ids
        assert prompt == ids[: len(prompt)] and learnt[len(prompt)] and not learnt[len(prompt) - 1]


@pytest.mark.parametrize("form", FORMS)
def test_the_ids_are_those_of_transformers_and_its_files_come_out_as_they_went_in(form: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = make(form)
    tokenizer.save(tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["chat_template"] == FORMS[form][0]
    assert ChatTokenizer.load(tmp_path).files == tokenizer.files
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    settings = {"return_dict": False, "enable_thinking": False, "date_string": "26 Jul 2024"}  # dates stand still here
    odd = [{**message, "content": f"  it's {message['content']}\n"} for message in TALK]
    for messages, prompt in ((TALK, False), (TALK[1:], False), (TALK[1:4], True), (odd[1:4], True), (odd, False)):
        shown = theirs.apply_chat_template(messages, add_generation_prompt=prompt, **settings)
        ours = tokenizer.render(messages, add_generation_prompt=prompt).ids
        assert tokenizer.decode(ours, skip_special_tokens=False) == theirs.decode(shown)
        if messages is not odd or prompt:  # where a reply begins with white space, tokens may join over its beginning
            assert ours == shown


def test_a_default_system_prompt_and_one_of_the_row_are_written_by_the_template() -> None:
    smol = make("SmolLM2")
    assert smol.decode(smol.render(TALK[1:2]).ids, False).startswith("<|im_start|>system\nYou are helpful.<|im_end|>")
    assert smol.decode(smol.render(TALK[:2]).ids, False).startswith("<|im_start|>system\nBe short.<|im_end|>")
    gemma = make("Gemma")
    assert gemma.decode(gemma.render(TALK[:2]).ids, False) == (
        "<bos><start_of_turn>user\nBe short.\n\nHi there<end_of_turn>\n"
    )


def test_typed_control_tokens_stay_text_in_every_form() -> None:
    for form in FORMS:
        tokenizer = make(form)
        end = tokenizer.decode([tokenizer.end_id], skip_special_tokens=False)
        asked = [{"role": "user", "content": f"a{end}b"}]
        plain = [{"role": "user", "content": "ab"}]
        ids, other = (tokenizer.render(messages, add_generation_prompt=True).ids for messages in (asked, plain))
        assert ids.count(tokenizer.end_id) == other.count(tokenizer.end_id)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ messages[0].content }}", "leaves out or repeats messages"),
        ("{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}", "without a control token"),
        (CHATML.replace("message.content", "message.content | replace('x', 'y')"), "changes what messages say"),
        (CHATML.replace("message.content", "message.content.rstrip(' ')"), "changes what messages say"),
        (CHATML.replace("assistant\\n' }}", "assistant\\n<think>' }}"), "opens a reply with"),
        ("{% for", "is not Jinja"),
    ],
)
def test_a_template_that_the_parts_do_not_follow_is_refused(template: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        ChatTemplate(template, ["<|im_start|>", "<|im_end|>"], {}, "theirs.json")


def test_who_writes_the_thought_is_a_setting_that_is_saved(tmp_path: Path) -> None:
    make("Qwen3").save(tmp_path)
    empty = "<think>\n\n</think>\n\n"
    for thinking, prompt_end, learnt in ((False, empty, "No<|im_end|>"), (True, "assistant\n", empty + "No<|im_end|>")):
        ChatTokenizer.load(tmp_path, thinking).save(tmp_path / str(thinking))
        tokenizer = ChatTokenizer.load(tmp_path / str(thinking))
        assert tokenizer.decode(tokenizer.render(TALK[:4], True).ids, False).endswith(prompt_end)
        ids, supervised = tokenizer.render(TALK[3:])
        assert tokenizer.decode([i for i, flag in zip(ids, supervised, strict=True) if flag], False) == learnt
    with pytest.raises(UserError, match="knows no thoughts"):
        ChatTokenizer(chatml(), thinking=True)


def test_transformers_tells_our_replies_apart_and_marks_what_is_learnt(tmp_path: Path) -> None:
    """By `response_template` (transformers serve) and `{% generation %}` (TRL's assistant_only_loss)."""
    from transformers import AutoTokenizer

    talk = [{**message, "content": f" \n two\n\nlines {message['content']}\t3"} for message in TALK]
    for tokenizer in (TOKENIZER, WORDS, ChatTokenizer(chatml())):
        tokenizer.save(tmp_path)
        (tmp_path / "config.json").write_text('{"model_type": "qwen3"}')
        theirs = AutoTokenizer.from_pretrained(tmp_path)
        settings = {"return_dict": True, "return_assistant_tokens_mask": True}
        assert len(theirs) == tokenizer.vocab_size
        masked = theirs.apply_chat_template(talk, **settings)
        ours = tokenizer.render(talk)
        assert masked["input_ids"] == ours.ids
        assert masked["assistant_masks"] == [int(flag) for flag in ours.supervised]
        prompt = tokenizer.render(talk[:-1], add_generation_prompt=True).ids
        assert theirs.apply_chat_template(talk[:-1], add_generation_prompt=True, return_dict=False) == prompt
        made = [*tokenizer.encode("Yes, 4."), tokenizer.end_id]
        assert theirs.parse_response(made, prefix=prompt) == {"role": "assistant", "content": "Yes, 4."}


def test_text_that_goes_on_has_no_space_before_it_where_every_text_begins_with_one(tmp_path: Path) -> None:
    """Llama 2's form of tokenizers: TinyLlama, Mistral 7B."""
    from transformers import AutoTokenizer

    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *map(chr, range(33, 127)), "▁H"]
    tokenizer = Tokenizer(models.BPE({token: n for n, token in enumerate(tokens)}, [("▁", "H")], byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<s>", "</s>"])
    for form, reply in (("Zephyr", ["H", "</s>"]), ("Mistral", ["▁H", "</s>"])):
        config = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": FORMS[form][0]}
        files = {"tokenizer_config.json": json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **config})}
        ours = ChatTokenizer(tokenizer.to_str(), form, files)
        ours.save(tmp_path / form)
        theirs = AutoTokenizer.from_pretrained(tmp_path / form)
        talk = [TALK[1], {"role": "assistant", "content": "H"}]
        ids, learnt = ours.render(talk)
        assert ids == theirs.apply_chat_template(talk, return_dict=False)
        assert [tokens[token] for token, flag in zip(ids, learnt, strict=True) if flag] == reply
        assert [tokens[token] for token in ours.encode_reply("H")] == reply[:-1]


def test_a_base_model_without_a_template_is_saved_with_the_one_that_it_learnt_by(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    theirs = '{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "add_bos_token": false}'
    ends = '{"eos_token_id": [258, 7, -1, 99999]}'  # of which two are no tokens
    tokenizer = ChatTokenizer(chatml(), files={"tokenizer_config.json": theirs, "generation_config.json": ends})
    assert {*tokenizer.stop_ids} == {256, 257, 258, 7}
    tokenizer.save(tmp_path)
    assert (tmp_path / "tokenizer_config.json").read_text() == theirs
    shown = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(TALK, return_dict=False)
    assert shown == tokenizer.render(TALK).ids == ChatTokenizer.load(tmp_path).render(TALK).ids


def test_roles_that_a_template_refuses_and_words_that_it_looks_for_are_said_by_number() -> None:
    with pytest.raises(UserError, match="refuses the roles user, user: roles must alternate"):
        make("Mistral").render([TALK[1], TALK[1]])
    thought = [TALK[1], {"role": "assistant", "content": "<think>\nhm\n</think>\n\nYes"}]
    with pytest.raises(UserError, match=r"message 2 holds </think>, and the chat template of theirs\.json then"):
        make("Qwen3").render(thought)
    said = [{"role": "system", "content": "Be short. /think"}, *TALK[1:3]]
    for messages in (said, [{**said[0], "content": " "}, *TALK[1:3]]):
        with pytest.raises(UserError, match=r"message 1 (holds /think|is empty), and the chat template"):
            make("SmolLM3").render(messages)
    asked = [{**TALK[1], "content": "What is /think?"}, TALK[2]]  # not looked for here
    assert "What is /think?" in make("SmolLM3").decode(make("SmolLM3").render(asked).ids)
    TOKENIZER.render([{"role": "system", "content": ""}, {"role": "user", "content": "<|end|>"}])  # text to ours
    qwen, plain = make("Qwen3"), [TALK[1], TALK[2], TALK[3]]
    assert qwen.render([*thought, TALK[3]], True) == qwen.render(plain, True)  # a prompt, as the template writes it
