//! GPT-2: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
//!
//! Names and shapes are those of transformers' `GPT2LMHeadModel`, whose `Conv1D` weights lie `(in, out)`.

use super::inventory::{Inventory, in_block};
use super::layers::{Compute, Embedding, LayerNorm, Linear, Pass, add};
use super::network::Network;
use super::stage::Stage;
use crate::kernel::activation::activate;
use crate::kernel::attention::Heads;
use crate::{Activation, Config, Result, Tensors};

/// A decoder of pre-normed blocks: attention over learned positions, then an MLP of two layers.
pub(super) struct Gpt2 {
    wte: Embedding, // (vocab_size, hidden_size)
    wpe: Embedding, // (n_ctx, hidden_size)
    h: Vec<Block>,
    ln_f: LayerNorm, // (hidden_size)
    lm_head: Linear, // (vocab_size, hidden_size)
    activation: Activation,
}

struct Block {
    ln_1: LayerNorm,     // (hidden_size)
    c_attn: Linear,      // (hidden_size, 3 * hidden_size): queries, keys, values
    attn_c_proj: Linear, // (hidden_size, hidden_size)
    ln_2: LayerNorm,     // (hidden_size)
    c_fc: Linear,        // (hidden_size, intermediate_size)
    mlp_c_proj: Linear,  // (intermediate_size, hidden_size)
    heads: Heads,
}

impl Gpt2 {
    pub(super) fn load(config: &Config, tensors: &Tensors) -> Result<Self> {
        let Config { vocab_size, hidden_size: width, intermediate_size: inner, n_layers, norm_eps: eps, .. } = *config;
        let mut inventory = Inventory::new(tensors, "transformer.");
        let (wte, lm_head) = inventory.embedding_and_head("transformer.wte", vocab_size, width, config.tie_word_embeddings)?;
        let wpe = inventory.embedding("transformer.wpe", config.n_ctx, width)?;
        let mut h = Vec::new();
        for i in 0..n_layers {
            let name = |rest: &str| format!("transformer.h.{i}.{rest}");
            h.push(Block {
                ln_1: inventory.layer_norm(&name("ln_1"), width, eps)?,
                c_attn: inventory.conv1d(&name("attn.c_attn"), width, width.saturating_mul(3))?,
                attn_c_proj: inventory.conv1d(&name("attn.c_proj"), width, width)?,
                ln_2: inventory.layer_norm(&name("ln_2"), width, eps)?,
                c_fc: inventory.conv1d(&name("mlp.c_fc"), width, inner)?,
                mlp_c_proj: inventory.conv1d(&name("mlp.c_proj"), inner, width)?,
                heads: config.heads(i),
            });
        }
        let ln_f = inventory.layer_norm("transformer.ln_f", width, eps)?;
        inventory.finish(|name| is_mask_buffer(name, n_layers))?;
        Ok(Gpt2 { wte, wpe, h, ln_f, lm_head, activation: config.activation })
    }
}

/// Old checkpoints hold the causal mask and the number that masks.
fn is_mask_buffer(name: &str, n_layers: usize) -> bool {
    matches!(in_block(name, "h", n_layers), Some("attn.bias" | "attn.masked_bias"))
}

impl Network for Gpt2 {
    fn blocks(&self, pass: &mut Pass<'_>) -> Vec<f32> {
        let compute = pass.compute;
        let mut x = self.wte.forward(pass.ids.iter().copied()); // (rows, hidden_size)
        add(&mut x, &self.wpe.forward(pass.positions.iter().copied()));
        pass.observe(Stage::Embedding, &x);
        for (i, block) in self.h.iter().enumerate() {
            let hidden = block.ln_1.forward(&x);
            pass.observe(Stage::AttnNorm(i), &hidden);
            let qkv = block.c_attn.forward(compute, &hidden); // (rows, 3 * hidden_size)
            let [q, k, v] = split_in_three(&qkv, qkv.len() / pass.ids.len());
            pass.observe(Stage::AttnQ(i), &q);
            pass.observe(Stage::AttnK(i), &k);
            let attended = pass.attend(i, block.heads, &q, &k, &v);
            let attn_out = block.attn_c_proj.forward(compute, &attended);
            pass.observe(Stage::AttnOut(i), &attn_out);
            add(&mut x, &attn_out);

            let hidden = block.ln_2.forward(&x);
            let mut inner = block.c_fc.forward(compute, &hidden); // (rows, intermediate_size)
            activate(compute.parallel, self.activation, &mut inner);
            let mlp_out = block.mlp_c_proj.forward(compute, &inner);
            pass.observe(Stage::MlpOut(i), &mlp_out);
            add(&mut x, &mlp_out);
            pass.observe(Stage::Out(i), &x);
        }
        x
    }

    fn norm(&self, x: &[f32]) -> Vec<f32> {
        self.ln_f.forward(x)
    }

    fn head(&self, compute: Compute, normed: &[f32]) -> Vec<f32> {
        self.lm_head.forward(compute, normed)
    }
}

/// `(rows, 3 * width)` to three of `(rows, width)`.
fn split_in_three(rows: &[f32], stride: usize) -> [Vec<f32>; 3] {
    let width = stride / 3;
    [0, 1, 2].map(|part| rows.chunks_exact(stride).flat_map(|row| &row[part * width..][..width]).copied().collect())
}
