//! The page of `ground-truth report` in a real browser: it opens without a complaint and without a network, a click and the keyboard lead to
//! a failing cell, it fits a phone, and without a script it still tells what is red.
//!
//! Where there is no Chromium these are listed as ignored, with what installs one; under `GROUND_TRUTH_REQUIRE_ALL=1` they are red.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Arc, OnceLock};

use ground_truth_falsification::verdict::{ErrorKind, Measure, Owner, Place, Verdict};
use ground_truth_harness::evidence::{Axes, Kind, Record, Run};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::json;

use browser::Browser;

mod browser;

const INSTALL: &str = "apt-get install chromium";

/// The most bytes of a page of a whole matrix.
const MOST: u64 = 3 << 20;

type Test = fn(&mut Browser, &Path) -> Result<(), String>;

const TESTS: [(&str, Test); 7] = [
    ("page_opens_without_a_complaint_and_without_a_network", opens),
    ("page_leads_by_click_to_a_failing_cell", click),
    ("page_leads_by_keyboard_to_a_failing_cell", keyboard),
    ("page_finds_rows_by_name_and_verdict", search),
    ("page_tells_what_is_red_without_a_script", without_a_script),
    ("page_fits_a_phone_and_a_screen_in_light_and_dark", fits),
    ("page_shows_payloads_as_text", payloads),
];

fn main() -> ExitCode {
    let program = browser::find();
    let required = std::env::var("GROUND_TRUTH_REQUIRE_ALL").is_ok_and(|value| value == "1");
    let page: Arc<OnceLock<Result<Report, String>>> = Arc::default();
    let trials = TESTS.into_iter().map(|(name, test)| {
        let (program, page) = (program.clone(), Arc::clone(&page));
        let ignored = program.is_none() && !required;
        let body = move || {
            let program = program.ok_or_else(|| Failed::from(format!("no Chromium in PATH; next: {INSTALL}")))?;
            let report = page.get_or_init(Report::new).as_ref()?;
            let mut browser = Browser::start(&program)?;
            test(&mut browser, &report.page)?;
            let complaints = std::mem::take(&mut browser.complaints);
            if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n").into()) }
        };
        let kind = if ignored { format!("no Chromium; next: {INSTALL}") } else { String::new() };
        Trial::test(name, body).with_kind(kind).with_ignored_flag(ignored)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// A run in a folder of its own, and its page.
struct Report {
    page: PathBuf,
    _root: tempfile::TempDir,
}

const MODELS: [&str; 4] = ["gpt2-tiny", "llama-outlier", "llama-tiny", "qwen2-tiny"];
const FORMS: [&str; 24] = [
    "apr::bf16",
    "apr::f16",
    "apr::f32",
    "apr::q4",
    "apr::q4_k",
    "apr::q6_k",
    "apr::q8",
    "gguf::bf16",
    "gguf::f16",
    "gguf::f32",
    "gguf::q2_k",
    "gguf::q3_k_m",
    "gguf::q4_0",
    "gguf::q4_1",
    "gguf::q4_k_m",
    "gguf::q4_k_s",
    "gguf::q5_0",
    "gguf::q5_1",
    "gguf::q5_k_m",
    "gguf::q6_k",
    "gguf::q8_0",
    "safetensors::bf16",
    "safetensors::f16",
    "safetensors::f32",
];
const PROMPTS: [&str; 8] = ["arithmetic", "code", "completion", "empty", "greeting", "knife-coin", "median-door", "one-token"];

/// What a page must show as text, each as the name of a prompt that fails.
const PAYLOADS: [&str; 4] =
    ["<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "\u{202e}\u{1b}[31mgpj.exe", "'\"><svg onload=alert(1)>"];

/// The row that the tests look for.
const FAILING: &str = "llama-tiny::gguf::q4_0::native::F-G4-logits::code";

impl Report {
    fn new() -> Result<Self, String> {
        let root = tempfile::tempdir().map_err(|error| error.to_string())?;
        let run = Run::of_this_process(&root.path().join("target").join("ground-truth"), Kind::Matrix);
        for record in records(run.id()) {
            run.write(&record)?;
        }
        let page = root.path().join("page.html");
        let answer = Command::new(env!("CARGO_BIN_EXE_ground-truth"))
            .args(["report", "--run", run.id(), "--out"])
            .arg(&page)
            .env("GROUND_TRUTH_ROOT", root.path())
            .output()
            .map_err(|error| error.to_string())?;
        if !answer.status.success() {
            return Err(format!("report ended with {}: {}", answer.status, String::from_utf8_lossy(&answer.stderr)));
        }
        Ok(Self { page, _root: root })
    }
}

/// Every cell of four models by three checks on eight prompts and nine others: 3,168 rows, of which 20 are red, and four more for the payloads.
fn records(run: &str) -> Vec<Record> {
    let mut records = Vec::new();
    for (m, model) in MODELS.iter().enumerate() {
        for (f, form) in FORMS.iter().enumerate() {
            let cell = format!("{model}::{form}::native");
            for check in ["F-G1", "F-T1", "TENSORS", "HEX", "LINT", "V1", "INSPECT", "BENCH", "PPL-quantized"] {
                records.push(record(run, &cell, check, None, green(1e-3)));
            }
            for check in ["F-G4-logits", "F-G4-kl", "F-G4-regret"] {
                for (p, prompt) in PROMPTS.iter().enumerate() {
                    let red =
                        (m + f + p) % 24 == 15 && check == "F-G4-logits" && m < 3 || (m, f, p) == (2, 12, 1) && check == "F-G4-logits";
                    records.push(record(run, &cell, check, Some(prompt), if red { wrong() } else { green(1e-7) }));
                }
            }
        }
    }
    for payload in PAYLOADS {
        records.push(record(run, "qwen2-tiny::gguf::q4_0::native", "F-E3-decode", Some(payload), Verdict::falsified(payload, payload)));
    }
    records.push(record(
        run,
        "qwen2-tiny::gguf::q2_k::native",
        "QA",
        None,
        Verdict::error(ErrorKind::Timeout, "an answer", "no answer within 60 s"),
    ));
    records
}

fn green(observed: f64) -> Verdict {
    Verdict { measures: vec![Measure::gated("mean KL", observed, 1e-2, "nats")], ..Verdict::corroborated(12, "so", "so") }
}

fn wrong() -> Verdict {
    Verdict {
        measures: vec![Measure::gated("relative RMS to float64", 0.021_37, 5.4e-7, "")],
        ..Verdict::falsified("the golden's logits", "they differ at 12 of 41 positions")
    }
    .at(Place { stage: Some("blk.0.attn.q".into()), position: Some(5), ..Place::default() })
    .owned_by(Owner::Kernel)
}

fn record(run: &str, cell: &str, check: &str, prompt: Option<&str>, verdict: Verdict) -> Record {
    let name = [Some(cell), Some(check), prompt].into_iter().flatten().collect::<Vec<_>>().join("::");
    let mut record = Record::of(run, &name, &verdict);
    record.claim.id = if check.starts_with("F-G4") { "F-G4" } else { check }.to_owned();
    record.claim.sentence = format!("what {check} claims holds");
    record.reproduce = format!("cargo test --test falsify -- --exact {}", ground_truth_harness::escape::quoted(&name));
    record.versions.runtime = "native 0.1.0".to_owned();
    record.duration_ms = 3.0;
    let parts: Vec<&str> = cell.split("::").collect();
    record.axes = Some(Axes {
        model: parts[0].to_owned(),
        format: parts[1].to_owned(),
        quantization: parts[2].to_owned(),
        runtime: parts[3].to_owned(),
        check: check.to_owned(),
        prompt: prompt.map(str::to_owned),
    });
    record
}

/// Fails with what is there in place of what is due.
fn holds(what: &str, text: &str, due: &str) -> Result<(), String> {
    if text.contains(due) { Ok(()) } else { Err(format!("{what} is to hold {due:?} and is {text:?}")) }
}

fn opens(browser: &mut Browser, page: &Path) -> Result<(), String> {
    let bytes = fs::metadata(page).map_err(|error| error.to_string())?.len();
    if bytes > MOST {
        return Err(format!("the page has {bytes} bytes, more than {MOST}"));
    }
    browser.open(page, "")?;
    holds("the title", &browser.text("document.title")?, "Ground Truth: red")?;
    holds("the count", &browser.text("document.getElementById('count').textContent")?, "rows")?;
    let parts = browser
        .value("document.querySelectorAll('#drift svg .point').length > 90 && document.querySelectorAll('#heat td.v1').length > 0")?;
    if parts != json!(true) {
        return Err("charts or heat map are empty".to_owned());
    }
    Ok(())
}

fn story(browser: &mut Browser) -> Result<String, String> {
    browser.until(|browser| Ok(browser.value("document.getElementById('evidence').open")? == json!(true)))?;
    browser.text("document.getElementById('evidence').innerText")
}

fn is_told(story: &str) -> Result<(), String> {
    let command = format!("cargo test --test falsify -- --exact '{FAILING}'");
    for due in [
        FAILING,
        "the golden's logits",
        "they differ at 12 of 41 positions",
        "5.400e-7",
        "is not",
        "stage blk.0.attn.q, position 5",
        "kernel",
        &command,
    ] {
        holds("the evidence", story, due)?;
    }
    Ok(())
}

fn click(browser: &mut Browser, page: &Path) -> Result<(), String> {
    browser.screen(1400, 900, "light")?;
    browser.open(page, "")?;
    browser.click("#models button[data-model='llama-tiny']")?;
    browser.click("#heat td[aria-label^='F-G4-logits, gguf q4_0 native']")?;
    let shown = story(browser)?;
    holds("the cell", &shown, "code")?;
    holds("the cell", &shown, "falsified")?;
    is_told(&format!("{FAILING} {shown}"))?;
    browser.click("#close")?;
    browser.until(|browser| Ok(browser.value("document.getElementById('evidence').open")? == json!(false)))?;
    // From the overview too, and by a link from outside.
    browser.click("#cells a[aria-label^='llama-tiny gguf q4_0']")?;
    holds("the cell", &story(browser)?, "falsified")?;
    browser.open(page, &format!("#row={}", FAILING.replace(':', "%3A")))?;
    is_told(&story(browser)?)
}

fn keyboard(browser: &mut Browser, page: &Path) -> Result<(), String> {
    browser.screen(1400, 900, "light")?;
    browser.open(page, "")?;
    browser.value("document.querySelector('#models [aria-selected=true]').focus()")?;
    while browser.text("document.activeElement.dataset.model")? != "llama-tiny" {
        browser.press("ArrowRight")?;
    }
    browser.press("Tab")?;
    // The field that takes the focus is the first red one.
    let label = browser.text("document.activeElement.getAttribute('aria-label') || document.activeElement.tagName")?;
    holds("the focus", &label, "falsified")?;
    let column = "document.activeElement.cellIndex";
    let before = browser.value(column)?;
    browser.press("ArrowRight")?;
    if browser.value(column)? == before {
        return Err("an arrow does not move".to_owned());
    }
    browser.value("document.querySelector(\"#heat td[aria-label^='F-G4-logits, gguf q4_0 native']\").focus()")?;
    browser.press("Enter")?;
    is_told(&format!("{FAILING} {}", story(browser)?))?;
    browser.press("n")?;
    browser.until(|browser| Ok(browser.text("location.hash")?.starts_with("#row=")))?;
    browser.press("Escape")?;
    browser.until(|browser| Ok(browser.value("document.getElementById('evidence').open")? == json!(false)))?;
    holds("the focus", &browser.text("document.activeElement.getAttribute('aria-label') || ''")?, "F-G4-logits, gguf q4_0")
}

fn search(browser: &mut Browser, page: &Path) -> Result<(), String> {
    browser.open(page, "")?;
    browser.press("/")?;
    for letter in "llama-tiny q4_0 code logits".chars() {
        browser.press(&letter.to_string())?;
    }
    holds("the query", &browser.text("document.getElementById('query').value")?, "llama-tiny q4_0 code logits")?;
    browser.until(|browser| Ok(browser.value("document.querySelectorAll('#found button').length")? == json!(1)))?;
    browser.click("#found button")?;
    is_told(&story(browser)?)?;
    browser.press("Escape")?;
    browser.value("(() => { const s = document.getElementById('verdict'); query.value = ''; s.value = '2'; s.dispatchEvent(new Event('change')); })()")?;
    holds("the count", &browser.text("document.getElementById('count').textContent")?, "1 of ")?;
    holds("the list", &browser.text("document.getElementById('found').innerText")?, "qwen2-tiny::gguf::q2_k::native::QA")
}

fn without_a_script(browser: &mut Browser, page: &Path) -> Result<(), String> {
    browser.call("Emulation.setScriptExecutionDisabled", json!({"value": true}))?;
    browser.open(page, "")?;
    let text = browser.text("document.body.innerText")?;
    for due in ["Red", "falsified", FAILING, "relative RMS to float64 0.0214 is not <= 5.400e-7"] {
        holds("the page", &text, due)?;
    }
    if browser.value("document.querySelectorAll('#red details').length > 20 && document.getElementById('heat').childElementCount === 0")?
        != json!(true)
    {
        return Err("the red rows are not in the page itself, or the script ran".to_owned());
    }
    browser.click("#red details summary")?;
    holds(
        "the first red row",
        &browser.text("document.querySelector('#red details[open]').innerText")?,
        "cargo test --test falsify -- --exact",
    )
}

fn fits(browser: &mut Browser, page: &Path) -> Result<(), String> {
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut papers = Vec::new();
    for (width, height) in [(400, 860), (1400, 900)] {
        for scheme in ["light", "dark"] {
            browser.screen(width, height, scheme)?;
            browser.open(page, "")?;
            let wide = browser.value("document.documentElement.scrollWidth")?;
            if wide.as_u64().is_none_or(|wide| wide > u64::from(width)) {
                return Err(format!("at {width} pixels the page is {wide} wide"));
            }
            papers.push((width, browser.text("getComputedStyle(document.body).backgroundColor")?));
            browser.picture(&pictures.join(format!("page-{width}-{scheme}.png")), true)?;
            browser.open(page, &format!("#row={}", FAILING.replace(':', "%3A")))?;
            story(browser)?;
            let inside = browser.value("(r => r.left >= 0 && r.right <= innerWidth && r.top >= 0 && r.bottom <= innerHeight)(document.getElementById('evidence').getBoundingClientRect())")?;
            if inside != json!(true) {
                return Err(format!("at {width} pixels the evidence leaves the screen"));
            }
            browser.picture(&pictures.join(format!("evidence-{width}-{scheme}.png")), false)?;
        }
    }
    if papers[0] == papers[1] || papers[0].1 != papers[2].1 {
        return Err(format!("dark is not dark: {papers:?}"));
    }
    Ok(())
}

fn payloads(browser: &mut Browser, page: &Path) -> Result<(), String> {
    browser.open(page, "")?;
    browser.value("(() => { query.value = 'F-E3-decode'; query.dispatchEvent(new Event('input')); })()")?;
    browser.until(|browser| Ok(browser.value("document.querySelectorAll('#found button').length")? == json!(PAYLOADS.len())))?;
    for place in 1..=PAYLOADS.len() {
        browser.click(&format!("#found li:nth-child({place}) button"))?;
        story(browser)?;
        browser.click("#close")?;
    }
    let text = browser.text("document.getElementById('found').innerText")?;
    for due in [PAYLOADS[0], PAYLOADS[1], PAYLOADS[3], "\\u{202e}\\u{1b}[31mgpj.exe"] {
        holds("the list", &text, due)?;
    }
    if browser.value("document.querySelectorAll('img, script').length")? != json!(2) {
        return Err("a payload became an element".to_owned());
    }
    Ok(())
}
