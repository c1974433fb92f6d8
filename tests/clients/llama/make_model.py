#!/usr/bin/env python3
"""Writes a tiny llama-architecture model with random weights: it babbles, but the server that runs it is the real one.

Usage: make_model.py OUT.gguf
The weights come from a fixed seed, so that two machines make the same file (half a megabyte).
"""

import sys

import gguf
import numpy

WIDTH, LAYERS, HEADS, FEED_FORWARD, CONTEXT = 64, 2, 4, 128, 4096
PIECES = ["\u2581", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?:;{}[]\"'()-_/"]
WORDS = ["\u2581the", "\u2581gateway", "\u2581counts", "\u2581every", "\u2581token", "\u2581and", "\u2581hello"]
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
Kind = gguf.TokenType


def vocabulary():
    """Yields token, kind, score: the specials, every byte, then pieces with falling scores."""
    yield "<unk>", Kind.UNKNOWN, 0.0
    yield "<s>", Kind.CONTROL, 0.0
    yield "</s>", Kind.CONTROL, 0.0
    for byte in range(256):
        yield f"<0x{byte:02X}>", Kind.BYTE, 0.0
    for rank, piece in enumerate(PIECES + WORDS):
        yield piece, Kind.NORMAL, -float(rank)


def describe(model, tokens):
    model.add_name("tiny-random")
    model.add_context_length(CONTEXT)
    model.add_embedding_length(WIDTH)
    model.add_block_count(LAYERS)
    model.add_feed_forward_length(FEED_FORWARD)
    model.add_head_count(HEADS)
    model.add_head_count_kv(HEADS)
    model.add_rope_dimension_count(WIDTH // HEADS)
    model.add_layer_norm_rms_eps(1e-5)
    model.add_vocab_size(len(tokens))
    model.add_file_type(gguf.LlamaFileType.ALL_F32)
    model.add_tokenizer_model("llama")
    model.add_tokenizer_pre("default")
    model.add_token_list([token.encode() for token, _, _ in tokens])
    model.add_token_types([int(kind) for _, kind, _ in tokens])
    model.add_token_scores([score for _, _, score in tokens])
    model.add_unk_token_id(0)
    model.add_bos_token_id(1)
    model.add_eos_token_id(2)
    model.add_add_bos_token(True)
    model.add_chat_template(TEMPLATE)


def fill(model, vocabulary_size):
    random = numpy.random.default_rng(7)

    def noise(name, *shape):
        model.add_tensor(f"{name}.weight", (random.standard_normal(shape) * 0.2).astype(numpy.float32))

    def ones(name):
        model.add_tensor(f"{name}.weight", numpy.ones(WIDTH, numpy.float32))

    noise("token_embd", vocabulary_size, WIDTH)
    ones("output_norm")
    # Specials and single bytes get no weight: the likeliest token is always text, so a greedy answer is valid UTF-8 and
    # ends at its cap. (The server sends no message_start when a stream begins inside a character.)
    output = (random.standard_normal((vocabulary_size, WIDTH)) * 0.2).astype(numpy.float32)
    output[: vocabulary_size - len(PIECES + WORDS)] = 0
    model.add_tensor("output.weight", output)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        ones(block + "attn_norm")
        ones(block + "ffn_norm")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            noise(block + part, WIDTH, WIDTH)
        noise(block + "ffn_gate", FEED_FORWARD, WIDTH)
        noise(block + "ffn_up", FEED_FORWARD, WIDTH)
        noise(block + "ffn_down", WIDTH, FEED_FORWARD)


def main():
    tokens = list(vocabulary())
    model = gguf.GGUFWriter(sys.argv[1], "llama")
    describe(model, tokens)
    fill(model, len(tokens))
    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()


if __name__ == "__main__":
    main()
