//! Keys and values of the positions that a model has seen.

use crate::error::RequestError;
use crate::kernel::attention::Seen;

/// Keys and values of one sequence, per block. It grows with the sequence, and belongs to the model that made it.
///
/// ```
/// # fn main() -> ground_truth::Result<()> {
/// use ground_truth::{Model, Positions};
///
/// let model = Model::open("testdata/models/llama-tiny".as_ref())?;
/// let mut cache = model.new_cache();
/// model.forward(&[1, 2, 3], &mut cache, Positions::Last)?;
/// assert_eq!(cache.len(), 3);
///
/// // Take the last token back, and try another one.
/// cache.truncate(2);
/// model.forward(&[4], &mut cache, Positions::Last)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct KvCache {
    owner: Owner,
    len: usize,
    keys: Vec<Vec<f32>>,   // n_layers of (len, n_kv_heads * head_dim), keys as they are after RoPE
    values: Vec<Vec<f32>>, // n_layers of (len, n_kv_heads * head_dim)
}

/// Which model a cache belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    /// One number for every model that was loaded in this process.
    pub(crate) instance: u64,
    pub(crate) n_layers: usize,
    /// `n_kv_heads * head_dim`.
    pub(crate) width: usize,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "number {} of this process, {} blocks of {} numbers", self.instance, self.n_layers, self.width)
    }
}

impl KvCache {
    pub(crate) fn new(owner: Owner) -> Self {
        KvCache { owner, len: 0, keys: vec![Vec::new(); owner.n_layers], values: vec![Vec::new(); owner.n_layers] }
    }

    /// How many positions are in it; the next token is at this position.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets every position from `len` on. Does nothing if there are no more than that.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        let numbers = self.len * self.owner.width;
        self.keys.iter_mut().chain(&mut self.values).for_each(|of_layer| of_layer.truncate(numbers));
    }

    pub(crate) fn check_owner(&self, model: Owner) -> Result<(), RequestError> {
        if self.owner == model {
            return Ok(());
        }
        Err(RequestError::ForeignCache { cache: self.owner.to_string(), model: model.to_string() })
    }

    /// Appends rows to block `layer`, and lends all of its keys and values.
    pub(crate) fn append(&mut self, layer: usize, keys: &[f32], values: &[f32]) -> Seen<'_> {
        self.keys[layer].extend_from_slice(keys);
        self.values[layer].extend_from_slice(values);
        Seen { keys: &self.keys[layer], values: &self.values[layer] }
    }

    /// Counts `rows` positions that every block has now appended.
    pub(crate) fn advance(&mut self, rows: usize) {
        self.len += rows;
        debug_assert!(self.keys.iter().chain(&self.values).all(|v| v.len() == self.len * self.owner.width));
    }
}
