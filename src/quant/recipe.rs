//! Which type each tensor gets: the recipes that file names stand for (`q4_k_m` is mostly Q4_K, and Q6_K where it pays).
//!
//! Those of GGUF choose as llama.cpp does, `llama_tensor_get_type` in [llama-quant.cpp], without an importance matrix: equal on all 288
//! cases of `golden/vectors/quant-recipes.json` and on the files of ref256. Those of APR leave biases, norms and small tensors alone, as
//! its converter does. safetensors has one type for everything.
//!
//! [llama-quant.cpp]: https://github.com/ggml-org/llama.cpp/blob/master/src/llama-quant.cpp

use crate::{Architecture, Dtype};

/// What a column of the matrix does to a model's weights.
#[allow(missing_docs, reason = "the names are those of the recipes")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quantization {
    F32,
    F16,
    BF16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q2K,
    Q3KS,
    Q3KM,
    Q3KL,
    Q4KS,
    Q4KM,
    Q5KS,
    Q5KM,
    Q6K,
    /// Of files that others made: it is chosen as llama.cpp chooses, and never written.
    Iq4Nl,
    /// Of files that others made: it is chosen as llama.cpp chooses, and never written.
    Iq4Xs,
    AprQ8,
    AprQ4,
    AprQ4K,
    AprQ6K,
}

use Quantization::*;

/// Tensors of APR with fewer elements stay F32.
const APR_SMALL: usize = 1024;

impl Quantization {
    /// Those that a container of that name (`gguf`, `apr`, `safetensors`) is written with; none for another name.
    pub const fn of(format: &str) -> &'static [Quantization] {
        match format.as_bytes() {
            b"safetensors" => &[F32, F16, BF16],
            b"gguf" => &[F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2K, Q3KS, Q3KM, Q3KL, Q4KS, Q4KM, Q5KS, Q5KM, Q6K],
            b"apr" => &[F32, F16, BF16, AprQ8, AprQ4, AprQ4K, AprQ6K],
            _ => &[],
        }
    }

    /// The quantization of that name in a container of that name.
    pub fn parse(format: &str, name: &str) -> Option<Quantization> {
        Self::of(format).iter().copied().find(|quantization| quantization.name() == name)
    }

    /// Its name, which says it all together with the container's: `q6_k` is one thing in GGUF and another in APR.
    pub const fn name(self) -> &'static str {
        match self {
            F32 => "f32",
            F16 => "f16",
            BF16 => "bf16",
            Q8_0 => "q8_0",
            Q4_0 => "q4_0",
            Q4_1 => "q4_1",
            Q5_0 => "q5_0",
            Q5_1 => "q5_1",
            Q2K => "q2_k",
            Q3KS => "q3_k_s",
            Q3KM => "q3_k_m",
            Q3KL => "q3_k_l",
            Q4KS => "q4_k_s",
            Q4KM => "q4_k_m",
            Q5KS => "q5_k_s",
            Q5KM => "q5_k_m",
            Q6K | AprQ6K => "q6_k",
            Iq4Nl => "iq4_nl",
            Iq4Xs => "iq4_xs",
            AprQ8 => "q8",
            AprQ4 => "q4",
            AprQ4K => "q4_k",
        }
    }

    /// The type that it is named after.
    pub const fn named(self) -> Dtype {
        match self {
            F32 => Dtype::F32,
            F16 => Dtype::F16,
            BF16 => Dtype::BF16,
            Q8_0 => Dtype::Q8_0,
            Q4_0 => Dtype::Q4_0,
            Q4_1 => Dtype::Q4_1,
            Q5_0 => Dtype::Q5_0,
            Q5_1 => Dtype::Q5_1,
            Q2K => Dtype::Q2K,
            Q3KS | Q3KM | Q3KL => Dtype::Q3K,
            Q4KS | Q4KM | AprQ4K => Dtype::Q4K,
            Q5KS | Q5KM => Dtype::Q5K,
            Q6K | AprQ6K => Dtype::Q6K,
            Iq4Nl => Dtype::Iq4Nl,
            Iq4Xs => Dtype::Iq4Xs,
            AprQ8 => Dtype::AprQ8,
            AprQ4 => Dtype::AprQ4,
        }
    }

    /// The type of each tensor of a model, by its name in GGUF files (also where it will stand in another container) and its stored shape,
    /// slowest dimension first. A model without `output.weight` among them is tied.
    pub fn dtypes(
        self,
        format: &str,
        architecture: Architecture,
        n_layers: usize,
        n_heads: usize,
        n_kv_heads: usize,
        tensors: &[(String, Vec<usize>)],
    ) -> Vec<Dtype> {
        match format {
            "safetensors" => vec![self.named(); tensors.len()],
            "apr" => tensors.iter().map(|(name, shape)| self.apr(name, shape)).collect(),
            _ => Mix { recipe: self, architecture, n_layers, n_heads, n_kv_heads, tensors }.dtypes(),
        }
    }

    fn apr(self, name: &str, shape: &[usize]) -> Dtype {
        let is_weight = shape.len() == 2 && !name.ends_with(".bias") && !name.ends_with("norm.weight");
        if !is_weight || shape.iter().product::<usize>() < APR_SMALL {
            return Dtype::F32;
        }
        let stand_in = if self.named() == Dtype::Q6K { Dtype::AprQ8 } else { Dtype::AprQ4 };
        fitting(self.named(), stand_in, shape)
    }
}

/// llama.cpp's stand-in for a type that does not divide the rows.
const fn stand_in(dtype: Dtype) -> Dtype {
    match dtype {
        Dtype::Q2K | Dtype::Q3K => Dtype::Q4_0,
        Dtype::Q4K => Dtype::Q5_0,
        Dtype::Q5K => Dtype::Q5_1,
        Dtype::Q6K => Dtype::Q8_0,
        Dtype::Iq4Xs => Dtype::Iq4Nl,
        _ => Dtype::F16,
    }
}

/// The type itself if it divides the rows, else the one that stands in for it, else F16.
fn fitting(dtype: Dtype, stand_in: Dtype, shape: &[usize]) -> Dtype {
    let row = shape.last().copied().unwrap_or(1);
    let divides = |dtype: &Dtype| row.is_multiple_of(dtype.block().0);
    [dtype, stand_in].into_iter().find(divides).unwrap_or(Dtype::F16)
}

/// A recipe of GGUF before a model.
struct Mix<'a> {
    recipe: Quantization,
    architecture: Architecture,
    n_layers: usize,
    n_heads: usize,
    n_kv_heads: usize,
    tensors: &'a [(String, Vec<usize>)],
}

/// What a recipe tells apart. llama.cpp goes by parts of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Embedding,
    Head,
    /// The values of attention, also together with queries and keys.
    Values,
    AttentionOut,
    Down,
    Other,
}

impl Part {
    fn of(name: &str) -> Part {
        match name {
            "token_embd.weight" => Part::Embedding,
            "output.weight" => Part::Head,
            _ if name.contains("attn_qkv.weight") || name.contains("attn_v.weight") => Part::Values,
            _ if name.contains("attn_output.weight") => Part::AttentionOut,
            _ if name.contains("ffn_down") => Part::Down,
            _ => Part::Other,
        }
    }
}

impl Mix<'_> {
    fn dtypes(&self) -> Vec<Dtype> {
        self.tensors.iter().map(|(name, shape)| if quantizes(name, shape) { self.dtype(name, shape) } else { Dtype::F32 }).collect()
    }

    fn dtype(&self, name: &str, shape: &[usize]) -> Dtype {
        let named = self.recipe.named();
        // Scalar types go everywhere.
        if named.is_scalar() {
            return named;
        }
        let chosen = self.chosen(Part::of(name), name, shape);
        fitting(chosen, stand_in(chosen), shape)
    }

    /// Before the rows are looked at.
    #[expect(clippy::cognitive_complexity, reason = "llama.cpp's choice, rule by rule")]
    fn chosen(&self, part: Part, name: &str, shape: &[usize]) -> Dtype {
        let named = self.recipe.named();
        let first_eighth = |i: usize| i < self.n_layers / 8;
        match part {
            // What makes the logits is worth more: the head, and the embedding that is one.
            Part::Head => head(named, shape),
            Part::Embedding if !self.has_head() => head(named, shape),
            Part::Values => {
                let (i, n) = self.rank_of_values(name);
                let dtype = match self.recipe {
                    Q2K if self.shares_heads() => Dtype::Q4K,
                    Q2K => Dtype::Q3K,
                    Q3KM if i < 2 => Dtype::Q5K,
                    Q3KM => Dtype::Q4K,
                    Q3KL => Dtype::Q5K,
                    Iq4Nl | Iq4Xs if self.shares_heads() => Dtype::Q5K,
                    Q4KM | Q5KM if takes_more_bits(i, n) => Dtype::Q6K,
                    Q4KS if i < 4 => Dtype::Q5K,
                    _ => named,
                };
                // Of 70 billion parameters they are an eighth of the queries, and cost little.
                if self.is_70b() && matches!(dtype, Dtype::Q3K | Dtype::Q4K) { Dtype::Q5K } else { dtype }
            }
            Part::Down => {
                let i = self.rank_of(Part::Down, name);
                match self.recipe {
                    Q2K => Dtype::Q3K,
                    Q3KM if i < self.n_layers / 16 => Dtype::Q5K,
                    Q3KM => Dtype::Q4K,
                    Q3KL => Dtype::Q5K,
                    Q4KM | Q5KM if takes_more_bits(i, self.n_layers) => Dtype::Q6K,
                    Q4KS | Iq4Nl | Iq4Xs if first_eighth(i) => Dtype::Q5K,
                    _ => named,
                }
            }
            Part::AttentionOut => match self.recipe {
                Q2K => Dtype::Q3K,
                Q3KM => Dtype::Q4K,
                Q3KL => Dtype::Q5K,
                _ => named,
            },
            Part::Embedding | Part::Other => named,
        }
    }

    fn has_head(&self) -> bool {
        self.tensors.iter().any(|(name, _)| name == "output.weight")
    }

    /// Whether four heads of queries or more share one of keys.
    fn shares_heads(&self) -> bool {
        self.n_heads / self.n_kv_heads.max(1) >= 4
    }

    /// llama.cpp knows them by their 80 layers; a LLaMA whose heads share nothing is the one of 65 billion.
    fn is_70b(&self) -> bool {
        match self.architecture {
            Architecture::Llama => self.n_layers == 80 && self.n_heads != self.n_kv_heads,
            Architecture::Qwen2 => self.n_layers == 80,
            _ => false,
        }
    }

    /// How many tensors of that part come before this one: layer by layer, as llama.cpp goes through a model.
    fn rank_of(&self, part: Part, name: &str) -> usize {
        let place = (layer(name), name);
        self.quantized(part).filter(|other| (layer(other), *other) < place).count()
    }

    /// The same for values, and how many there are.
    fn rank_of_values(&self, name: &str) -> (usize, usize) {
        (self.rank_of(Part::Values, name), self.tensors.iter().filter(|(other, _)| Part::of(other) == Part::Values).count())
    }

    fn quantized(&self, part: Part) -> impl Iterator<Item = &str> {
        self.tensors.iter().filter(move |(name, shape)| Part::of(name) == part && quantizes(name, shape)).map(|(name, _)| name.as_str())
    }
}

/// The block of `blk.<i>.`
fn layer(name: &str) -> Option<usize> {
    name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
}

/// Whether a tensor is ever anything but F32: matrices that are weights, but neither norms nor positions.
fn quantizes(name: &str, shape: &[usize]) -> bool {
    shape.len() >= 2
        && name.ends_with("weight")
        && !name.contains("_norm.weight")
        && !matches!(name, "position_embd.weight" | "token_types.weight")
}

fn head(named: Dtype, shape: &[usize]) -> Dtype {
    let divides = shape.last().is_some_and(|row| row.is_multiple_of(named.block().0));
    if !divides || named == Dtype::Q8_0 { Dtype::Q8_0 } else { Dtype::Q6K }
}

/// The first and the last eighth of the layers, and every third one between.
fn takes_more_bits(i: usize, n: usize) -> bool {
    i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2
}
