//! What each check is asked of: which cells of the carried models, and which prompts, texts and templates there. A check that is silently
//! asked of less finds less.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use ground_truth_falsification::arithmetic::Arithmetic;
use ground_truth_falsification::check::{Per, Scope, all};
use ground_truth_falsification::form::Form;
use ground_truth_falsification::golden::{ChatIndex, Dequantized, Index};
use ground_truth_falsification::tolerance::NATIVE;

const MODELS: [&str; 3] = ["llama-tiny", "gpt2-tiny", "llama-outlier"];

/// The published form, and columns of each kind.
const FORMS: [(&str, &str); 7] =
    [("safetensors", ""), ("gguf", "f32"), ("gguf", "f16"), ("gguf", "q8_0"), ("gguf", "q4_k_m"), ("apr", "q4"), ("gguf", "q2_k")];

fn read(path: impl AsRef<Path>) -> Option<Vec<u8>> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden").join(path)).ok()
}

/// Names in an order of their own: few are told, of many their number and those that are left out, where they are fewer.
fn told<'n>(chosen: Vec<&'n str>, of: &[&'n str]) -> String {
    let left: Vec<&str> = of.iter().copied().filter(|name| !chosen.contains(name)).collect();
    match (chosen.len(), left.len()) {
        (0, _) => "-".to_owned(),
        (_, 0) => "all".to_owned(),
        (n, m) if n <= m => chosen.join(" "),
        _ => format!("all but {}", left.join(" ")),
    }
}

fn asked(per: &Per, scope: &Scope<'_>) -> String {
    let prompts = &scope.index.prompts;
    match per {
        Per::Cell(applies) => if applies(scope) { "cell" } else { "-" }.to_owned(),
        Per::Prompt(applies) | Per::Source(applies) | Per::Sources(applies) => {
            let chosen = prompts.iter().filter(|prompt| applies(scope, prompt)).map(|prompt| prompt.name.as_str());
            told(chosen.collect(), &prompts.iter().map(|prompt| prompt.name.as_str()).collect::<Vec<_>>())
        }
        Per::Perplexity(applies) => {
            let names = scope.index.perplexity.iter().map(|file| file.trim_start_matches("perplexity-").trim_end_matches(".json"));
            let names: Vec<&str> = names.collect();
            told(names.iter().copied().filter(|name| applies(scope, name)).collect(), &names)
        }
        Per::Chat(applies) => {
            let styles = scope.chat.map_or(&[][..], |chat| &chat.styles);
            let chosen = styles.iter().filter(|style| applies(scope, style)).map(|style| style.name.as_str());
            told(chosen.collect(), &styles.iter().map(|style| style.name.as_str()).collect::<Vec<_>>())
        }
    }
}

#[test]
fn each_check_is_asked_of_what_it_was() {
    let chat = ChatIndex::parse(&read("chat/chat.json").unwrap(), "chat.json").unwrap();
    let mut text = String::new();
    for check in all() {
        // Cells that are asked the same stand together.
        let mut cells: BTreeMap<String, BTreeMap<&str, Vec<String>>> = BTreeMap::new();
        for model in MODELS {
            let index = Index::parse(&read(format!("{model}/index.json")).unwrap(), "index.json").unwrap();
            for (format, quantization) in FORMS {
                let form = match quantization {
                    "" => Form::published(&index.dtype),
                    quantization => Form::converted(format, quantization, &index.dtype),
                };
                let own = read(format!("{model}/dequantized/{quantization}/index.json"));
                let dequantized = own.map(|bytes| Dequantized::parse(&bytes, "index.json").unwrap());
                let scope = |runtime, arithmetic| Scope {
                    index: &index,
                    form: &form,
                    dequantized: dequantized.as_ref().filter(|_| form.is_lossy()),
                    llama_cpp: form.is("gguf"),
                    chat: Some(&chat),
                    sayable: true,
                    runtime,
                    arithmetic,
                };
                let (native, other) = (scope(NATIVE, Arithmetic::Exact), scope("other", Arithmetic::F32));
                let [own, others] = [native, other].map(|scope| asked(&check.per, &scope));
                let key = if own == others { own } else { format!("{own}, of another runtime {others}") };
                cells.entry(key).or_default().entry(model).or_default().push(form.to_string());
            }
        }
        let _ = writeln!(text, "{} ({:?})", check.id, check.breadth);
        cells.remove("-");
        for (asked, models) in cells {
            let of = |forms: &[String]| if forms.len() == FORMS.len() { "every form".to_owned() } else { forms.join(", ") };
            let models: Vec<String> = models.iter().map(|(model, forms)| format!("{model} in {}", of(forms))).collect();
            let _ = writeln!(text, "    {asked}: {}", models.join("; "));
        }
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("asked", text));
}
