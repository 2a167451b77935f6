"""The tokenizer of a student that starts from scratch: byte-pair merges of its own tickets.

Not WordPiece: the library's trainer numbers its `##` pieces in the order of a hash map, so that
two trainings on the same texts gave two tokenizers, and two students.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def train_tokenizer(texts: Sequence[str], *, vocabulary: int, max_tokens: int) -> Any:
    """Return a `PreTrainedTokenizerFast` with at most `vocabulary` pieces.

    Words that come later are spelled from known pieces, so the vocabulary can stay for the
    student's whole life; only a character that the texts never held becomes `[UNK]`.
    """
    from tokenizers import (
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast

    # names of pieces by their role, as both libraries call them
    roles = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    inner = Tokenizer(models.BPE(unk_token=roles["unk_token"]))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    # words and punctuation, each marked where it begins
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    inner.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=list(roles.values()), show_progress=False
    )
    inner.train_from_iterator(texts, trainer)
    ends = [(name, inner.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=ends
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=max_tokens, **roles)
