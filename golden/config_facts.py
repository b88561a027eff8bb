# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "safetensors==0.8.0", "tokenizers==0.23.2", "numpy==2.4.6"]
# ///
"""Write testdata/config/facts.json: what transformers makes of small configurations. `uv run golden/config_facts.py`.

Each case is a config.json (and a generation_config.json, or none). transformers resolves it, builds the model and runs three tokens
through it; what it then computes with is written down, or the class of the error it ended with. `here` is what the engine does with
the case: `same`, the reason with which it refuses what transformers takes, or `accepted` (`null` is absent everywhere).
"""

import json
import math
import struct
import tempfile
import warnings
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 32, "hidden_size": 32, "intermediate_size": 40,
    "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
}
QWEN2 = LLAMA | {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "num_key_value_heads": 2, "num_hidden_layers": 4}
GPT2 = {
    "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 32, "n_embd": 32, "n_layer": 2, "n_head": 4,
    "n_positions": 64,
}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
ABSENT = object()  # takes a field out


def llama(**fields):
    return merged(LLAMA, fields)


def qwen2(**fields):
    return merged(QWEN2, fields)


def gpt2(**fields):
    return merged(GPT2, fields)


def merged(base, fields):
    return {name: value for name, value in (base | fields).items() if value is not ABSENT}


# name, config.json, generation_config.json, here
CASES = [
    ("llama", llama(), None, "same"),
    ("llama-defaults", llama(rms_norm_eps=ABSENT, max_position_embeddings=ABSENT), None, "same"),
    ("llama-no-architectures", llama(architectures=ABSENT), None, "same"),
    ("llama-gqa", llama(num_key_value_heads=2), None, "same"),
    ("llama-mqa", llama(num_key_value_heads=1), None, "same"),
    ("llama-kv-null", llama(num_key_value_heads=None), None, "same"),
    ("llama-kv-does-not-divide", llama(num_key_value_heads=3), None, "refused"),
    ("llama-heads-do-not-divide", llama(num_attention_heads=5), None, "refused"),
    ("llama-heads-do-not-divide-head-dim", llama(num_attention_heads=5, head_dim=8), None, "refused"),
    ("llama-head-dim", llama(head_dim=12), None, "same"),
    ("llama-head-dim-null", llama(head_dim=None), None, "same"),
    ("llama-head-dim-odd", llama(head_dim=7), None, "refused"),
    ("llama-biases", llama(attention_bias=True, mlp_bias=True), None, "same"),
    ("llama-tied", llama(tie_word_embeddings=True), None, "same"),
    ("llama-gelu", llama(hidden_act="gelu_pytorch_tanh"), None, "same"),
    ("llama-unknown-activation", llama(hidden_act="gelu_sometimes"), None, "refused"),
    ("llama-integer-eps", llama(rms_norm_eps=1), None, "refused"),
    ("llama-string-size", llama(hidden_size="32"), None, "refused"),
    ("llama-float-size", llama(hidden_size=32.0), None, "refused"),
    ("llama-boolean-size", llama(num_hidden_layers=True), None, "refused"),
    ("llama-string-flag", llama(tie_word_embeddings="true"), None, "refused"),
    ("llama-partial-rotary", llama(partial_rotary_factor=0.5), None, "unsupported"),
    ("llama-dtype", llama(torch_dtype="bfloat16"), None, "same"),
    ("llama-pretraining-tp", llama(pretraining_tp=2), None, "same"),
    # rotary embeddings, transformers 4
    ("theta", llama(rope_theta=5e5), None, "same"),
    ("theta-integer", llama(rope_theta=1000000), None, "same"),
    ("theta-null", llama(rope_theta=None, rope_scaling={"type": "linear", "factor": 2.0}), None, "accepted"),
    ("theta-string", llama(rope_theta="10000"), None, "refused"),
    ("linear-type", llama(rope_scaling={"type": "linear", "factor": 2.0}), None, "same"),
    ("linear-rope-type", llama(rope_scaling={"rope_type": "linear", "factor": 3}, rope_theta=777.0), None, "same"),
    ("linear-half", llama(rope_scaling={"type": "linear", "factor": 0.5}), None, "same"),
    ("linear-no-factor", llama(rope_scaling={"type": "linear"}), None, "refused"),
    ("rope-type-before-type", llama(rope_scaling={"rope_type": "linear", "type": "default", "factor": 2.0}), None, "same"),
    ("default-with-factor", llama(rope_scaling={"type": "default", "factor": 2.0}), None, "same"),
    ("scaling-empty", llama(rope_scaling={}, rope_theta=500.0), None, "same"),
    ("scaling-without-type", llama(rope_scaling={"factor": 2.0}), None, "same"),
    ("dynamic", llama(rope_scaling={"type": "dynamic", "factor": 2.0}), None, "unsupported"),
    ("longrope", llama(rope_scaling={
        "type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4, "original_max_position_embeddings": 32,
    }), None, "unsupported"),
    ("proportional", llama(rope_parameters={"rope_type": "proportional", "rope_theta": 1e4}), None, "unsupported"),
    ("unknown-type", llama(rope_scaling={"type": "su", "factor": 2.0}), None, "refused"),
    ("llama3", llama(rope_scaling=LLAMA3, rope_theta=5e5, max_position_embeddings=256), None, "same"),
    ("llama3-original-absent", llama(rope_scaling={k: v for k, v in LLAMA3.items() if k[0] != "o"}), None, "same"),
    ("llama3-original-of-the-file", llama(rope_scaling=LLAMA3, original_max_position_embeddings=16), None, "same"),
    ("llama3-no-factor", llama(rope_scaling={k: v for k, v in LLAMA3.items() if k != "factor"}), None, "refused"),
    ("llama3-equal-factors", llama(rope_scaling=LLAMA3 | {"high_freq_factor": 1.0}), None, "out-of-range"),
    ("yarn", llama(rope_scaling=YARN), None, "same"),
    ("yarn-original-absent", llama(rope_scaling={"type": "yarn", "factor": 4.0}), None, "same"),
    ("yarn-original-of-the-file", llama(rope_scaling=YARN, original_max_position_embeddings=32), None, "same"),
    ("yarn-factor-null", llama(rope_scaling=YARN | {"factor": None}), None, "same"),
    ("yarn-factor-absent", llama(rope_scaling={"type": "yarn", "original_max_position_embeddings": 16}), None, "refused"),
    ("yarn-factor-one", llama(rope_scaling=YARN | {"factor": 1.0}), None, "same"),
    ("yarn-attention-factor", llama(rope_scaling=YARN | {"attention_factor": 0.75}), None, "same"),
    ("yarn-mscale", llama(rope_scaling=YARN | {"mscale": 0.707, "mscale_all_dim": 1.0}), None, "same"),
    ("yarn-mscale-alone", llama(rope_scaling=YARN | {"mscale": 0.707}), None, "same"),
    ("yarn-mscale-zero", llama(rope_scaling=YARN | {"mscale": 0.707, "mscale_all_dim": 0}), None, "same"),
    ("yarn-betas", llama(rope_scaling=YARN | {"beta_fast": 8, "beta_slow": 2.0}), None, "same"),
    ("yarn-beta-zero", llama(rope_scaling=YARN | {"beta_fast": 0, "beta_slow": 0}), None, "same"),
    ("yarn-not-truncated", llama(rope_scaling=YARN | {"truncate": False}, head_dim=32, max_position_embeddings=4096), None, "same"),
    ("yarn-wide", llama(rope_scaling=YARN | {"original_max_position_embeddings": 1024}, head_dim=64, rope_theta=1e6), None, "same"),
    ("yarn-finetuned", llama(rope_scaling=YARN | {"finetuned": True}), None, "same"),
    ("yarn-unknown-key", llama(rope_scaling=YARN | {"extrapolation_factor": 2.0}), None, "unknown-field"),
    # rotary embeddings, transformers 5
    ("parameters", llama(rope_parameters={"rope_type": "default", "rope_theta": 2e4}), None, "same"),
    ("parameters-without-theta", llama(rope_parameters={"rope_type": "linear", "factor": 2.0}, rope_theta=3e4), None, "same"),
    ("parameters-before-theta", llama(rope_parameters={"rope_type": "default", "rope_theta": 2e4}, rope_theta=3e4), None, "same"),
    ("parameters-theta-nowhere", llama(rope_parameters={"rope_type": "linear", "factor": 2.0}), None, "same"),
    ("scaling-before-parameters", llama(
        rope_scaling={"type": "linear", "factor": 2.0}, rope_parameters={"rope_type": "default", "rope_theta": 2e4},
    ), None, "same"),
    ("scaling-null-beside-parameters", llama(
        rope_scaling=None, rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 2e4},
    ), None, "same"),
    ("parameters-yarn", qwen2(rope_parameters={"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 16}), None, "same"),
    ("parameters-per-layer-type", qwen2(rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 1e4}}), None, "refused"),
    # qwen2
    ("qwen2", qwen2(), None, "same"),
    ("qwen2-kv-absent", qwen2(num_key_value_heads=ABSENT), None, "refused"),
    ("qwen2-kv-null", qwen2(num_key_value_heads=None), None, "same"),
    ("qwen2-head-dim", qwen2(head_dim=16), None, "same"),
    ("qwen2-heads-do-not-divide-head-dim", qwen2(hidden_size=36, num_attention_heads=8, head_dim=4), None, "same"),
    ("qwen2-heads-do-not-divide", qwen2(hidden_size=34, num_attention_heads=4), None, "not-a-multiple"),
    ("qwen2-window-unused", qwen2(use_sliding_window=False, sliding_window=8, max_window_layers=2), None, "same"),
    ("qwen2-window", qwen2(use_sliding_window=True, sliding_window=8, max_window_layers=2), None, "same"),
    ("qwen2-window-all-layers", qwen2(use_sliding_window=True, sliding_window=8, max_window_layers=0), None, "same"),
    ("qwen2-window-past-the-layers", qwen2(use_sliding_window=True, sliding_window=8), None, "same"),
    ("qwen2-window-default", qwen2(use_sliding_window=True, max_window_layers=1), None, "same"),
    ("qwen2-window-null", qwen2(use_sliding_window=True, sliding_window=None, max_window_layers=1), None, "same"),
    ("qwen2-layer-types", qwen2(
        use_sliding_window=True, sliding_window=8, layer_types=["sliding_attention", "full_attention"] * 2,
    ), None, "same"),
    ("qwen2-layer-types-old-name", qwen2(layer_types=["attention"] * 4), None, "same"),
    ("qwen2-layer-types-no-window", qwen2(layer_types=["sliding_attention"] * 4), None, "refused"),
    ("qwen2-layer-types-too-few", qwen2(layer_types=["full_attention"] * 3), None, "refused"),
    ("qwen2-layer-types-unknown", qwen2(layer_types=["some_attention"] * 4), None, "refused"),
    # gpt2
    ("gpt2", gpt2(), None, "same"),
    ("gpt2-inner", gpt2(n_inner=48), None, "same"),
    ("gpt2-inner-null", gpt2(n_inner=None, layer_norm_epsilon=1e-6), None, "same"),
    ("gpt2-second-names", gpt2(
        n_embd=ABSENT, hidden_size=24, n_layer=ABSENT, num_hidden_layers=3, n_head=ABSENT, num_attention_heads=2,
        n_positions=ABSENT, max_position_embeddings=48,
    ), None, "same"),
    ("gpt2-two-names-differ", gpt2(hidden_size=24), None, "conflict"),
    ("gpt2-scaling", gpt2(scale_attn_weights=False, scale_attn_by_inverse_layer_idx=True), None, "same"),
    ("gpt2-reorder", gpt2(reorder_and_upcast_attn=True), None, "same"),
    ("gpt2-untied", gpt2(tie_word_embeddings=False), None, "same"),
    ("gpt2-activation", gpt2(activation_function="gelu"), None, "same"),
    ("gpt2-heads-do-not-divide", gpt2(n_head=5), None, "refused"),
    ("gpt2-cross-attention", gpt2(add_cross_attention=True), None, "unsupported"),
    ("gpt2-old-file", gpt2(n_ctx=64, task_specific_params={"text-generation": {"max_length": 50}}, summary_type="cls_index"), None, "same"),
    # begin and end of text
    ("ids-absent", llama(), None, "same"),
    ("ids-stated", llama(bos_token_id=3, eos_token_id=4), None, "same"),
    ("ids-null", llama(bos_token_id=None, eos_token_id=None), None, "same"),
    ("ids-list", llama(eos_token_id=[9, 4, 9]), None, "same"),
    ("ids-zero", llama(bos_token_id=0, eos_token_id=0), None, "same"),
    ("ids-past-the-vocabulary", llama(bos_token_id=32, eos_token_id=50256), None, "same"),
    ("ids-generation-config", llama(eos_token_id=4), {"eos_token_id": [7, 5]}, "same"),
    ("ids-generation-config-without", llama(eos_token_id=4), {"bos_token_id": 1}, "same"),
    ("ids-generation-config-null", llama(eos_token_id=4), {"eos_token_id": None}, "same"),
    ("ids-generation-config-empty", llama(eos_token_id=4), {}, "same"),
    ("ids-gpt2-absent", gpt2(), None, "same"),
]


def bits(value):
    return f"{struct.unpack('<I', struct.pack('<f', value))[0]:08x}"


def eos_of(folder):
    """The rule of `generate`: generation_config.json if it is there, else config.json as it is written."""
    try:
        generation = GenerationConfig.from_pretrained(folder)
    except OSError:
        generation = GenerationConfig.from_pretrained(folder, config_file_name="config.json", _from_model_config=True)
    eos = generation.eos_token_id
    return sorted({eos} if isinstance(eos, int) else set(eos or ()))


def facts(folder):
    config = AutoConfig.from_pretrained(folder)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        logits = model(torch.tensor([[1, 2, 3]])).logits
    if not math.isfinite(logits.sum().item()):
        raise FloatingPointError("the logits are not finite")
    if config.model_type == "gpt2":
        block = model.transformer.h[0]
        found = {
            "head_dim": block.attn.head_dim, "n_kv_heads": block.attn.num_heads, "intermediate_size": block.mlp.c_fc.nf,
            "norm_eps": block.ln_1.eps, "activation": config.activation_function, "attention_bias": True, "mlp_bias": True,
            "rope": None, "windows": [None] * config.n_layer,
            "scalings": [bits(layer.attn.scaling) for layer in model.transformer.h],
        }
    else:
        block, rotary = model.model.layers[0], model.model.rotary_emb
        found = {
            "head_dim": block.self_attn.head_dim, "n_kv_heads": block.self_attn.k_proj.out_features // block.self_attn.head_dim,
            "intermediate_size": block.mlp.gate_proj.out_features, "norm_eps": block.input_layernorm.variance_epsilon,
            "activation": config.hidden_act, "attention_bias": block.self_attn.q_proj.bias is not None,
            "mlp_bias": block.mlp.gate_proj.bias is not None,
            "rope": {"inv_freq": [bits(f) for f in rotary.inv_freq.tolist()], "attention_factor": bits(rotary.attention_scaling)},
            "windows": [getattr(layer.self_attn, "sliding_window", None) for layer in model.model.layers],
            "scalings": [bits(layer.self_attn.scaling) for layer in model.model.layers],
        }
    return {
        "vocab_size": config.vocab_size, "hidden_size": config.hidden_size, "n_layers": config.num_hidden_layers,
        "n_heads": config.num_attention_heads, "n_ctx": config.max_position_embeddings,
        "tie_word_embeddings": config.tie_word_embeddings, "bos": config.bos_token_id, "eos": eos_of(folder), **found,
    }


def main():
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    cases = []
    for name, config, generation, here in CASES:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "config.json").write_text(json.dumps(config))
            if generation is not None:
                Path(folder, "generation_config.json").write_text(json.dumps(generation))
            try:
                found = facts(folder)
            except Exception as error:  # noqa: BLE001: whatever it ends with is the fact
                found = {"refused": type(error).__name__}
        if ("refused" in found) != (here in ("refused", "accepted")):
            print(f"{name}: expected {here}, found {found}")
        cases.append({"name": name, "config": config, "generation_config": generation, "transformers": found, "here": here})
    out = Path(__file__).parent.parent / "testdata" / "config" / "facts.json"
    head = {"transformers": transformers.__version__, "torch": torch.__version__}
    rows = ",\n".join("    " + json.dumps(case) for case in cases)
    out.write_text(f'{{\n  "versions": {json.dumps(head)},\n  "cases": [\n{rows}\n  ]\n}}\n')


if __name__ == "__main__":
    main()
