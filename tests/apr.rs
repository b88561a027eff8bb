//! APR files of whole models, and the `apr-format` crate as a second reader and writer of the container.

use std::path::{Path, PathBuf};

use apr_format::v2::{AprV2Metadata, AprV2Reader, AprV2ReaderRef, AprV2StreamingWriter, AprV2Writer, TensorDType};
use ground_truth::error::Error;
use ground_truth::format::apr::{self, Apr};
use ground_truth::format::layout::TensorSpec;
use ground_truth::{Checkpoint, Config, Dtype, Model, Positions, Tensor, Tensors, Tokenizer};
use serde_json::{Map, Value, json};

/// The models that the repository carries.
fn roster() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/models");
    let mut models: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    models.sort();
    assert!(!models.is_empty());
    models
}

fn config_of(checkpoint: &Checkpoint) -> Config {
    Config::parse(&checkpoint.config, checkpoint.generation_config.as_ref(), &checkpoint.config_file()).unwrap()
}

fn is_product(name: &str) -> bool {
    ["c_attn.weight", "c_proj.weight", "c_fc.weight"].iter().any(|end| name.ends_with(end))
}

/// A matrix as `(m, n)` that is given as `(n, m)`, or back.
fn turned(tensor: &Tensor) -> Tensor {
    let [n, m] = tensor.shape().try_into().unwrap();
    let values = tensor.to_f32();
    let turned: Vec<f32> = (0..n * m).map(|i| values[i % n * m + i / n]).collect();
    Tensor::from_f32(tensor.dtype(), vec![m, n], &turned).unwrap()
}

/// The tensors as a file has them: gpt2's products turned, a tied head beside the embedding.
fn stored(checkpoint: &Checkpoint, config: &Config) -> Vec<(String, Tensor)> {
    let turn = |name: &str, tensor: &Tensor| if is_product(name) { turned(tensor) } else { tensor.clone() };
    let mut tensors: Vec<(String, Tensor)> =
        checkpoint.tensors.iter().map(|(name, tensor)| (name.to_owned(), turn(name, tensor))).collect();
    if config.tie_word_embeddings {
        let is_embedding = |name: &str| name.ends_with("embed_tokens.weight") || name.ends_with("wte.weight");
        let embedding = tensors.iter().find(|(name, _)| is_embedding(name)).unwrap().1.clone();
        tensors.push(("lm_head.weight".to_owned(), embedding));
    }
    tensors
}

fn write(metadata: &Map<String, Value>, tensors: &[(String, Tensor)]) -> Vec<u8> {
    let spec = |(name, tensor): &(String, Tensor)| TensorSpec { name: name.clone(), dtype: tensor.dtype(), shape: tensor.shape().to_vec() };
    let layout = apr::layout(metadata, &tensors.iter().map(spec).collect::<Vec<_>>()).unwrap();
    let mut file = layout.header;
    file.resize(layout.padded as usize, 0);
    assert_eq!(layout.tensors.len(), tensors.len());
    for (i, (offset, bytes)) in layout.tensors.iter().enumerate() {
        file[*offset as usize..(offset + bytes) as usize].copy_from_slice(tensors[i].1.bytes());
    }
    assert!(layout.crc_footer);
    file.extend(crc32fast::hash(&file).to_le_bytes());
    file
}

/// The model as an APR file, and what it was made of.
fn converted(model: &Path) -> (Checkpoint, Map<String, Value>, Vec<(String, Tensor)>) {
    let checkpoint = Checkpoint::open(model).unwrap();
    let config = config_of(&checkpoint);
    let tensors = stored(&checkpoint, &config);
    let specs: Vec<TensorSpec> = tensors
        .iter()
        .map(|(name, tensor)| TensorSpec { name: name.clone(), dtype: tensor.dtype(), shape: tensor.shape().to_vec() })
        .collect();
    let provenance = [("ground_truth.converter".to_owned(), "0".to_owned())];
    let metadata = apr::export_metadata(&config, &checkpoint, "f32", &specs, &provenance).unwrap();
    (checkpoint, metadata, tensors)
}

fn open(bytes: &[u8]) -> ground_truth::Result<Apr> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.apr");
    std::fs::write(&path, bytes).unwrap();
    Apr::open(&path)
}

fn same_values(one: &Tensors, other: &Tensors) {
    for (name, tensor) in one.iter() {
        let read = other.get(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(tensor.shape(), read.shape(), "{name}");
        let bits = |tensor: &Tensor| tensor.to_f32().into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert!(bits(tensor) == bits(read), "{name}");
    }
}

/// Configuration, tokenizer, tensors and answers of the folder, from the file alone.
#[test]
fn a_file_is_the_model_that_it_was_made_of() {
    for model in roster() {
        let (checkpoint, metadata, tensors) = converted(&model);
        let read = open(&write(&metadata, &tensors)).unwrap();
        assert!(read.names_a_model() && read.flags.names().any(|name| name == "HAS_VOCAB"));
        let back = apr::checkpoint(&read).unwrap();
        assert_eq!((&back.config, &back.generation_config), (&checkpoint.config, &checkpoint.generation_config));
        same_values(&checkpoint.tensors, &back.tensors);

        let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        let (tokenizer, original) = (back.tokenizer.unwrap(), checkpoint.tokenizer.clone().unwrap());
        assert_eq!(parse(&tokenizer), parse(&original));
        let [ours, theirs] = [&tokenizer, &original].map(|bytes| Tokenizer::from_bytes(bytes, &model).unwrap());
        let text = "Once upon a time, é\u{1f980}\n 123";
        let ids = ours.encode(text, true).unwrap();
        assert_eq!(ids, theirs.encode(text, true).unwrap());

        let logits = |checkpoint: &Checkpoint| {
            let model = Model::from_checkpoint(checkpoint).unwrap();
            model.forward(&ids, &mut model.new_cache(), Positions::All).unwrap().values
        };
        let back = apr::checkpoint(&read).unwrap();
        assert!(logits(&checkpoint) == logits(&back), "{}", model.display());
    }
}

/// What readers of the format go by is enough, without the three fields of this project.
#[test]
fn a_file_of_the_common_fields_alone_is_the_same_model() {
    for model in roster() {
        let (checkpoint, mut metadata, tensors) = converted(&model);
        for name in ["hf_config", "hf_generation_config", "hf_tokenizer"] {
            metadata.remove(name);
        }
        let back = apr::checkpoint(&open(&write(&metadata, &tensors)).unwrap()).unwrap();
        let (mut one, other) = (config_of(&checkpoint), config_of(&back));
        one.eos.truncate(1); // there is a field for one
        assert_eq!(Config { notes: vec![], ..one }, Config { notes: vec![], ..other }, "{}", model.display());
        assert!(back.tokenizer.is_none(), "a vocabulary alone does not say how a text is split");
        same_values(&checkpoint.tensors, &back.tensors);
    }
}

fn llama() -> (Map<String, Value>, Vec<(String, Tensor)>) {
    let (_, metadata, tensors) = converted(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/models/llama-tiny"));
    (metadata, tensors)
}

#[test]
fn fields_that_contradict_the_embedded_configuration_are_refused() {
    let (metadata, tensors) = llama();
    let cases = [
        ("hidden_size", json!(128)),
        ("num_layers", json!("2")),
        ("num_kv_heads", json!(4)),
        ("rope_theta", json!(10000.01)),
        ("rope_type", json!(0)),
        ("architecture", json!("qwen2")),
        ("tied_embeddings", json!(true)),
    ];
    for (name, value) in cases {
        let mut metadata = metadata.clone();
        metadata[name] = value;
        let refusal = apr::checkpoint(&open(&write(&metadata, &tensors)).unwrap()).unwrap_err();
        assert_eq!((refusal.kind(), refusal.reason()), ("apr", "contradiction"), "{refusal}");
        assert!(refusal.to_string().contains(&format!("`{name}` is ")), "{refusal}");
    }
    // Another writer holds real numbers in 32 bits, and some call layers otherwise.
    let mut metadata = metadata.clone();
    metadata["rms_norm_eps"] = json!(f64::from(1e-5f32));
    let layers = metadata.remove("num_layers").unwrap();
    metadata.insert("n_layer".into(), layers);
    apr::checkpoint(&open(&write(&metadata, &tensors)).unwrap()).unwrap();
}

#[test]
fn what_the_common_fields_must_say_is_named_where_it_is_missing() {
    let (mut metadata, tensors) = llama();
    metadata.remove("hf_config");
    for name in [
        "vocab_size",
        "hidden_size",
        "num_layers",
        "num_heads",
        "intermediate_size",
        "max_position_embeddings",
        "rms_norm_eps",
        "rope_theta",
    ] {
        let mut metadata = metadata.clone();
        metadata.remove(name);
        let refusal = apr::checkpoint(&open(&write(&metadata, &tensors)).unwrap()).unwrap_err();
        assert_eq!((refusal.kind(), refusal.reason()), ("apr", "field"), "{refusal}");
        assert!(refusal.to_string().ends_with(&format!("`{name}` is missing, a number is due")), "{refusal}");
    }
    metadata["architecture"] = json!("mamba");
    let file = open(&write(&metadata, &tensors)).unwrap();
    assert!(
        apr::checkpoint(&file).unwrap_err().to_string().ends_with("`architecture` is `mamba`, the architectures are llama, qwen2 and gpt2")
    );
    for name in ["architecture", "hf_architecture", "hf_model_type", "model_type"] {
        metadata.remove(name);
    }
    let file = open(&write(&metadata, &tensors)).unwrap();
    assert!(!file.names_a_model());
    assert_eq!(apr::checkpoint(&file).unwrap_err().reason(), "field");
}

/// What the format has no field for may stand under the name that it has in `config.json`.
#[test]
fn a_field_without_a_name_of_its_own_is_carried() {
    let (mut metadata, tensors) = llama();
    metadata.remove("hf_config");
    let scaling = json!({"rope_type": "linear", "factor": 2.0});
    metadata.insert("rope_scaling".into(), scaling.clone());
    let read = apr::checkpoint(&open(&write(&metadata, &tensors)).unwrap()).unwrap();
    assert_eq!(read.config.get("rope_scaling"), Some(&scaling));
}

/// `rope_type` 0: the rows of queries and keys are laid out for neighbours, as a GGUF of llama has them.
#[test]
fn rows_laid_out_for_neighbours_are_read_as_such() {
    let (mut metadata, mut tensors) = llama();
    let plain = apr::checkpoint(&open(&write(&metadata, &tensors)).unwrap()).unwrap();
    metadata.remove("hf_config");
    metadata["rope_type"] = json!(0);
    for (name, tensor) in tensors.iter_mut().filter(|(name, _)| name.contains("q_proj") || name.contains("k_proj")) {
        let heads = if name.contains("q_proj") { 4 } else { 2 };
        let (rows, width) = (tensor.shape()[0], tensor.shape()[1]);
        let (d, values) = (rows / heads, tensor.to_f32());
        // Row 2i of a head is row i of its first half, row 2i + 1 row i of its second.
        let from = |row: usize| row / d * d + row % d % 2 * (d / 2) + row % d / 2;
        let moved: Vec<f32> = (0..rows).flat_map(|row| values[from(row) * width..][..width].to_vec()).collect();
        *tensor = Tensor::from_f32(tensor.dtype(), vec![rows, width], &moved).unwrap();
    }
    let read = apr::checkpoint(&open(&write(&metadata, &tensors)).unwrap()).unwrap();
    same_values(&plain.tensors, &read.tensors);
}

const DTYPES: [(Dtype, TensorDType); 7] = [
    (Dtype::F32, TensorDType::F32),
    (Dtype::F16, TensorDType::F16),
    (Dtype::BF16, TensorDType::BF16),
    (Dtype::AprQ4, TensorDType::AprQ4),
    (Dtype::AprQ8, TensorDType::AprQ8),
    (Dtype::Q4K, TensorDType::Q4K),
    (Dtype::Q6K, TensorDType::Q6K),
];

fn theirs(dtype: Dtype) -> TensorDType {
    DTYPES.iter().find(|(ours, _)| *ours == dtype).unwrap().1
}

/// A tensor of each dtype, each byte its place times an odd number.
fn one_of_each() -> Vec<(String, Tensor)> {
    let tensor = |dtype: Dtype| {
        let bytes = dtype.bytes_of(&[3, 256]).unwrap();
        Tensor::owned(dtype, vec![3, 256], (0..bytes).map(|i| (i * 31 + 7) as u8).collect()).unwrap()
    };
    DTYPES.iter().rev().map(|(dtype, _)| (format!("{dtype}.weight"), tensor(*dtype))).collect()
}

/// Their reader finds in our files what we put there: names, dtypes, shapes, bytes, metadata.
#[test]
fn what_we_write_is_read_by_the_crate() {
    let mut files = vec![(json!({"model_type": "test", "hidden_size": 3, "x": [1, null, "é"]}), one_of_each())];
    files.extend(roster().iter().map(|model| converted(model)).map(|(_, metadata, tensors)| (Value::Object(metadata), tensors)));
    for (metadata, tensors) in files {
        let bytes = write(metadata.as_object().unwrap(), &tensors);
        let reader = AprV2Reader::from_bytes(&bytes).unwrap();
        assert!(AprV2ReaderRef::from_bytes(&bytes).is_ok());
        let mut names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(reader.tensor_names(), names);
        for (name, tensor) in &tensors {
            let entry = reader.get_tensor(name).unwrap();
            assert_eq!((entry.dtype, entry.shape.as_slice()), (theirs(tensor.dtype()), tensor.shape()), "{name}");
            assert_eq!(reader.get_tensor_data(name).unwrap(), tensor.bytes(), "{name}");
        }
        assert!(reader.verify_alignment());
        let read = reader.metadata();
        assert_eq!(Some(read.model_type.as_str()), metadata["model_type"].as_str());
        assert_eq!(read.hidden_size, metadata["hidden_size"].as_u64().map(|n| n as usize));
        for (name, value) in metadata.as_object().unwrap() {
            let known = serde_json::to_value(read).unwrap();
            let is_equal = match (known.get(name), value) {
                (Some(Value::Number(read)), Value::Number(value)) if value.is_f64() => {
                    read.as_f64().map(|n| n as f32) == value.as_f64().map(|n| n as f32)
                }
                (read, value) => read == Some(value),
            };
            assert!(is_equal, "{name}: {value} became {:?}", known.get(name));
        }
    }
}

/// Files of both of their writers are read, and hold what was put there. Both write the footer.
#[test]
fn what_the_crate_writes_is_read() {
    let metadata = || {
        let mut metadata = AprV2Metadata::new("test");
        metadata.architecture = Some("llama".to_owned());
        metadata.rope_theta = Some(500_000.0);
        metadata.custom.insert("tokenizer.vocabulary".to_owned(), json!(["a", "b"]));
        metadata
    };
    let tensors = one_of_each();
    let mut writer = AprV2Writer::new(metadata());
    let mut streaming = AprV2StreamingWriter::new(metadata()).unwrap();
    for (name, tensor) in &tensors {
        writer.add_tensor(name, theirs(tensor.dtype()), tensor.shape().to_vec(), tensor.bytes().to_vec());
        streaming.add_tensor(name, theirs(tensor.dtype()), tensor.shape().to_vec(), tensor.bytes()).unwrap();
    }
    let streamed = tempfile::NamedTempFile::new().unwrap();
    streaming.finalize(streamed.path()).unwrap();
    let streamed = std::fs::read(streamed.path()).unwrap();
    let written = writer.write().unwrap();
    assert_ne!(written, streamed, "the streaming writer keeps the order in which tensors came");
    for bytes in [written, streamed] {
        let file = open(&bytes).unwrap();
        assert_eq!(file.metadata["architecture"], "llama");
        assert_eq!(file.metadata["rope_theta"], 500_000.0);
        assert_eq!(file.metadata["tokenizer.vocabulary"], json!(["a", "b"]));
        assert_eq!(file.tensors.len(), tensors.len());
        for (name, tensor) in &tensors {
            let info = file.tensors.iter().find(|info| info.name == *name).unwrap();
            let read = file.tensor(info);
            assert_eq!((read.dtype(), read.shape(), read.bytes()), (tensor.dtype(), tensor.shape(), tensor.bytes()), "{name}");
        }
        // Without the footer, which some files in the world lack, it is refused, and the four bytes that are missing are given.
        let refusal = open(&bytes[..bytes.len() - 4]).unwrap_err();
        assert_eq!(refusal.reason(), "no-footer", "{refusal}");
        let crc = &bytes[bytes.len() - 4..];
        let stamp = format!(r"printf '\{:03o}\{:03o}\{:03o}\{:03o}' >> FILE", crc[0], crc[1], crc[2], crc[3]);
        assert!(refusal.to_string().ends_with(&stamp), "{refusal}");
    }
}

/// Their quantizers and ours agree to the byte.
#[test]
fn quantized_tensors_are_those_of_the_crate() {
    let values: Vec<f32> = (0..40 * 64).map(|i| ((i * 2_654_435_761_u64 % 10_007) as f32 - 5_000.0) / 777.0).collect();
    let mut writer = AprV2Writer::new(AprV2Metadata::new("test"));
    writer.add_q4_tensor("q4", vec![40, 64], &values);
    writer.add_q8_tensor("q8", vec![40, 64], &values);
    writer.add_f16_tensor("f16", vec![40, 64], &values);
    let file = open(&writer.write().unwrap()).unwrap();
    for (name, dtype) in [("q4", Dtype::AprQ4), ("q8", Dtype::AprQ8), ("f16", Dtype::F16)] {
        let info = file.tensors.iter().find(|info| info.name == name).unwrap();
        let ours = Tensor::from_f32(dtype, vec![40, 64], &values).unwrap();
        assert_eq!((info.dtype, file.tensor(info).bytes() == ours.bytes()), (dtype, true), "{name}");
    }
}

/// What their writers let pass: a flag without the compression, a shard, a name twice, a size that the shape does not need.
#[test]
fn what_the_crate_writes_and_should_not_is_refused() {
    let write = |spoil: fn(&mut AprV2Writer)| {
        let mut writer = AprV2Writer::new(AprV2Metadata::new("test"));
        writer.add_f32_tensor("w", vec![2], &[1.0, 2.0]);
        spoil(&mut writer);
        writer.write().unwrap()
    };
    let reason = |spoil| match open(&write(spoil)) {
        Err(error @ Error::Apr { .. }) => error.reason(),
        other => panic!("{other:?}"),
    };
    assert!(open(&write(|_| {})).is_ok());
    assert_eq!(reason(|writer| _ = writer.with_lz4_compression()), "flag");
    assert_eq!(reason(|writer| _ = writer.with_sharding(2, 0)), "flag");
    assert_eq!(reason(|writer| writer.add_f32_tensor("w", vec![2], &[1.0, 2.0])), "duplicate-name");
    assert_eq!(reason(|writer| writer.add_f32_tensor("v", vec![3], &[1.0, 2.0])), "wrong-size");
    assert_eq!(reason(|writer| writer.add_tensor("v", TensorDType::I64, vec![1], vec![0; 8])), "unsupported-dtype");
    assert_eq!(reason(|writer| writer.add_tensor("v", TensorDType::I8, vec![1], vec![0])), "ambiguous-dtype");
}
