"""Training a tokenizer. In: texts, streamed. Out: a `ChatTokenizer` with a byte-level vocabulary. Next: datamodules.

Text is split into words, single digits, punctuation and white space before merges are counted, so a number is always
read digit by digit: ``27 + 15`` → ``2 7 ␣+ ␣ 1 5``. All 256 bytes are in the vocabulary: nothing is ever unknown.

What merges do to words, and what a vocabulary of whole words does instead:

    merges         Spell␣cut  →  Sp ell ␣c ut      every word becomes pieces, whose letters a model has to learn
    whole words    Spell␣cut  →  Spell ␣ c u t     frequent words are one token, all others stay letters
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from picochat.errors import UserError
from picochat.model.tokenizer import ChatTokenizer
from picochat.model.turns import SPECIAL_TOKENS

SMALLEST = len(SPECIAL_TOKENS) + 256
# Contractions, words with the space before them, one digit, punctuation with the space before it, white space up to
# the space that belongs to the next word, other white space.
_PATTERN = r"'(?i:[sdmt]|ll|ve|re)\b| ?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+"
_SEEN = 2  # a pair or a word seen once would be memorised


def train_tokenizer(texts: Iterable[str], vocab_size: int, *, whole_words: bool = False) -> ChatTokenizer:
    """Learn a byte-level vocabulary of exactly ``vocab_size`` tokens; ``texts`` are streamed, never held.

    Beside bytes and control tokens it has BPE's merges or, ``whole_words``, the words that spare the most tokens.
    UserError: ``vocab_size`` is below 262, or above what the texts can fill; it names what can be reached.
    """
    if vocab_size < SMALLEST:
        parts = f"{len(SPECIAL_TOKENS)} control tokens and 256 bytes"
        raise UserError(f"a vocabulary of {vocab_size} is too small: {parts} make {SMALLEST}")
    found = (text for text in texts if text)
    if (first := next(found, None)) is None:
        raise UserError("the source holds no text; a tokenizer needs some to learn from")
    streamed = chain([first], found)
    split: Any = pre_tokenizers.Split(Regex(_PATTERN), "isolated")
    in_bytes: Any = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    model = _words(streamed, vocab_size, split, in_bytes) if whole_words else models.BPE()
    tokenizer: Any = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, in_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    if whole_words:
        tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    else:
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=_SEEN,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,  # prints blank lines where there is no terminal
        )
        tokenizer.train_from_iterator(streamed, trainer=trainer)
    reached = tokenizer.get_vocab_size()
    if reached < vocab_size:
        remedy = f"ask for {reached} or fewer (--vocab-size {reached}; in a config data.vocab_size), or give more text"
        raise UserError(f"the text is too small for a vocabulary of {vocab_size}: {reached} can be reached; {remedy}")
    return ChatTokenizer(tokenizer.to_str(pretty=True))


def _words(texts: Iterator[str], vocab_size: int, split: Any, in_bytes: Any) -> Any:
    """The words, with the space before them, of two letters and more that as one token spare most of them."""
    counts = Counter(part for text in texts for part, _ in split.pre_tokenize_str(text))
    spared = {
        word: times * (len(word.encode()) - 1)
        for word, times in counts.items()
        if times >= _SEEN and len(word.strip()) > 1 and word.strip().isalpha()
    }
    words = sorted(spared, key=lambda word: (-spared[word], word))[: vocab_size - SMALLEST]
    written = [in_bytes.pre_tokenize_str(word)[0][0] for word in words]
    vocabulary = (*SPECIAL_TOKENS, *sorted(pre_tokenizers.ByteLevel.alphabet()), *written)
    # no merges: a word is looked up as a whole, or stays bytes
    return models.BPE(vocab={token: n for n, token in enumerate(vocabulary)}, merges=[], ignore_merges=True)
