//! The files that llama.cpp's own quantizer wrote (`GROUND_TRUTH_DATA/ref256`), every tensor of them: read as gguf-py reads it, to the bit,
//! and quantized anew at least as well. Where the variable is not set, each test is listed as ignored, with the reason in its name.

#![expect(clippy::neg_cmp_op_on_partial_ord, reason = "comparisons are written `!(x <= bound)`, so that NaN is red")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use ground_truth::{Dtype, quant};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use sha2::{Digest, Sha256};

const K_QUANTS: [Dtype; 5] = [Dtype::Q2K, Dtype::Q3K, Dtype::Q4K, Dtype::Q5K, Dtype::Q6K];
/// Relative RMS against that of llama.cpp's own file.
const WORSE_AT_MOST: f64 = 1.02;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // A relative value counts from the root of the workspace; one that names nothing is red.
    let data = std::env::var_os("GROUND_TRUTH_DATA").filter(|data| !data.is_empty()).map(|data| root.join(data));
    let golden = std::fs::read(root.join("golden/vectors/quant-ref256.json")).expect("golden/vectors/quant-ref256.json");
    let golden: Arc<Value> = Arc::new(serde_json::from_slice(&golden).expect("JSON"));
    let reason = if data.is_some() { "" } else { " (GROUND_TRUTH_DATA is not set)" };
    let trial = |name: String, body: fn(&Ref256, &Value) -> Result<(), Failed>, file: Value| {
        let (golden, data) = (Arc::clone(&golden), data.clone());
        let body = move || body(&Ref256 { folder: data.ok_or("GROUND_TRUTH_DATA is not set")?.join("ref256/gguf"), golden }, &file);
        Trial::test(format!("{name}{reason}"), body).with_ignored_flag(!reason.is_empty())
    };
    let mut trials = Vec::new();
    for file in golden["files"].as_array().expect("files") {
        let name = file["file"].as_str().expect("a name");
        trials.push(trial(format!("read_as_gguf_py_reads_it::{name}"), every_tensor_is_read_as_gguf_py_reads_it, file.clone()));
        let quantized = tensors(file).iter().any(|tensor| K_QUANTS.contains(&dtype(tensor)));
        if quantized {
            trials.push(trial(format!("quantized_as_well_as_llama_cpp::{name}"), quantized_as_well_as_llama_cpp, file.clone()));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

struct Ref256 {
    folder: PathBuf,
    golden: Arc<Value>,
}

impl Ref256 {
    /// The bytes of a file, which must be the file that the golden was made from.
    fn read(&self, file: &Value) -> Result<Vec<u8>, Failed> {
        let path = self.folder.join(file["file"].as_str().expect("a name"));
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let sum = hex(&Sha256::digest(&bytes));
        if file["sha256"] != sum.as_str() {
            return Err(format!("{}: sha256 {sum}, the golden was made from {}", path.display(), file["sha256"]).into());
        }
        Ok(bytes)
    }

    /// The tensors of the file that holds every number exactly, by name.
    fn source(&self) -> Result<impl Fn(&Value) -> Vec<f32>, Failed> {
        let files = self.golden["files"].as_array().expect("files");
        let file = files.iter().find(|file| file["file"] == "ref256-f32.gguf").ok_or("no ref256-f32.gguf in the golden")?.clone();
        let bytes = self.read(&file)?;
        Ok(move |name: &Value| {
            let tensor = tensors(&file).iter().find(|tensor| tensor["name"] == *name).unwrap_or_else(|| panic!("{name}"));
            dequantized(tensor, &bytes)
        })
    }
}

fn tensors(file: &Value) -> &[Value] {
    file["tensors"].as_array().expect("tensors")
}

fn dtype(tensor: &Value) -> Dtype {
    let name = tensor["dtype"].as_str().expect("a dtype");
    Dtype::ALL.into_iter().find(|dtype| dtype.name() == name).unwrap_or_else(|| panic!("no dtype {name}"))
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().expect("a number")).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn dequantized(tensor: &Value, file: &[u8]) -> Vec<f32> {
    let n = tensor["shape"].as_array().expect("a shape").iter().map(number).product();
    let mut out = vec![0.0; n];
    quant::dequantize(dtype(tensor), &file[number(&tensor["offset"])..][..number(&tensor["bytes"])], &mut out);
    out
}

fn relative_rms(values: &[f32], source: &[f32]) -> f64 {
    assert_eq!(values.len(), source.len());
    let square = |v: f64| v * v;
    let error: f64 = (0..values.len()).map(|i| square(f64::from(values[i]) - f64::from(source[i]))).sum();
    (error / source.iter().map(|v| square(f64::from(*v))).sum::<f64>()).sqrt()
}

fn every_tensor_is_read_as_gguf_py_reads_it(ref256: &Ref256, file: &Value) -> Result<(), Failed> {
    let bytes = ref256.read(file)?;
    for tensor in tensors(file) {
        let values = dequantized(tensor, &bytes);
        let sum = hex(&Sha256::digest(values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()));
        if tensor["sha256"] != sum.as_str() {
            return Err(format!(
                "{} ({}): sha256 of the numbers {sum}, of gguf-py's {}",
                tensor["name"], tensor["dtype"], tensor["sha256"]
            )
            .into());
        }
    }
    Ok(())
}

fn quantized_as_well_as_llama_cpp(ref256: &Ref256, file: &Value) -> Result<(), Failed> {
    let source = ref256.source()?;
    let (mut worse, mut worst) = (Vec::new(), [0f64; 5]);
    for tensor in tensors(file) {
        let Some(k) = K_QUANTS.iter().position(|k| *k == dtype(tensor)) else { continue };
        let values = source(&tensor["name"]);
        let row = number(tensor["shape"].as_array().and_then(|shape| shape.last()).ok_or("no shape")?);
        let started = std::time::Instant::now();
        let blocks = quant::quantize(K_QUANTS[k], &values, row).ok_or("a row is no whole number of blocks")?;
        let nanoseconds = started.elapsed().as_nanos() as f64 / values.len() as f64;
        let mut ours = vec![0.0; values.len()];
        quant::dequantize(K_QUANTS[k], &blocks, &mut ours);
        let (ours, theirs) = (relative_rms(&ours, &values), tensor["relative_rms"].as_f64().ok_or("no relative RMS")?);
        let ratio = ours / theirs;
        println!(
            "{:28} {}: {ours:.5}, llama.cpp {theirs:.5}, ratio {ratio:.4}, {nanoseconds:.0} ns a number",
            tensor["name"].to_string(),
            K_QUANTS[k]
        );
        worst[k] = worst[k].max(ratio);
        if !(ratio <= WORSE_AT_MOST) {
            worse.push(format!("{} as {}: {ours:.6}, llama.cpp {theirs:.6}, ratio {ratio:.4}", tensor["name"], K_QUANTS[k]));
        }
    }
    if worse.is_empty() { Ok(()) } else { Err(worse.join("\n").into()) }
}
