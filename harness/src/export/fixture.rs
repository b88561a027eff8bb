//! Records as a run leaves them, and the payloads that every reporter has to render as text.

use ground_truth::escape::is_deceptive;
use ground_truth_falsification::verdict::{ErrorKind, Measure, Owner, Place, Verdict};
use serde_json::json;

use super::Findings;
use crate::evidence::manifest::Manifest;
use crate::evidence::{Axes, EXPECTED, Record};

/// Ways to be taken for something else than text: by a terminal, a browser, a Markdown or XML reader, a log, a shell, a spreadsheet.
pub(crate) const PAYLOADS: &[&str] = &[
    "\u{1b}[2J\u{1b}[31m",
    "\u{1b}]0;title\u{7}",
    "\u{1b}]8;;http://x.example\u{1b}\\link\u{1b}]8;;\u{1b}\\",
    "\u{1b}]52;c;ZXZpbA==\u{7}",
    "\u{9b}31m",
    "\u{7}",
    "safe\roverwritten",
    "a\u{8}\u{8}b",
    "\u{202e}txt.exe",
    "\u{2066}a\u{2069}",
    "a\u{200d}b\u{200b}c",
    "\u{feff}bom",
    "\u{0}nul",
    "\u{e0041}tag",
    "a\u{2028}b\u{2029}c\u{85}d",
    "line\nbreak\n\n# heading",
    "a|b\\|c",
    "`code` ``more``",
    "```\nfence\n```",
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"><svg onload=alert(1)>",
    "' onmouseover='alert(1)",
    "<!-- comment",
    "--><b>",
    "<![CDATA[x]]>",
    "]]>",
    "&lt;script&gt;&#x3c;",
    "![image](http://x.example/a.png)",
    "[link](javascript:alert(1))",
    "[ref]: http://x.example",
    "https://x.example/auto",
    "@everyone @here",
    "#1 GH-1",
    "---\nkey: value\n---",
    "=cmd|' /C calc'!A0",
    "::error::forged",
    "%0A::set-output name=x::y",
    "$(touch /tmp/x) `id` ; rm -rf ~",
    "{{7*7}} ${7*7} <%= 7 %>",
    "</title></style><style>*{display:none}</style>",
    "\u{fffe}\u{ffff}",
    "\\u{1b}\\",
];

/// Whether a text holds nothing that moves a cursor, hides or reverses: C0 but line ends and tabs, C1, and what is deceptive.
pub(crate) fn is_clean(text: &str) -> bool {
    !text.chars().any(|c| is_deceptive(c) && c != '\n' && c != '\t')
}

/// Records and manifest of a run.
pub(crate) struct Fixture {
    pub(crate) records: Vec<Record>,
    pub(crate) manifest: Manifest,
}

impl Fixture {
    pub(crate) fn findings(&self) -> Findings<'_> {
        Findings { run: "run", records: &self.records, manifest: Some(&self.manifest), lost: None }
    }

    fn of(records: Vec<Record>, not_tested: &[(&str, &str)]) -> Self {
        let rows: Vec<_> = not_tested.iter().map(|(name, reason)| json!({"name": name, "reason": reason})).collect();
        let counts = json!({"applicable": records.len(), "declared": records.len() + rows.len(), "total": 9, "corroborated": 0,
            "falsified": 0, "errors": 0, "expected": 0, "not_tested": rows.len()});
        let manifest = json!({
            "schema": "ground-truth/run/1", "run": "run", "kind": "matrix", "started": "2026-11-21T08:09:10Z", "duration_s": 12.5,
            "environment": {"os": "linux", "arch": "x86_64", "cpu": "a CPU", "cores": 2, "threads": 2, "suite": "0.1.0",
                "rustc": "1.95.0", "variables": {}},
            "counts": counts, "records": records.len(), "not_tested": rows,
            "files": [
                {"model": "a-tiny", "path": "testdata/models/a-tiny/config.json", "sha256": "00"},
                {"model": "a-tiny", "path": "testdata/models/a-tiny/model.safetensors", "sha256": "01"},
            ],
            "prompts_sha256": "02", "parts": [],
        });
        Self { records, manifest: serde_json::from_value(manifest).unwrap() }
    }

    /// One green row.
    pub(crate) fn green() -> Self {
        Self::of(vec![record("a-tiny::safetensors::f32::native", "F-G1", None, Verdict::corroborated(3, "no complaint", "none"))], &[])
    }

    /// Every verdict there is.
    pub(crate) fn mixed() -> Self {
        let (a, b) = ("a-tiny::safetensors::f32::native", "b-tiny::gguf::q8_0::native");
        let mut wrong = Verdict::falsified("the golden's logits", "they differ")
            .at(Place { stage: Some("blk.0.attn.q".into()), position: Some(5), ..Place::default() })
            .owned_by(Owner::Kernel);
        wrong.measures = vec![Measure::gated("relative RMS", 0.021_37, 5.4e-7, ""), Measure::printed("largest difference", 3.5, "logits")];
        let mut expected = record(a, "F-T1", None, Verdict::falsified("a tensor", "none"));
        expected.verdict = EXPECTED.to_owned();
        expected.expectation = Some(
            serde_json::from_value(
                json!({"file": "expectations/native.toml", "number": 1, "test": "a-tiny::*", "status": "falsified", "kind": null,
                "contains": null, "at_most": {}, "bug": "https://x.example/1", "why": "it is known", "since": "2026-11-01",
                "expires": "2027-02-01", "met": true}),
            )
            .unwrap(),
        );
        let gate = Verdict::error(ErrorKind::Golden, "no complaint", "model.safetensors: altered").owned_by(Owner::File);
        let behind = Verdict::error(ErrorKind::Gate, "an open gate", "gate F-G1 failed: altered");
        let records = vec![
            record(a, "F-G1", None, Verdict::corroborated(3, "no complaint", "none")),
            record(a, "F-G4-logits", Some("code"), wrong),
            expected,
            record(b, "F-G1", None, gate),
            record(b, "F-T1", None, behind),
        ];
        Self::of(records, &[("b-tiny::gguf::q4_k_m::native::F-G1", "64-wide rows")])
    }

    /// A red row for each payload, which stands in every field that is not ours.
    pub(crate) fn hostile() -> Self {
        let records = PAYLOADS.iter().enumerate().map(|(i, payload)| {
            let mut verdict = Verdict::falsified(*payload, *payload);
            verdict.place = Place {
                stage: Some((*payload).into()),
                tensor: Some((*payload).into()),
                position: Some(i),
                token: Some((*payload).into()),
            };
            let name = format!("m{i:02}{payload}::gguf::q4_0@{payload}::native");
            let mut record = record(&name, "F-G4-logits", Some(payload), verdict);
            record.claim.sentence = (*payload).to_owned();
            record.versions.runtime = (*payload).to_owned();
            record.owner = (*payload).to_owned();
            record.flags = vec![(*payload).to_owned()];
            record
        });
        Self::of(records.collect(), &[])
    }

    /// So many red rows with long texts.
    pub(crate) fn red(rows: usize) -> Self {
        let long = "word ".repeat(400);
        let record = |i: usize| {
            // The first ones are long; a process that holds all of them long is no place for a test of memory.
            let long = if i < 1_000 { &*long } else { "short" };
            let cell = format!("m{}::gguf::q{}::native", i % 4, i / 4 % 25);
            record(&cell, &format!("F-{:02}", i / 100 % 12), Some(&format!("p{i}")), Verdict::falsified(long, format!("{i} {long}")))
        };
        let mut records: Vec<Record> = (0..rows).map(record).collect();
        records.sort_by(|a, b| a.name.cmp(&b.name));
        Self::of(records, &[])
    }
}

/// A record of a row of the matrix.
pub(crate) fn record(cell: &str, check: &str, prompt: Option<&str>, verdict: Verdict) -> Record {
    let parts: Vec<&str> = cell.split("::").collect();
    let name = [Some(cell), Some(check), prompt].into_iter().flatten().collect::<Vec<_>>().join("::");
    let mut record = Record::of("run", &name, &verdict);
    record.claim.id = ["F-G4", "F-G1", "F-G3", "F-T1", "INV"].into_iter().find(|id| check.starts_with(id)).unwrap_or(check).to_owned();
    record.claim.sentence = "what was claimed holds".to_owned();
    record.claim.refuted_by = "that it does not".to_owned();
    record.reproduce = format!("cargo test --test falsify -- --exact {}", crate::escape::quoted(&name));
    record.duration_ms = 7.5;
    record.versions.runtime = "native 0.1.0".to_owned();
    record.versions.suite = "0.1.0".to_owned();
    let part = |i: usize| (*parts.get(i).unwrap_or(&"?")).to_owned();
    record.axes = Some(Axes {
        model: part(0),
        format: part(1),
        quantization: part(2),
        runtime: part(parts.len().saturating_sub(1)),
        check: check.to_owned(),
        prompt: prompt.map(str::to_owned),
    });
    record
}
