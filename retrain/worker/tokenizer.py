"""The tokenizer of a student that starts from scratch: WordPiece, trained on its own tickets."""

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
    inner = Tokenizer(models.WordPiece(unk_token=roles["unk_token"]))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary, special_tokens=list(roles.values()), show_progress=False
    )
    inner.train_from_iterator(texts, trainer)
    ends = [(name, inner.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=ends
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=max_tokens, **roles)
