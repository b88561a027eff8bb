use ground_truth_falsification::verdict::{Measure, Verdict};

use super::*;
use crate::export::fixture::{Fixture, PAYLOADS, is_clean, record};

/// The most bytes that a page of a whole matrix may have.
const MOST: usize = 3 << 20;

/// The elements of a page: names of tags that open, in order. Reads as a browser does where the page is as strict as ours is.
fn tags(page: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
        if name == "script" || name == "style" {
            let end = format!("</{name}>");
            rest = rest.split_once(&*end).expect("a closed element").1;
        }
        if !name.is_empty() {
            tags.push(name);
        }
    }
    tags
}

#[test]
fn a_page_tells_what_is_red_without_a_script() {
    let fixture = Fixture::mixed();
    let page = html(&fixture.findings()).unwrap();
    let still = page.split("<script").next().unwrap();
    for text in [
        "a-tiny::safetensors::f32::native::F-G4-logits::code",
        "stage blk.0.attn.q, position 5",
        "1 row behind this gate",
        "it is known",
        "64-wide rows",
    ] {
        assert!(still.contains(text), "{text}");
    }
    assert!(still.contains("cargo test --test falsify -- --exact &#39;a-tiny::safetensors::f32::native::F-G4-logits::code&#39;"));
}

#[test]
fn the_same_evidence_gives_the_same_bytes() {
    let page = |fixture: &Fixture| html(&fixture.findings()).unwrap();
    let (first, second) = (page(&Fixture::mixed()), page(&Fixture::mixed()));
    assert_eq!(first, second);
    assert_ne!(first, page(&Fixture::green()));
}

#[test]
fn nothing_is_fetched_from_anywhere() {
    let page = html(&Fixture::mixed().findings()).unwrap();
    for word in ["src=", "@import", "url(", "<link", "<base", "fetch(", "XMLHttpRequest", "import("] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("default-src 'none'"));
    // What the policy allows is what is there.
    for (tag, text) in [("style", STYLE), ("script", SCRIPT)] {
        let hash = base64::encode(Sha256::digest(text.as_bytes()));
        assert!(page.contains(&format!("{tag}-src 'sha256-{hash}'")) && page.contains(&format!("<{tag}>{text}</{tag}>")), "{tag}");
    }
    assert!(!SCRIPT.contains("innerHTML") && !SCRIPT.contains("eval(") && !SCRIPT.contains("insertAdjacentHTML"));
}

#[test]
fn no_payload_is_markup() {
    let page = html(&Fixture::hostile().findings()).unwrap();
    assert!(is_clean(&page));
    // A page of harmless rows of the same shape has exactly the same elements.
    let mut tame = Fixture::hostile();
    for (i, record) in tame.records.iter_mut().enumerate() {
        let name = format!("m{i:02}::gguf::q4_0@{i:02}::native::F-G4-logits::p{i:02}");
        record.reproduce = record.reproduce.replace(&escape::quoted(&record.name), &escape::quoted(&name));
        record.name = name;
        let axes = record.axes.as_mut().unwrap();
        (axes.model, axes.format, axes.quantization, axes.runtime) =
            (format!("m{i:02}"), "gguf".into(), format!("q4_0@{i:02}"), "native".into());
        axes.prompt = Some(format!("p{i:02}"));
        let word = || format!("word{i}");
        (record.expected, record.observed, record.owner, record.claim.sentence) = (word(), word(), word(), word());
        (record.place.stage, record.place.tensor, record.place.token) = (Some(word()), Some(word()), Some(word()));
        record.versions.runtime = word();
        record.flags = vec![word()];
    }
    let tame = html(&tame.findings()).unwrap();
    let count = |page: &str, tag: &str| tags(page).iter().filter(|name| *name == tag).count();
    for tag in ["script", "style", "img", "svg", "a", "li", "details", "title", "dialog", "td", "th", "h1"] {
        let (hostile, harmless) = (count(&page, tag), count(&tame, tag));
        let most = if ["td", "th"].contains(&tag) { usize::MAX } else { harmless };
        assert!(hostile <= most, "{tag}: {hostile} against {harmless}");
    }
    assert_eq!(count(&page, "script"), 2);
    assert_eq!(page.matches("</script>").count(), 2);
    let data = page.split_once("id=\"data\">").unwrap().1.split_once("</script>").unwrap().0;
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["rows"].as_array().unwrap().len(), PAYLOADS.len());
    assert!(!page.contains("<script>alert") && !page.contains("<img") && !page.contains("<svg onload"));
}

#[test]
fn a_page_of_a_run_that_is_all_red_stays_small() {
    let fixture = Fixture::red(12_000);
    let page = html(&fixture.findings()).unwrap();
    assert!(page.len() <= MOST, "{} bytes", page.len());
    assert!(page.contains("And 11880 more"));
}

#[test]
fn a_page_of_a_green_matrix_stays_small() {
    let mut fixture = Fixture::red(12_000);
    for record in &mut fixture.records {
        record.verdict = "corroborated".into();
    }
    let page = html(&fixture.findings()).unwrap();
    assert!(page.len() <= MOST / 2, "{} bytes", page.len());
}

#[test]
fn lost_records_are_a_banner_and_no_green() {
    let fixture = Fixture::green();
    let lost = Findings { lost: Some("run: holds 1 records, and run.json says 2"), ..fixture.findings() };
    let page = html(&lost).unwrap();
    assert!(page.contains("role=\"alert\"") && page.contains("The evidence is incomplete") && page.contains("</span> Incomplete</div>"));
    assert!(!page.contains("</span> Corroborated</div>"));
    assert!(html(&fixture.findings()).unwrap().contains("</span> Corroborated</div>"));
}

#[test]
fn without_a_manifest_what_was_not_tested_is_unknown() {
    let fixture = Fixture::green();
    let page = html(&Findings { manifest: None, ..fixture.findings() }).unwrap();
    assert!(page.contains("<b>?</b> – not tested") && page.contains("Unknown: the run left no"));
}

#[test]
fn a_model_has_its_sheet_of_paper() {
    let page = html(&Fixture::mixed().findings()).unwrap();
    assert_eq!(page.matches("<h2>Qualification summary</h2>").count(), 2);
    assert!(page.contains("REJECTED") && page.contains("Rust Ground Truth (F-RS)"));
}

/// What a cell measures of what its form costs: a bound below the number is one that does not hold.
fn drift(cell: &str, (check, measure): (&str, &'static str), prompt: Option<&str>, observed: f64, bound: f64) -> Record {
    let measures = vec![Measure::gated(measure, observed, bound, "")];
    record(cell, check, prompt, Verdict::measured(3, measures, "little", format!("{observed}")))
}

/// Everything that a page may hold, but what its script adds: a tag to a line, so that a change is read as a change of a line.
#[test]
fn every_part_of_a_page_reads_as_it_did() {
    let mut fixture = Fixture::mixed();
    let (q8, q4, given) = ("b-tiny::gguf::q8_0::native", "c-tiny::gguf::q4_k_m::other", "c-tiny::gguf::q4_0@file.gguf::native");
    let (ppl, rms) = (("PPL-quantized", "relative difference of the mean loss"), ("SPC-rms", "relative RMS"));
    fixture.records.extend([
        drift(q8, ppl, None, 0.001, 0.01),
        drift(q8, rms, None, 0.004, 0.01),
        drift(q4, ppl, None, 0.03, 0.02),
        drift(q4, rms, None, 0.07, 0.1),
        drift(q4, ("TOKEN", "tokens that differ"), Some("code"), 0.0, 8.0),
        drift(q4, ("TOKEN", "tokens that differ"), Some("prose"), 3.0, 8.0),
        drift(given, ppl, None, f64::INFINITY, 0.02),
        drift(given, ("F-G4-kl", "mean KL"), Some("code"), 1e-6, 1e-4),
    ]);
    fixture.records[5].flags = vec!["closer to its bound than it was".to_owned()];
    fixture.records[6].duration_ms = 1234.5;
    let page = html(&fixture.findings()).unwrap();
    let (body, data) = page.split_once("<body>").unwrap().1.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
    let data: serde_json::Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
    let lines = ["<li", "<tr", "<td", "<dt", "<section", "<text", "<line", "<circle", "<path", "<figure", "<h", "<p"]
        .iter()
        .fold(body.to_owned(), |text, tag| text.replace(tag, &format!("\n{tag}")));
    let shown = lines.lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n");
    let text = format!("{shown}\n\n{}\n", serde_json::to_string_pretty(&data).unwrap());
    crate::fixture::pinned().bind(|| insta::assert_snapshot!("page", text));
}
