//! GG: GGUF files.

use super::case::{Case, Content, Expect, accepted, refused};

const U8: u32 = 0;
const I8: u32 = 1;
const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;
const U64: u32 = 10;

const ALIGNMENT: &str = "general.alignment";

/// A GGUF file in pieces, each of which can be made wrong.
#[derive(Clone)]
pub struct Gguf {
    magic: [u8; 4],
    version: u32,
    /// The counts that the header states, where they are not those of the pieces.
    n_tensors: Option<u64>,
    n_kv: Option<u64>,
    /// Each key and value, encoded.
    kvs: Vec<Vec<u8>>,
    /// Each tensor's name, dimensions (fastest first), type and offset.
    tensors: Vec<(Vec<u8>, Vec<u64>, u32, u64)>,
    /// The number of dimensions that the first tensor states.
    n_dims: Option<u32>,
    alignment: usize,
    data: Vec<u8>,
}

fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

fn kv(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [string(key.as_bytes()), kind.to_le_bytes().to_vec(), value.to_vec()].concat()
}

fn text(key: &str, value: &str) -> Vec<u8> {
    kv(key, STRING, &string(value.as_bytes()))
}

fn number(key: &str, value: u32) -> Vec<u8> {
    kv(key, U32, &value.to_le_bytes())
}

fn real(key: &str, value: f32) -> Vec<u8> {
    kv(key, F32, &value.to_le_bytes())
}

fn array(key: &str, kind: u32, n: u64, values: &[u8]) -> Vec<u8> {
    kv(key, ARRAY, &[&kind.to_le_bytes(), n.to_le_bytes().as_slice(), values].concat())
}

fn texts(key: &str, values: &[&str]) -> Vec<u8> {
    let all: Vec<u8> = values.iter().flat_map(|value| string(value.as_bytes())).collect();
    array(key, STRING, values.len() as u64, &all)
}

impl Gguf {
    fn new() -> Gguf {
        let (magic, kvs, tensors, data) = (*b"GGUF", Vec::new(), Vec::new(), Vec::new());
        Gguf { magic, version: 3, n_tensors: None, n_kv: None, kvs, tensors, n_dims: None, alignment: 32, data }
    }

    /// A valid file without an architecture: two tensors, three values.
    fn valid() -> Gguf {
        let mut file = Gguf::new().with(text("general.name", "x")).with(number(ALIGNMENT, 32)).with(kv("x.flag", BOOL, &[1]));
        file.tensor("a", &[4, 2], 0, &[0; 32]);
        file.tensor("b", &[3], 0, &[0; 12]);
        file
    }

    /// A model of one block with a vocabulary of six, which the engine can compute.
    fn llama() -> Gguf {
        let mut file = Gguf::new().with(text("general.architecture", "llama"));
        for (key, value) in
            [("block_count", 1), ("context_length", 8), ("embedding_length", 4), ("feed_forward_length", 4), ("attention.head_count", 1)]
        {
            file.kvs.push(number(&format!("llama.{key}"), value));
        }
        file.kvs.push(real("llama.attention.layer_norm_rms_epsilon", 1e-5));
        file.kvs.push(text("tokenizer.ggml.model", "llama"));
        file.kvs.push(text("tokenizer.ggml.pre", "default"));
        file.kvs.push(texts("tokenizer.ggml.tokens", &["<unk>", "<s>", "</s>", "<0x41>", "a", "\u{2581}"]));
        file.kvs.push(array(
            "tokenizer.ggml.scores",
            F32,
            6,
            &[0f32, 0.0, 0.0, 0.0, -1.0, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>(),
        ));
        file.kvs.push(array(
            "tokenizer.ggml.token_type",
            I32,
            6,
            &[2i32, 3, 3, 6, 1, 1].iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>(),
        ));
        file.kvs.push(number("tokenizer.ggml.bos_token_id", 1));
        file.kvs.push(number("tokenizer.ggml.eos_token_id", 2));
        file.kvs.push(number("tokenizer.ggml.unknown_token_id", 0));
        let matrix = |n: usize| vec![0u8; n * 4];
        let ones: Vec<u8> = (0..4).flat_map(|_| 1f32.to_le_bytes()).collect();
        file.tensor("token_embd.weight", &[4, 6], 0, &matrix(24));
        file.tensor("output_norm.weight", &[4], 0, &ones);
        for name in ["attn_norm", "ffn_norm"] {
            file.tensor(&format!("blk.0.{name}.weight"), &[4], 0, &ones);
        }
        for name in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"] {
            file.tensor(&format!("blk.0.{name}.weight"), &[4, 4], 0, &matrix(16));
        }
        file
    }

    fn with(mut self, kv: Vec<u8>) -> Gguf {
        self.kvs.push(kv);
        self
    }

    /// Puts another value under the key.
    fn replaced(mut self, key: &str, new: Vec<u8>) -> Gguf {
        let start = string(key.as_bytes());
        let old = self.kvs.iter_mut().find(|kv| kv.starts_with(&start)).expect("the key is there");
        *old = new;
        self
    }

    fn tensor(&mut self, name: &str, dims: &[u64], kind: u32, bytes: &[u8]) {
        let offset = self.data.len() as u64;
        self.tensors.push((name.as_bytes().to_vec(), dims.to_vec(), kind, offset));
        self.data.extend(bytes);
        self.data.resize(self.data.len().next_multiple_of(self.alignment), 0);
    }

    /// A file of one tensor of these dimensions and type, with that much data.
    fn of(dims: &[u64], kind: u32, data: usize) -> Gguf {
        let mut file = Gguf::new();
        file.tensor("a", dims, kind, &vec![0; data]);
        file
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(self.n_tensors.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        out.extend(self.n_kv.unwrap_or(self.kvs.len() as u64).to_le_bytes());
        self.kvs.iter().for_each(|kv| out.extend(kv));
        for (i, (name, dims, kind, offset)) in self.tensors.iter().enumerate() {
            out.extend(string(name));
            out.extend(self.n_dims.filter(|_| i == 0).unwrap_or(dims.len() as u32).to_le_bytes());
            dims.iter().for_each(|dim| out.extend(dim.to_le_bytes()));
            out.extend(kind.to_le_bytes());
            out.extend(offset.to_le_bytes());
        }
        out.resize(out.len().next_multiple_of(self.alignment), 0);
        out.extend(&self.data);
        out
    }
}

/// A valid file, small.
pub fn valid() -> Vec<u8> {
    Gguf::valid().bytes()
}

/// A valid model, small.
pub fn valid_model() -> Vec<u8> {
    Gguf::llama().bytes()
}

/// A valid file with one thing changed.
fn changed(change: impl FnOnce(&mut Gguf)) -> Vec<u8> {
    let mut file = Gguf::valid();
    change(&mut file);
    file.bytes()
}

/// The bytes of a header that states these counts, and what follows.
fn header(n_tensors: u64, n_kv: u64, rest: &[u8]) -> Vec<u8> {
    [b"GGUF".as_slice(), &3u32.to_le_bytes(), &n_tensors.to_le_bytes(), &n_kv.to_le_bytes(), rest].concat()
}

/// Every case, in the order of the catalogue.
#[expect(clippy::too_many_lines, reason = "the catalogue, case by case")]
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |id: &str, what: &str, bytes: Vec<u8>, expect: Expect| cases.push(Case::file(id, what, "model.gguf", bytes, expect));
    let no = |reason: &'static str| refused("gguf", reason, &[]);
    let says = |reason: &'static str, words: &[&str]| refused("gguf", reason, words);

    add("GG1", "the magic the wrong way round", changed(|f| f.magic = *b"FUGG"), no("big-endian"));
    for (id, version) in [("GG2", 0), ("GG3", 1), ("GG4", 4)] {
        let reason = if version == 1 { "version-1" } else { "version" };
        add(id, &format!("version {version}"), changed(|f| f.version = version), says(reason, &[&version.to_string()]));
    }
    add("GG5", "version 3 in big endian", changed(|f| f.version = 3u32.swap_bytes()), no("big-endian"));
    add("GG6", "2^64-1 tensors", changed(|f| f.n_tensors = Some(u64::MAX)), says("too-many", &["18446744073709551615"]));
    add("GG7", "2^63 values", header(0, 1 << 63, &[]), says("too-many", &["9223372036854775808"]));
    add("GG8", "2^32 values in 24 bytes", header(0, 1 << 32, &[]), says("too-many", &["4294967296"]));
    add("GG9", "a key of 2^64-1 bytes", header(0, 1, &u64::MAX.to_le_bytes()), no("past-end"));
    add(
        "GG10",
        "a key of one byte more than there is",
        header(0, 1, &[9u64.to_le_bytes().as_slice(), b"12345678"].concat()),
        no("past-end"),
    );
    add("GG11", "an empty key", Gguf::valid().with(number("", 1)).bytes(), no("empty-name"));
    add("GG12", "one key twice", Gguf::valid().with(number(ALIGNMENT, 64)).bytes(), says("duplicate", &["general.alignment"]));
    add(
        "GG13",
        "a key that differs from another by a NUL at its end",
        Gguf::valid().with(number("general.alignment\0", 64)).bytes(),
        no("name-character"),
    );
    add("GG14", "a value of type 13", Gguf::valid().with(kv("x.y", 13, &[0; 8])).bytes(), says("value-type", &["13"]));
    add("GG15", "a truth value of 2", Gguf::valid().with(kv("x.y", BOOL, &[2])).bytes(), says("bool", &["2"]));
    add(
        "GG16",
        "a string of 2^30+1 bytes",
        Gguf::valid().with(kv("x.y", STRING, &((1u64 << 30) + 1).to_le_bytes())).bytes(),
        no("too-long"),
    );
    add("GG17", "an array of 2^60 bytes", Gguf::valid().with(array("x.y", U8, 1 << 60, &[])).bytes(), no("past-end"));
    add(
        "GG18",
        "an array whose bytes overflow a count of bytes",
        Gguf::valid().with(array("x.y", U64, (1 << 61) + 1, &[0; 8])).bytes(),
        no("past-end"),
    );
    let nested = |depth: usize| {
        let mut value = Vec::new();
        (0..depth).for_each(|_| value.extend([ARRAY.to_le_bytes().as_slice(), &1u64.to_le_bytes()].concat()));
        value.extend([U8.to_le_bytes().as_slice(), &1u64.to_le_bytes(), &[7]].concat());
        Gguf::valid().with(kv("x.y", ARRAY, &value)).bytes()
    };
    add("GG19", "arrays in arrays, 65 deep", nested(65), no("nested-array"));
    add("GG19b", "arrays in arrays, 100,000 deep", nested(100_000), no("nested-array"));
    let cut = [string(b"one"), 9u64.to_le_bytes().to_vec()].concat();
    add("GG20", "an array of strings whose last one is cut off", header(0, 1, &array("x.y", STRING, 2, &cut)), no("past-end"));
    add("GG21", "a string that is not UTF-8", Gguf::valid().with(kv("x.y", STRING, &string(&[0xff, 0xfe]))).bytes(), no("not-utf8"));
    let aligned = |kind: u32, value: &[u8]| Gguf::valid().replaced(ALIGNMENT, kv(ALIGNMENT, kind, value)).bytes();
    for (id, value) in [("GG22", 0u32), ("GG23", 13), ("GG24", 0x8000_0000)] {
        add(id, &format!("an alignment of {value}"), aligned(U32, &value.to_le_bytes()), says("alignment", &[&value.to_string()]));
    }
    add("GG25", "an alignment of -1, signed", aligned(I32, &(-1i32).to_le_bytes()), no("alignment"));
    add("GG26", "an alignment in 64 bits", aligned(U64, &64u64.to_le_bytes()), no("alignment"));
    add("GG27", "a tensor of five dimensions", Gguf::of(&[2, 1, 1, 1, 1], 0, 8).bytes(), says("rank", &["5"]));
    let mut dims = Gguf::valid();
    dims.n_dims = Some(u32::MAX);
    add("GG28", "a tensor of 2^32-1 dimensions", dims.bytes(), says("rank", &["4294967295"]));
    add("GG29", "a dimension of zero", Gguf::of(&[4, 0], 0, 0).bytes(), says("zero-dimension", &["`a`"]));
    for (id, dims, what) in [
        ("GG30", [1u64 << 32, 1 << 32], "2^32 x 2^32 elements, none in 64 bits"),
        ("GG31", [3, 0xAAAA_AAAA_AAAA_AAAB], "dimensions whose product is 1 in 64 bits"),
        ("GG32", [u64::MAX / 4, 1], "a tensor whose padded length is 0 in 64 bits"),
        ("GG33", [1 << 63, 1], "a dimension that is negative as a signed number"),
    ] {
        add(id, what, Gguf::of(&dims, 0, 32).bytes(), says("shape-overflow", &["`a`"]));
    }
    add("GG34", "rows of 255 elements in blocks of 256", Gguf::of(&[255], 12, 144).bytes(), says("partial-block", &["`a`", "255"]));
    add("GG35", "rows of 128 elements in blocks of 256", Gguf::of(&[128, 2], 12, 144).bytes(), says("partial-block", &["`a`", "128"]));
    for (suffix, kind) in [("", 4u32), ("b", 31), ("c", 40), ("d", 1 << 31)] {
        add(
            &format!("GG36{suffix}"),
            &format!("a tensor of type {kind}"),
            Gguf::of(&[32], kind, 128).bytes(),
            says(if kind == 40 { "unsupported-type" } else { "unknown-type" }, &["`a`"]),
        );
    }
    let moved = |tensor: usize, offset: u64| changed(|f| f.tensors[tensor].3 = offset);
    for (id, offset, what) in [
        ("GG37", 33, "a tensor that is not aligned"),
        ("GG38", 0, "two tensors on the same bytes"),
        ("GG39", u64::MAX - 31, "a tensor at 2^64-32"),
        ("GG40", 64, "a gap between two tensors"),
    ] {
        add(id, what, moved(1, offset), says("offset", &["`b`", &offset.to_string()]));
    }
    let mut short = Gguf::of(&[9], 0, 36);
    short.data.truncate(35);
    add("GG41", "a last tensor that ends one byte past the file", short.bytes(), says("data-past-end", &["`a`"]));
    add("GG42", "a mebibyte behind the data", [valid(), vec![0; 1 << 20]].concat(), no("trailing"));
    add("GG42b", "a ZIP archive behind the data", [valid(), b"PK\x03\x04\x14\0\0\0\0\0archive/data.pkl".to_vec()].concat(), no("trailing"));
    add("GG43", "two tensors of one name", changed(|f| f.tensors[1].0 = b"a".to_vec()), says("duplicate", &["`a`"]));
    add("GG44", "a tensor's name of 64 bytes", changed(|f| f.tensors[0].0 = vec![b'n'; 64]), says("too-long", &["64"]));
    let vocabulary = |reason: &'static str, words: &[&str]| refused("tokenizer", reason, words);
    let scores = "tokenizer.ggml.scores";
    add(
        "GG45",
        "scores of a vocabulary as signed bytes",
        Gguf::llama().replaced(scores, array(scores, I8, 6, &[0; 6])).bytes(),
        vocabulary("wrong-type", &[scores]),
    );
    add(
        "GG46",
        "fewer scores than tokens",
        Gguf::llama().replaced(scores, array(scores, F32, 5, &[0; 20])).bytes(),
        vocabulary("length-mismatch", &[scores, "5", "6"]),
    );
    let llama = |key: &str, value: u32| Gguf::llama().replaced(&format!("llama.{key}"), number(&format!("llama.{key}"), value)).bytes();
    let config = |words: &[&str]| refused("gguf", "bad-value", words);
    add("GG47", "a billion blocks", llama("block_count", 1_000_000_000), config(&["llama.block_count"]));
    add("GG47b", "no attention head", llama("attention.head_count", 0), config(&["llama.attention.head_count"]));
    add("GG47c", "heads that do not divide the width", llama("attention.head_count", 3), config(&["llama.embedding_length"]));
    add(
        "GG48",
        "a file that is one of 65,535 parts",
        Gguf::valid().with(kv("split.count", 2, &65535u16.to_le_bytes())).bytes(),
        no("split"),
    );
    let tokens = "tokenizer.ggml.tokens";
    let negative = texts(tokens, &["<unk>", "<s>", "</s>", "<0x-1>", "a", "\u{2581}"]);
    add("GG49", "a byte token of the byte -1", Gguf::llama().replaced(tokens, negative).bytes(), vocabulary("not-a-byte", &["<0x-1>"]));
    let template = "{% for x in range(10**9) %}{% endfor %}";
    add(
        "GG50",
        "a chat template that would never end, and is never run",
        Gguf::llama().with(text("tokenizer.chat_template", template)).bytes(),
        accepted(11),
    );
    add("GG51", "a valid file of version 3", valid(), accepted(2));
    add("GG51b", "a valid file of version 2", changed(|f| f.version = 2), accepted(2));
    add("GG51c", "a valid model", valid_model(), accepted(11));
    let long = Content::Made(|| Gguf::llama().with(text("tokenizer.chat_template", &"x".repeat(100 << 20))).bytes());
    cases.push(Case::file("GG50b", "a chat template of 100 MiB", "model.gguf", long, no("too-long")));
    cases
}
