"""A vocabulary of words and pieces, learned from texts by byte-pair encoding."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

UNKNOWN = "[UNK]"
FEWEST = 16  # tokens that are kept of characters, however few are asked for
LONGEST = 100  # characters of a word: BERT gives longer ones up
LONG = re.compile(rf"\S{{{LONGEST + 1}}}")


def learned(texts: Iterable[str], size: int, lowercase: bool) -> Any:
    """A trained `tokenizers.Tokenizer` of at most `size` tokens, the unknown one counted.

    Where the texts have more characters than that (and than 16), the frequent ones are kept. The
    same texts give the same tokens, in the same order.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE(unk_token=UNKNOWN, fuse_unk=True))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    # The mark of a word's beginning is a character: marking pieces by a prefix or suffix, as
    # WordPiece does, makes the library's training depend on the order of its hash maps.
    words = [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Metaspace()]
    backend.pre_tokenizer = pre_tokenizers.Sequence(words)
    trainer = trainers.BpeTrainer(
        vocab_size=size, min_frequency=2, special_tokens=[UNKNOWN], show_progress=False
    )
    counts: Counter[str] = Counter()
    backend.train_from_iterator(_counted(texts, counts), trainer)
    most = max(size, FEWEST)
    if backend.get_vocab_size() > most:  # the library bounds merges, never characters
        backend.model = models.BPE(_frequent(backend, counts, most), [], unk_token=UNKNOWN)
        backend.model.fuse_unk = True
    return backend


def broken(text: str) -> str:
    """The text with each word of more than `LONGEST` characters broken into words of as many.

    Learning and reading a word cost the square of its length.
    """
    if not LONG.search(text):
        return text
    from tokenizers import pre_tokenizers

    parts, at = [], 0
    for _, (start, end) in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(text):
        for cut in range(start + LONGEST, end, LONGEST):
            parts.append(text[at:cut])
            at = cut
    return " ".join([*parts, text[at:]])


def _counted(texts: Iterable[str], counts: Counter[str]) -> Iterator[str]:
    for text in texts:
        counts.update(text)
        yield text


def _frequent(backend: Any, counts: Counter[str], size: int) -> dict[str, int]:
    """{token: id} of the unknown token and the most frequent characters that the words have."""
    known, found = set(backend.get_vocab()) - {UNKNOWN}, Counter[str]()
    for character, count in counts.items():
        for form in backend.normalizer.normalize_str(character):
            found[form] += count
    marks = sorted(known - found.keys())  # of a word's beginning
    kept = sorted(known & found.keys(), key=lambda c: (-found[c], c))
    return {token: i for i, token in enumerate([UNKNOWN, *marks, *kept][:size])}
