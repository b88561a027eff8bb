//! The register of claims: every id, what it says, what would refute it, and where it is put to the test.
//!
//! A claim without a test names the issue that will bring one. `tests/register.rs` holds the register against the catalogue of checks, the
//! harness and the source of the test files, so that no id is forgotten and none is said to be tested where it is not.

/// Where a claim is put to the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tested {
    /// By every check of the catalogue that names this claim: rows of the matrix.
    Matrix,
    /// By a row of the matrix that the harness judges itself, because it is about files; the id stands in this source file.
    Harness(&'static str),
    /// By tests in this file, whose names begin so.
    Suite {
        /// Path from the workspace root.
        file: &'static str,
        /// Beginning of the test functions' names.
        prefix: &'static str,
    },
    /// Not yet: this issue brings it.
    Issue(Issue),
}

/// An issue that brings claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issue {
    /// Other runtimes on trial: the protocol, candle, llama.cpp, transformers.
    Runtimes,
    /// Evidence for people: tickets, reports, stop-the-line, security of outputs.
    Evidence,
    /// The download of models and their verification.
    Hub,
    /// Speed, memory and long runs.
    Speed,
    /// Devices other than the CPU.
    Devices,
}

/// One claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Its id.
    pub id: &'static str,
    /// What must hold.
    pub sentence: &'static str,
    /// What would refute it.
    pub refuted_by: &'static str,
    /// The document and section that asks for it.
    pub from: &'static str,
    /// Where it is put to the test; parts may come with different issues.
    pub tested: &'static [Tested],
}

/// The claim with this id.
pub fn find(id: &str) -> Option<&'static Claim> {
    REGISTER.iter().find(|claim| claim.id == id)
}

const CORPUS: &str = "hf-ground-truth-corpus, section 11";
const TINY: &str = "tiny-model-ground-truth";
const DOWNLOAD: &str = "download-convert-test";
const DESIGN: &str = "the design, sections 6 and 7";

const CHATS: &str = "the design, section 9";

const MATRIX: &[Tested] = &[Tested::Matrix];
const EVIDENCE: &[Tested] = &[Tested::Issue(Issue::Evidence)];
const HUB: &[Tested] = &[Tested::Issue(Issue::Hub)];
const SPEED: &[Tested] = &[Tested::Issue(Issue::Speed)];
const DEVICES: &[Tested] = &[Tested::Issue(Issue::Devices)];

const DOCUMENTATION: &str = "harness/tests/documentation.rs";
const EDGES: &str = "falsification/tests/edge.rs";
const ERRORS: &str = "falsification/tests/error.rs";
const CONFIG: &str = "falsification/tests/config.rs";
const PROPERTIES: &str = "falsification/tests/property.rs";
const SEEDS: &str = "falsification/tests/seed.rs";
const SECURITY: &str = "harness/tests/security.rs";
const HOSTILE: &str = "harness/tests/hostile.rs";

const fn claim(id: &'static str, from: &'static str, tested: &'static [Tested], sentence: &'static str, refuted_by: &'static str) -> Claim {
    Claim { id, sentence, refuted_by, from, tested }
}

/// Every claim, in the order of the design.
pub const REGISTER: &[Claim] = &[
    claim(
        "F-G1",
        CORPUS,
        &[
            Tested::Harness("harness/src/matrix.rs"),
            Tested::Suite { file: ERRORS, prefix: "f_g1_" },
            Tested::Suite { file: HOSTILE, prefix: "f_g1_" },
        ],
        "a valid artifact parses, and each malformed one is refused with a typed error",
        "a valid file that is refused, or a malformed one that is not",
    ),
    claim(
        "F-G2",
        CORPUS,
        &[Tested::Suite { file: DOCUMENTATION, prefix: "f_g2_" }],
        "every example in the documentation and the README runs",
        "an example that fails",
    ),
    claim(
        "F-G3",
        CORPUS,
        &[Tested::Matrix, Tested::Harness("harness/src/matrix.rs")],
        "the model converts to the format and quantization and loads there, with no warning",
        "an error or a warning on the way",
    ),
    claim(
        "F-G4",
        CORPUS,
        MATRIX,
        "logits equal the golden within the bound, and the most likely token is the golden's outside ties",
        "a distance above the bound, or another token where there is no tie",
    ),
    claim(
        "F-T1",
        CORPUS,
        MATRIX,
        "every tensor has the dtype and shape that the architecture needs",
        "a tensor that is missing, one too many, or of another dtype or shape",
    ),
    claim(
        "F-T2",
        CORPUS,
        &[Tested::Suite { file: CONFIG, prefix: "f_t2_" }],
        "a config without a required field, or with null in its place, is an error that names the field",
        "a model that loads all the same",
    ),
    claim(
        "F-T3",
        CORPUS,
        &[Tested::Suite { file: CONFIG, prefix: "f_t3_" }],
        "a config field of the wrong type, negative or not finite is an error that names the field",
        "a model that loads all the same",
    ),
    claim("F-T4", CORPUS, MATRIX, "answers have the declared shape and hold finite numbers", "another shape, or a NaN"),
    claim(
        "F-E1",
        CORPUS,
        &[Tested::Matrix, Tested::Suite { file: EDGES, prefix: "f_e1_" }],
        "empty input is refused with a typed error",
        "an answer to nothing, or a crash",
    ),
    claim(
        "F-E2",
        CORPUS,
        &[Tested::Matrix, Tested::Suite { file: EDGES, prefix: "f_e2_" }],
        "the context limit is reached and not crossed",
        "an answer past the limit, a refusal before it, or a crash",
    ),
    claim(
        "F-E3",
        CORPUS,
        MATRIX,
        "emoji, right-to-left and invisible characters, composed and decomposed letters and NUL are tokenized as the oracle does",
        "one text with other ids or other bytes",
    ),
    claim(
        "F-E4",
        CORPUS,
        &[Tested::Matrix, Tested::Suite { file: EDGES, prefix: "f_e4_" }],
        "ids at the ends of the vocabulary are answered with finite numbers, ids past it are refused",
        "an answer for an id that does not exist, or a NaN",
    ),
    claim(
        "F-E5",
        CORPUS,
        &[Tested::Matrix, Tested::Suite { file: EDGES, prefix: "f_e5_" }],
        "concurrent use gives identical bits",
        "one bit that differs",
    ),
    claim(
        "F-H1",
        CORPUS,
        &[Tested::Suite { file: ERRORS, prefix: "f_h1_" }],
        "every documented error is raised by what its documentation says",
        "a documented error that cannot be raised, or another in its place",
    ),
    claim(
        "F-H2",
        CORPUS,
        &[Tested::Suite { file: CONFIG, prefix: "f_h2_" }],
        "bad configuration is refused with the file and the field",
        "a message that names neither, or no refusal",
    ),
    claim("F-H3", CORPUS, HUB, "a network failure degrades to an error that says what to do", "a hang, a crash, or a poisoned cache"),
    claim(
        "F-H4",
        CORPUS,
        &[Tested::Suite { file: ERRORS, prefix: "f_h4_" }],
        "nothing leaks on an error path",
        "memory, threads or file handles that grow with the number of errors",
    ),
    claim(
        "F-P1",
        CORPUS,
        MATRIX,
        "quantizing what was quantized changes nothing, or for k-quants at most half as much again",
        "other bytes, or a larger second error",
    ),
    claim("F-P2", CORPUS, MATRIX, "lossless conversion paths commute", "two paths with other bits"),
    claim(
        "F-P3",
        CORPUS,
        &[Tested::Matrix, Tested::Suite { file: PROPERTIES, prefix: "f_p3_" }],
        "prefill in pieces gives the logits of one prefill",
        "one bit that differs",
    ),
    claim(
        "F-P4",
        CORPUS,
        &[Tested::Matrix, Tested::Suite { file: PROPERTIES, prefix: "f_p4_" }],
        "decoding inverts encoding as the oracle's does",
        "other bytes",
    ),
    claim("F-P5", CORPUS, MATRIX, "every format round-trips", "other tensors or other metadata after the way back"),
    claim("F-R1", CORPUS, SPEED, "speed is within a tenth of its recorded ratio to a named peer", "a ratio below that"),
    claim("F-R2", CORPUS, SPEED, "memory does not grow over a long run", "anonymous memory that rises"),
    claim("F-R3", CORPUS, SPEED, "a thousand iterations give the answer of the first", "one that differs"),
    claim("F-R4", CORPUS, SPEED, "a cold start takes less than ten times a warm one", "a longer one"),
    claim(
        "F-D1",
        CORPUS,
        &[Tested::Suite { file: DOCUMENTATION, prefix: "f_d1_" }],
        "the examples in the code are run",
        "an example that is ignored or fails",
    ),
    claim(
        "F-D2",
        CORPUS,
        &[Tested::Suite { file: DOCUMENTATION, prefix: "f_d2_" }],
        "every public item and its parameters are documented",
        "a public item without documentation that builds",
    ),
    claim(
        "F-D3",
        CORPUS,
        &[Tested::Suite { file: DOCUMENTATION, prefix: "f_d2_f_d3_" }],
        "what is returned is documented",
        "a public function without documentation that builds",
    ),
    claim(
        "F-D4",
        CORPUS,
        &[Tested::Suite { file: DOCUMENTATION, prefix: "f_d2_f_d3_f_d4_" }],
        "errors are documented",
        "a public function whose errors are not, and that builds",
    ),
    claim(
        "F-S1",
        CORPUS,
        &[Tested::Suite { file: SECURITY, prefix: "f_s1_" }],
        "names and generated text cannot inject into terminal, Markdown, HTML or XML",
        "a payload that acts",
    ),
    claim(
        "F-S2",
        CORPUS,
        &[Tested::Suite { file: SECURITY, prefix: "f_s2_" }],
        "no path of an input escapes its folder",
        "a file read or written outside",
    ),
    claim(
        "F-S3",
        CORPUS,
        &[Tested::Suite { file: SECURITY, prefix: "f_s3_" }],
        "no secret appears in any output",
        "one byte of it, at any verbosity",
    ),
    claim(
        "F-S4",
        CORPUS,
        &[Tested::Suite { file: SECURITY, prefix: "f_s4_" }],
        "the dependencies are audited",
        "a licence, ban, source or advisory that the rules refuse",
    ),
    claim(
        "F-RS1",
        CORPUS,
        &[Tested::Suite { file: "runtimes/candle/tests/agree/kernels.rs", prefix: "f_rs1_" }],
        "every kernel agrees with candle's",
        "a distance above the bound",
    ),
    claim(
        "F-RS2",
        CORPUS,
        &[
            Tested::Suite { file: "src/format/safetensors/tests.rs", prefix: "f_rs2_" },
            Tested::Suite { file: "src/format/safetensors/layout.rs", prefix: "f_rs2_" },
        ],
        "safetensors round-trip with the reference crate",
        "other tensors, or other bytes",
    ),
    claim(
        "F-RS3",
        CORPUS,
        &[Tested::Suite { file: "runtimes/candle/tests/agree/forward.rs", prefix: "f_rs3_" }],
        "the forward pass agrees with candle's",
        "a distance above the bound",
    ),
    claim(
        "F-RS4",
        CORPUS,
        &[Tested::Suite { file: "runtimes/candle/tests/agree/device.rs", prefix: "f_rs4_" }, Tested::Issue(Issue::Devices)],
        "the device is chosen as candle chooses it",
        "another device",
    ),
    claim(
        "F-RS5",
        CORPUS,
        &[Tested::Matrix, Tested::Suite { file: "runtimes/candle/tests/agree/dequantize.rs", prefix: "f_rs5_" }],
        "dequantized bits agree with gguf-py and candle",
        "one bit that differs",
    ),
    claim("F-RS6", CORPUS, MATRIX, "token ids are the oracle's", "one text with other ids"),
    claim(
        "CHAT",
        CHATS,
        MATRIX,
        "conversations under a chat template have the text and the ids that transformers' apply_chat_template gives them, and its refusals",
        "another byte, another id, or a text where it raises",
    ),
    claim("CANARY", TINY, MATRIX, "the greedy text equals the golden text, and in int8 too", "one byte that differs"),
    claim("TOKEN", TINY, MATRIX, "of 32 greedy tokens at most 5 differ in int4 and 3 in int8", "more"),
    claim(
        "DRIFT",
        TINY,
        MATRIX,
        "int8 differs in at most one token more than int4, both within TOKEN",
        "more; an ordering of two wrong answers is no evidence",
    ),
    claim(
        "ROUNDTRIP",
        TINY,
        MATRIX,
        "APR to GGUF and back gives identical tokens and tensor bits, both matching the golden",
        "one bit or token that differs",
    ),
    claim("PPL", TINY, MATRIX, "perplexity equals the golden's within the bound", "a relative difference above it"),
    claim("PPL-DRIFT", TINY, MATRIX, "perplexity in int4 and int8 differs by less than 0.5, and in log by its own floor", "more"),
    claim(
        "LIST",
        TINY,
        &[Tested::Harness("harness/src/matrix.rs")],
        "a model is listed exactly once, with the architecture and weight type that the golden names",
        "a model that is listed never, twice, or as something else",
    ),
    claim("INSPECT", TINY, MATRIX, "the runtime reports every size as transformers resolved it", "a field that is missing or differs"),
    claim(
        "VALIDATE",
        TINY,
        MATRIX,
        "every tensor of an artifact lies where it may, and its checksum is right",
        "a tensor out of place, or a checksum that is wrong or missing",
    ),
    claim(
        "TENSORS",
        TINY,
        MATRIX,
        "count, parameters and statistics of the tensors are the model's",
        "another count, a NaN, a zero matrix",
    ),
    claim("LINT", TINY, MATRIX, "the lint of an artifact finds nothing", "a finding, or a missing field"),
    claim(
        "SELFTEST",
        TINY,
        MATRIX,
        "what the artifact says of itself fits together, in every part",
        "a part that another contradicts, or that is missing",
    ),
    claim("DIFF", TINY, MATRIX, "two artifacts of one model in one format differ in nothing but their quantization", "another difference"),
    claim(
        "TREE",
        TINY,
        MATRIX,
        "the names of an artifact form the tree of its architecture",
        "a root, a block or a leaf that is missing or too many",
    ),
    claim("ORACLE-ID", TINY, MATRIX, "an artifact says which model it is, and the golden is of that model", "another model, or none"),
    claim("HEX", TINY, MATRIX, "the data of a tensor is where the artifact says, and is not zero", "other bytes"),
    claim("DEBUG", TINY, MATRIX, "the artifact's health is reported as good, every part of it", "a part that is not, or is missing"),
    claim("BENCH", TINY, MATRIX, "a speed is reported, and it is not zero", "zero, or a missing field"),
    claim(
        "QA",
        TINY,
        MATRIX,
        "asked in text, the artifact answers in text as the golden does",
        "another answer, or a step on the way that fails",
    ),
    claim("ROSETTA-DIFF", TINY, MATRIX, "no tensor changes its layout between formats", "one that does"),
    claim("PARITY-GPU", TINY, DEVICES, "answers of the GPU equal those of the CPU", "a distance above the bound"),
    claim("PRECISION-LADDER", TINY, DEVICES, "BF16 and FP16 drift from float32 within their bounds", "more"),
    claim("CROSS-RUNTIME", TINY, MATRIX, "two runtimes agree on the same file", "a distance above the bound"),
    claim("D1", DOWNLOAD, HUB, "the repository exists", "any answer but success"),
    claim("D2", DOWNLOAD, HUB, "its format is supported", "an unknown one"),
    claim("D3", DOWNLOAD, HUB, "the download completes", "a file that is absent or short"),
    claim("D4", DOWNLOAD, HUB, "the checksum is right; otherwise everything halts", "another SHA-256"),
    claim("C1", DOWNLOAD, MATRIX, "the format is recognised by its content", "none, or the wrong one"),
    claim("C2", DOWNLOAD, MATRIX, "the source parses", "an error"),
    claim("C3", DOWNLOAD, MATRIX, "every tensor is extracted", "one that is missing"),
    claim("C4", DOWNLOAD, MATRIX, "the target is written", "no file"),
    claim("C5", DOWNLOAD, MATRIX, "the target begins with the magic of its format; otherwise everything halts", "other bytes"),
    claim("C6", DOWNLOAD, MATRIX, "the number of parameters is the source's; otherwise everything halts", "another number"),
    claim("C7", DOWNLOAD, MATRIX, "every tensor has the source's shape; otherwise everything halts", "another shape"),
    claim("C8", DOWNLOAD, MATRIX, "numerical precision is within SPC; otherwise everything halts", "a larger drift"),
    claim("V1", DOWNLOAD, MATRIX, "the target loads", "an error"),
    claim("V2", DOWNLOAD, MATRIX, "its metadata follows the schema", "a field that is missing or wrong"),
    claim("T1", DOWNLOAD, EVIDENCE, "inference gives output", "none"),
    claim("T2", DOWNLOAD, EVIDENCE, "latency stays below its limit, or is flagged", "a longer one, unflagged"),
    claim("T3", DOWNLOAD, EVIDENCE, "memory stays below its limit, or is flagged", "more, unflagged"),
    claim("T4", DOWNLOAD, EVIDENCE, "the sanity prompts are answered better than half the time", "fewer right answers"),
    claim("T5", DOWNLOAD, EVIDENCE, "behaviour is equivalent on nine of ten prompts, or is flagged", "fewer, unflagged"),
    claim(
        "DOWNLOAD-G1-G6",
        DOWNLOAD,
        HUB,
        "a download exists, is of a supported format, complete, verified and of a reasonable size, and is never a pickle",
        "a gate that lets something else through",
    ),
    claim(
        "SPC",
        DOWNLOAD,
        MATRIX,
        "each tensor's drift is within the bound of its quantization: relative RMS, signs, each element",
        "a larger drift, or a sign that turned",
    ),
    claim(
        "LOGIT-CONSISTENCY",
        DOWNLOAD,
        MATRIX,
        "the ten most likely tokens agree to nine tenths on nine of ten prompts",
        "less agreement",
    ),
    claim(
        "INV",
        DESIGN,
        MATRIX,
        "answers do not depend on threads, neighbours in the batch, earlier runs, or on what comes later",
        "one bit that differs",
    ),
    claim(
        "SAMPLE",
        DESIGN,
        MATRIX,
        "given logits and a random number, processors and draw give the token and the logits that transformers' own give",
        "another token, another mask, or a logit that differs by more than rounding",
    ),
    claim(
        "LEARNED",
        DESIGN,
        MATRIX,
        "a model trained for this suite learned more than its training text",
        "a held-out loss above one and a half times the training loss",
    ),
    claim(
        "seed::apr-magic",
        "download-convert-test, sections 4.1 and 9.1",
        &[Tested::Suite { file: SEEDS, prefix: "apr_magic_" }],
        "0x41505221 spells `APR!`, which is not the magic of APR v2",
        "that number as bytes in the order of the file being `APR` and a zero",
    ),
    claim(
        "seed::lora-4.2M",
        "test-generation-fine-tuning, section 4.2",
        &[Tested::Suite { file: SEEDS, prefix: "lora_" }],
        "LoRA of rank 16 on the seven projections of Qwen2.5-0.5B trains 8,798,208 parameters, not 4.2 million",
        "another count from the shapes of the seven matrices",
    ),
    claim(
        "seed::abs-kl",
        "download-convert-test, section 6.3",
        &[Tested::Suite { file: SEEDS, prefix: "abs_kl_" }],
        "the divergence of absolute, normalised weights cannot see a sign, rejects correct 4-bit weights, and is set by its epsilon",
        "a flipped sign that it sees, or correct weights that it accepts",
    ),
    claim(
        "seed::precision-ladder",
        TINY,
        &[Tested::Suite { file: SEEDS, prefix: "precision_ladder_" }],
        "that BF16 drifts no further than FP16 does not follow from their precision, and an ordering of two wrong answers passes",
        "FP16 rounding trained-size weights further than BF16 does",
    ),
    claim(
        "seed::mqs-bands",
        "hf-ground-truth-corpus, section 7.2",
        &[Tested::Suite { file: SEEDS, prefix: "mqs_bands_" }],
        "the grade bands leave gaps, and the threshold of 85 passes a recipe that fails a third of its points",
        "bands that cover every score, or a threshold that a missing category cannot pass",
    ),
];
