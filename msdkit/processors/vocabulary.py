"""A vocabulary of words and pieces, learned from texts by byte-pair encoding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

UNKNOWN = "[UNK]"
LONGEST = 100  # characters: longer words are read in parts of as many; BERT gives such words up


def learned(texts: Iterable[str], size: int, lowercase: bool) -> Any:
    """A trained `tokenizers.Tokenizer` of at most `size` tokens, the unknown one counted.

    Where the texts have more characters than that, the frequent ones are kept. The same texts give
    the same tokens, in the same order. Time grows with the length of the texts alone.
    """
    from tokenizers import Tokenizer, models, normalizers, trainers

    backend = Tokenizer(models.BPE(unk_token=UNKNOWN, fuse_unk=True))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = _words()
    trainer = trainers.BpeTrainer(
        vocab_size=size, min_frequency=2, special_tokens=[UNKNOWN], show_progress=False
    )
    counts: Counter[str] = Counter()
    backend.train_from_iterator(_counted(texts, counts), trainer)
    if backend.get_vocab_size() > size:  # the library bounds merges, never characters
        backend.model = models.BPE(_frequent(backend, counts, size), [], unk_token=UNKNOWN)
        backend.model.fuse_unk = True
    return backend


def _words() -> Any:
    """text -> words, each marked at its beginning, none longer than `LONGEST`.

    The mark is a character: marking pieces by a prefix or suffix, as WordPiece does, makes the
    library's training depend on the order of its hash maps. A word without end would cost the
    square of its length.
    """
    from tokenizers import pre_tokenizers

    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.BertPreTokenizer(),
            pre_tokenizers.Metaspace(),
            pre_tokenizers.FixedLength(LONGEST),
        ]
    )


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
    return {token: i for i, token in enumerate([UNKNOWN, *marks, *kept][: max(size, 1)])}
