//! The command `ground-truth`: the library without cargo's test runner.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | every row that was judged is corroborated; the request was answered |
//! | 1 | a row is falsified or in error; two artifacts differ; the request was refused |
//! | 2 | the command line cannot be understood |
//! | 3 | nothing could be judged |

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::escape;
use crate::runtime::native::NativeRuntime;
use crate::suite::{self, OnTrial};

mod baseline;
mod container;
mod convert;
mod diff;
mod doctor;
mod eval;
mod explain;
mod folder;
mod golden;
mod judge;
mod list;
mod open;
mod power;
mod probe;
mod report;
mod run;
mod score;
mod serve;
mod ticket;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Corroborated, or answered.
    Green = 0,
    /// Falsified, in error, or refused.
    Red = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// Nothing could be judged.
    Nothing = 3,
}

/// Falsify language-model files and runtimes.
#[derive(Debug, Parser)]
#[command(
    name = "ground-truth",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 corroborated or answered, 1 falsified, in error or refused, 2 usage, 3 nothing could be judged."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Judge one model folder, or files that were made of it, against its golden, or, without one, by the claims that need none
    Judge {
        /// A Hugging Face folder: config.json, *.safetensors, tokenizer.json
        model: PathBuf,
        /// GGUF, APR or safetensors files that were made of it: each is put on trial in its place
        files: Vec<PathBuf>,
        /// The model's golden folder, or a folder that holds one of the model's name
        #[arg(long)]
        golden: Option<PathBuf>,
        /// Judge a runtime of runtimes/runtimes.toml, or of a file in GROUND_TRUTH_RUNTIMES, in the engine's place
        #[arg(long, value_name = "NAME")]
        runtime: Option<String>,
        /// Judge only the rows whose name contains this
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        /// Judge the essentials only: no row begins after eight seconds, and what was left out is counted
        #[arg(long)]
        quick: bool,
        /// Print the records as JSON
        #[arg(long)]
        json: bool,
    },
    /// Judge every row of the matrix; what follows are the options of a test binary (`--list`, `--exact NAME`, a filter)
    Matrix {
        /// Judge the runtimes of runtimes/runtimes.toml and GROUND_TRUTH_RUNTIMES in the engine's place; comes before the options
        #[arg(long)]
        runtimes: bool,
        /// Options of a test binary
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<std::ffi::OsString>,
    },
    /// Convert a model to another format or quantization
    Convert {
        /// A Hugging Face folder, or a GGUF, APR or safetensors file
        source: PathBuf,
        /// The file to write; of safetensors, the folder. Its own folder must be there
        destination: PathBuf,
        /// safetensors, gguf or apr; without it, what the destination's name ends in
        #[arg(long)]
        format: Option<String>,
        /// f32, f16, bf16, q8_0, q4_k_m, ...; without it, or with `keep`, every tensor keeps its type
        #[arg(long, value_name = "NAME")]
        quant: Option<String>,
        /// The most bytes in one safetensors file: 5GB, 500MB, 1GiB, ...
        #[arg(long, value_name = "SIZE")]
        shard_size: Option<String>,
        /// Print files, hashes, tensors and provenance as JSON
        #[arg(long)]
        json: bool,
    },
    /// Compare two artifacts of one model: exit code 0 if configuration, tensors and values are equal, else 1
    Diff {
        /// A Hugging Face folder, or a GGUF, APR or safetensors file: the reference
        a: PathBuf,
        /// The other one
        b: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Score a text: its perplexity
    Eval {
        /// A Hugging Face folder, or a GGUF, APR or safetensors file
        model: PathBuf,
        /// A UTF-8 text file
        text: PathBuf,
        /// Tokens that are looked at together; without it, the context, at most 1024
        #[arg(long, value_name = "N")]
        window: Option<usize>,
        /// Tokens from one window to the next; without it, half a window
        #[arg(long, value_name = "N")]
        stride: Option<usize>,
        /// Score only so many tokens
        #[arg(long, value_name = "N")]
        max_tokens: Option<usize>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Continue a text greedily
    Run {
        /// A Hugging Face folder, or a GGUF, APR or safetensors file
        model: PathBuf,
        /// The text to continue
        #[arg(long)]
        prompt: String,
        /// How many tokens at most
        #[arg(long, default_value_t = 32)]
        max_new_tokens: usize,
        /// Print ids, text and the reason of stopping as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print what a model says it is, and what its container says of itself
    Inspect {
        /// A Hugging Face folder, or a GGUF, APR or safetensors file
        model: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print every tensor of a model with its statistics and where it lies
    Tensors {
        /// A Hugging Face folder, or a GGUF, APR or safetensors file
        model: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Read one file or model folder as strictly as the engine can, and say what it holds or why it is refused
    Probe {
        /// A safetensors, GGUF or APR file, or a model folder
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Answer for the engine what docs/adapter.md describes: requests on standard input, answers on standard output
    Serve {
        /// How sums of products are computed: other correct implementations, for checks to be tried on
        #[arg(long, value_enum, default_value_t = serve::Sums::Best)]
        sums: serve::Sums,
        /// Compute with so many threads where a request asks for one
        #[arg(long, default_value_t = 1, value_name = "N")]
        threads: usize,
    },
    /// Judge a runtime of runtimes/runtimes.toml or GROUND_TRUTH_RUNTIMES, and write what is red to its expectation file, which stays red
    /// until every entry holds the address of a report
    Baseline {
        /// The runtime's name
        runtime: String,
        /// Judge only the rows whose name contains this
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
    },
    /// Write what is red in the last run as issues: one for each claim, owner and stage
    Ticket {
        /// Another run than the last: the name of its folder under target/ground-truth
        #[arg(long, value_name = "ID")]
        run: Option<String>,
        /// Write each ticket to a file of its own in this folder
        #[arg(long, value_name = "DIR")]
        split: Option<PathBuf>,
        /// Markdown or JSON
        #[arg(long, value_enum, default_value_t = TicketFormat::Md)]
        format: TicketFormat,
        /// Print the commands that file the tickets with GitHub's `gh`; none is run
        #[arg(long, requires = "split", conflicts_with = "format")]
        gh: bool,
    },
    /// Print what each check is worth: the defects that it kills, alone or with others, beside the rules of other tools
    Power {
        /// In which form
        #[arg(long, value_enum, default_value = "md")]
        format: power::Form,
        /// Write power.md, power.json and power.html into this folder, and print their names
        #[arg(long, value_name = "FOLDER", conflicts_with_all = ["format", "readme", "generated"])]
        out: Option<PathBuf>,
        /// Rewrite the section of this Markdown file that stands between the two marks
        #[arg(long, value_name = "FILE", conflicts_with_all = ["format", "generated"])]
        readme: Option<PathBuf>,
        /// Draw so many defects that nobody wrote down, judge them, and print what became of them as JSON
        #[arg(long, value_name = "N", conflicts_with = "format")]
        generated: Option<usize>,
        /// The seed of the draw
        #[arg(long, value_name = "N", default_value_t = 1, requires = "generated")]
        seed: u64,
    },
    /// Write a run as a page, or as what another program reads; compare two runs; show how the runs go on
    Report {
        /// The run's id: a folder under target/ground-truth; without it, the last one that judged models
        #[arg(long, value_name = "ID")]
        run: Option<String>,
        /// The file to write; `-` is stdout. Without it a page lies beside its run, and anything else goes to stdout
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// What to write; without it a page, and Markdown of --compare and --trend
        #[arg(long, value_enum)]
        format: Option<report::Format>,
        /// What changed from run A to run B: exit code 1 if B is worse
        #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["run", "trend"])]
        compare: Option<Vec<String>>,
        /// How the runs go on: counts, time, and the measures closest to their bounds
        #[arg(long, conflicts_with = "run")]
        trend: bool,
    },
    /// Print the model qualification score of a run beside the table that it came from; it decides nothing
    Score {
        /// The run's id; without it, the last one that judged models
        #[arg(long, value_name = "ID")]
        run: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the models of the roster
    List {
        /// List instead what is not tested, and why
        #[arg(long)]
        not_tested: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Explain a claim or a check: what refutes it, its bounds, what it is proven to find, how to read a red row
    Explain {
        /// An id: F-G4, F-G4-logits, CANARY, ...
        id: String,
    },
    /// Say what this machine has of what the suite can use, and how to get what is missing
    Doctor,
    /// Read golden files
    Golden {
        #[command(subcommand)]
        command: GoldenCommand,
    },
    /// Print completions for a shell: ground-truth completions bash > FILE
    Completions {
        /// bash, elvish, fish, powershell, zsh
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
enum GoldenCommand {
    /// Print a golden file as people read it: floats as decimals beside their bits, bytes as text
    Show {
        /// A JSON file of a golden folder
        file: PathBuf,
        /// Print long lists whole
        #[arg(long)]
        all: bool,
    },
}

/// Variables that speak to the suite, and what each does.
const VARIABLES: [(&str, &str); 12] = [
    ("GROUND_TRUTH_MODELS", "further folders of models"),
    ("GROUND_TRUTH_GOLDEN", "further folders of goldens"),
    ("GROUND_TRUTH_ARTIFACTS", "files that somebody else made, model=file"),
    ("GROUND_TRUTH_DATA", "other test data"),
    ("GROUND_TRUTH_RUNTIMES", "further files of runtimes"),
    ("GROUND_TRUTH_REQUIRE_ALL", "1 makes red what would be listed as not tested"),
    ("GROUND_TRUTH_DEADLINE", "seconds that a runtime has for one answer"),
    ("GROUND_TRUTH_HALT", "claims and checks whose first red row ends the run"),
    ("GROUND_TRUTH_BASELINE", "what a runtime fails is written to its expectation file"),
    ("GROUND_TRUTH_ROOT", "another workspace root"),
    ("GROUND_TRUTH_BLESS", "1 writes committed tables anew"),
    ("GROUND_TRUTH_CANDLE_DEVICE", "the device that candle's kernels are compared on"),
];

/// How tickets are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum TicketFormat {
    /// Markdown, as GitHub renders it
    Md,
    /// One JSON object
    Json,
}

/// What went wrong with a request, and what to do next.
struct Refusal {
    message: String,
    next: String,
    exit: Exit,
}

impl Refusal {
    fn new(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { message: message.into(), next: next.into(), exit: Exit::Red }
    }
}

/// Runs the command line of this process.
#[expect(clippy::too_many_lines, reason = "an arm for each command")]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // clap prints help and version to stdout and counts them as success.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Exit::Usage } else { Exit::Green } as u8);
        }
    };
    let done = match arguments.command {
        Command::Judge { model, files, golden, runtime, only, quick, json } => judge::judge(
            &judge::Asked { model: &model, files: &files, golden: golden.as_deref(), runtime: runtime.as_deref(), only, quick },
            json,
        ),
        Command::Matrix { runtimes, options } => Ok(matrix(runtimes, options)),
        Command::Convert { source, destination, format, quant, shard_size, json } => convert::convert(
            &convert::Asked {
                source: &source,
                destination: &destination,
                format: format.as_deref(),
                quantization: quant.as_deref(),
                shard_size: shard_size.as_deref(),
            },
            json,
        ),
        Command::Diff { a, b, json } => diff::diff(&a, &b, json),
        Command::Eval { model, text, window, stride, max_tokens, json } => {
            eval::eval(&eval::Asked { model: &model, text: &text, window, stride, max_tokens }, json)
        }
        Command::Run { model, prompt, max_new_tokens, json } => run::run(&model, &prompt, max_new_tokens, json),
        Command::Inspect { model, json } => folder::inspect(&model, json),
        Command::Tensors { model, json } => folder::tensors(&model, json),
        Command::Serve { sums, threads } => serve::serve(sums, threads),
        Command::Baseline { runtime, only } => baseline::baseline(&runtime, only),
        Command::Ticket { run, split, format, gh } => {
            ticket::ticket(&ticket::Asked { run: run.as_deref(), split: split.as_deref(), json: format == TicketFormat::Json, gh })
        }
        Command::List { not_tested: true, json } => list::not_tested(json),
        Command::List { not_tested: false, json } => list::list(json),
        Command::Explain { id } => explain::explain(&id),
        Command::Doctor => doctor::doctor(),
        Command::Golden { command: GoldenCommand::Show { file, all } } => golden::show(&file, all),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut <Arguments as clap::CommandFactory>::command(), "ground-truth", &mut script);
            print(&String::from_utf8_lossy(&script));
            Ok(Exit::Green)
        }
        Command::Power { format, out, readme, generated, seed } => power::power(&power::Asked { format, out, readme, generated, seed }),
        Command::Report { run, out, format, compare, trend } => {
            report::report(&report::Asked { run: run.as_deref(), out: out.as_deref(), format, compare: compare.as_deref(), trend })
        }
        Command::Score { run, json } => score::score(run.as_deref(), json),
        Command::Probe { file, json } => probe::probe(&file, json),
    };
    let exit = done.unwrap_or_else(|refusal| {
        eprintln!("error: {}", escape::line(&refusal.message));
        eprintln!("next:  {}", escape::lines(&refusal.next));
        refusal.exit
    });
    ExitCode::from(exit as u8)
}

/// The matrix as the test target judges it.
fn matrix(runtimes: bool, options: Vec<std::ffi::OsString>) -> Exit {
    let name = std::ffi::OsString::from("ground-truth matrix");
    let options = libtest_mimic::Arguments::from_iter(std::iter::once(name).chain(options));
    let list = options.list;
    let conclusion = if runtimes {
        suite::run_registered(options)
    } else {
        suite::run(options, vec![OnTrial::judged(Arc::new(NativeRuntime::new()))], suite::DEFAULT_TARGET)
    };
    match (conclusion.has_failed(), conclusion.num_passed) {
        (true, _) => Exit::Red,
        (false, 0) if !list => Exit::Nothing,
        (false, _) => Exit::Green,
    }
}

/// Prints a finished answer. A reader that has gone away is no error of ours.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a value as one line of JSON that no terminal obeys.
fn print_json<T: serde::Serialize>(value: &T) -> Result<Exit, Refusal> {
    let text = serde_json::to_string(value)
        .map_err(|error| Refusal::new(format!("failed to write JSON: {error}"), "report this as a bug of ground-truth"))?;
    print(&(escape::json(&text) + "\n"));
    Ok(Exit::Green)
}

/// The refusal of a model folder.
fn no_model(folder: &Path, error: &ground_truth::Error) -> Refusal {
    let next = if folder.is_dir() {
        "mend the file that is named; a model folder holds config.json, *.safetensors and tokenizer.json".to_owned()
    } else if folder.exists() {
        "give a Hugging Face folder, or a GGUF, APR or safetensors file".to_owned()
    } else {
        "give the path of a Hugging Face folder, or of a GGUF, APR or safetensors file; `ground-truth list` shows the folders of the roster"
            .to_owned()
    };
    Refusal::new(format!("failed to open the model: {error}"), next)
}
