//! Qwen2: Yang et al. 2024 (arXiv 2407.10671).
//!
//! Names and shapes are those of transformers' `Qwen2ForCausalLM`. Beside LLaMA: queries, keys and values always have
//! biases and nothing else has, and a block may see a window of positions only.

use super::inventory::Inventory;
use super::layers::{Compute, Embedding, Linear, Pass, RmsNorm, add};
use super::llama::is_rotary_buffer;
use super::network::Network;
use super::stage::Stage;
use crate::kernel::activation::activate_gated;
use crate::kernel::attention::Heads;
use crate::kernel::rope::Rope;
use crate::{Activation, Config, Result, Tensors};

/// A decoder of pre-normed blocks: rotary attention with biases and windows, then a gated MLP.
pub(super) struct Qwen2 {
    embed_tokens: Embedding, // (vocab_size, hidden_size)
    layers: Vec<Block>,
    norm: RmsNorm,   // (hidden_size)
    lm_head: Linear, // (vocab_size, hidden_size)
    rope: Rope,
    activation: Activation,
}

struct Block {
    input_layernorm: RmsNorm,          // (hidden_size)
    q_proj: Linear,                    // (n_heads * head_dim, hidden_size), with bias
    k_proj: Linear,                    // (n_kv_heads * head_dim, hidden_size), with bias
    v_proj: Linear,                    // (n_kv_heads * head_dim, hidden_size), with bias
    o_proj: Linear,                    // (hidden_size, n_heads * head_dim)
    post_attention_layernorm: RmsNorm, // (hidden_size)
    gate_proj: Linear,                 // (intermediate_size, hidden_size)
    up_proj: Linear,                   // (intermediate_size, hidden_size)
    down_proj: Linear,                 // (hidden_size, intermediate_size)
    heads: Heads,                      // with the window of this block
}

impl Qwen2 {
    pub(super) fn load(config: &Config, tensors: &Tensors) -> Result<Self> {
        let Config { vocab_size, hidden_size, n_layers, n_heads, n_kv_heads, head_dim, .. } = *config;
        let mut inventory = Inventory::new(tensors, "model.");
        let (embed_tokens, lm_head) =
            inventory.embedding_and_head("model.embed_tokens", vocab_size, hidden_size, config.tie_word_embeddings)?;
        let mut layers = Vec::new();
        for i in 0..n_layers {
            let (q_width, kv_width) = (n_heads.saturating_mul(head_dim), n_kv_heads.saturating_mul(head_dim));
            let (width, inner) = (hidden_size, config.intermediate_size);
            let name = |rest: &str| format!("model.layers.{i}.{rest}");
            layers.push(Block {
                input_layernorm: inventory.rms_norm(&name("input_layernorm"), width, config.norm_eps)?,
                q_proj: inventory.linear(&name("self_attn.q_proj"), q_width, width, true)?,
                k_proj: inventory.linear(&name("self_attn.k_proj"), kv_width, width, true)?,
                v_proj: inventory.linear(&name("self_attn.v_proj"), kv_width, width, true)?,
                o_proj: inventory.linear(&name("self_attn.o_proj"), width, q_width, false)?,
                post_attention_layernorm: inventory.rms_norm(&name("post_attention_layernorm"), width, config.norm_eps)?,
                gate_proj: inventory.linear(&name("mlp.gate_proj"), inner, width, false)?,
                up_proj: inventory.linear(&name("mlp.up_proj"), inner, width, false)?,
                down_proj: inventory.linear(&name("mlp.down_proj"), width, inner, false)?,
                heads: config.heads(i),
            });
        }
        let norm = inventory.rms_norm("model.norm", hidden_size, config.norm_eps)?;
        inventory.finish(|name| is_rotary_buffer(name, n_layers))?;
        let rope = config.rotary();
        Ok(Qwen2 { embed_tokens, layers, norm, lm_head, rope, activation: config.activation })
    }
}

impl Network for Qwen2 {
    fn blocks(&self, pass: &mut Pass<'_>) -> Vec<f32> {
        let compute = pass.compute;
        let mut x = self.embed_tokens.forward(pass.ids.iter().copied()); // (rows, hidden_size)
        pass.observe(Stage::Embedding, &x);
        let angles = self.rope.angles(&pass.positions);
        for (i, block) in self.layers.iter().enumerate() {
            let h = block.input_layernorm.forward(&x);
            pass.observe(Stage::AttnNorm(i), &h);
            let mut q = block.q_proj.forward(compute, &h); // (rows, n_heads * head_dim)
            let mut k = block.k_proj.forward(compute, &h); // (rows, n_kv_heads * head_dim)
            let v = block.v_proj.forward(compute, &h); // (rows, n_kv_heads * head_dim)
            angles.rotate(&mut q);
            angles.rotate(&mut k);
            pass.observe(Stage::AttnQ(i), &q);
            pass.observe(Stage::AttnK(i), &k);
            let attended = pass.attend(i, block.heads, &q, &k, &v);
            let attn_out = block.o_proj.forward(compute, &attended);
            pass.observe(Stage::AttnOut(i), &attn_out);
            add(&mut x, &attn_out);

            let h = block.post_attention_layernorm.forward(&x);
            let mut gate = block.gate_proj.forward(compute, &h); // (rows, intermediate_size)
            let up = block.up_proj.forward(compute, &h); // (rows, intermediate_size)
            activate_gated(compute.parallel, self.activation, &mut gate, &up);
            let mlp_out = block.down_proj.forward(compute, &gate);
            pass.observe(Stage::MlpOut(i), &mlp_out);
            add(&mut x, &mlp_out);
            pass.observe(Stage::Out(i), &x);
        }
        x
    }

    fn norm(&self, x: &[f32]) -> Vec<f32> {
        self.norm.forward(x)
    }

    fn head(&self, compute: Compute, normed: &[f32]) -> Vec<f32> {
        self.lm_head.forward(compute, normed)
    }
}
