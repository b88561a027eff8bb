"""The three tokenizers of the roster, each built the way its family builds it."""

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

# The split of Qwen2: contractions, letters with one leading non-letter, single digits, punctuation, line ends, spaces.
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPACE = "\u2581"


def special(content: str) -> AddedToken:
    return AddedToken(content, special=True, normalized=False)


def learn(vocab_size: int, normalizer, pre_tokenizer, texts: list[str], alphabet: list[str]) -> list[str]:
    """The tokens that BPE training finds, in rank order, after the alphabet."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False, special_tokens=[], limit_alphabet=len(alphabet))
    tokenizer.train_from_iterator(texts, trainer)
    vocab = tokenizer.get_vocab()
    return sorted((token for token in vocab if token not in alphabet), key=vocab.__getitem__)


def all_splits(pieces: list[str], vocab: dict[str, int]) -> list[tuple[str, str]]:
    """Every way a piece splits into two pieces, ordered by the rank of the piece, then of its parts."""
    merges = []
    for piece in pieces:
        splits = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in vocab and piece[i:] in vocab]
        merges += sorted(splits, key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
    return merges


def llama(texts: list[str], vocab_size: int) -> Tokenizer:
    """SentencePiece BPE: specials, 256 bytes, runs of spaces, learned pieces, characters; all merge splits."""
    printable = [chr(c) for c in range(0x21, 0x7F)] + list("áéíóúñüß")
    characters = [SPACE, *printable]
    spaces = [SPACE * n for n in (2, 3, 4)]
    head = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *spaces]
    known = set(printable)
    plain = ["".join(c if c in known else " " for c in text) for text in texts]
    pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(SPACE, prepend_scheme="first"), pre_tokenizers.Digits(individual_digits=True)])
    learned = learn(vocab_size - len(head), None, pre_tokenizer, plain, characters)
    vocab = {token: i for i, token in enumerate([*head, *learned, *characters])}
    assert len(vocab) == vocab_size, len(vocab)
    tokenizer = Tokenizer(
        models.BPE(vocab=vocab, merges=all_splits([*spaces, *learned], vocab), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.add_special_tokens([special(t) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", vocab["<s>"])])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def byte_level(texts: list[str], vocab_size: int, normalizer, pre_tokenizer, specials: list[str]) -> Tokenizer:
    """Byte-level BPE with its special tokens last."""
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=vocab_size - len(specials), initial_alphabet=alphabet, show_progress=False, special_tokens=[])
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([special(t) for t in specials])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    assert tokenizer.get_vocab_size() == vocab_size, tokenizer.get_vocab_size()
    return tokenizer


def qwen2(texts: list[str], vocab_size: int) -> Tokenizer:
    """NFC, Qwen2's split, byte-level BPE; no token is added to a text."""
    split = pre_tokenizers.Split(Regex(QWEN2_SPLIT), behavior="isolated")
    pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return byte_level(texts, vocab_size, normalizers.NFC(), pre_tokenizer, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])


def gpt2(texts: list[str], vocab_size: int) -> Tokenizer:
    """Byte-level BPE with GPT-2's own pre-tokenizer."""
    return byte_level(texts, vocab_size, None, pre_tokenizers.ByteLevel(add_prefix_space=False), ["<|endoftext|>"])
