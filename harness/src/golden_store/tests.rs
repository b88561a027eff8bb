use super::*;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::fixture::Fixture;

fn store(fixture: &Fixture) -> GoldenStore {
    let workspace = fixture.workspace();
    let folder = roster::read_golden(&workspace, &fixture.path("golden/a")).unwrap();
    GoldenStore::new(&workspace, &folder, &fixture.path("testdata/models/a"))
}

/// What `verify` says after `damage`.
fn complaint(damage: impl FnOnce(&Fixture)) -> String {
    let fixture = Fixture::carrying(&["a"]);
    let store = store(&fixture);
    assert_eq!(store.verify(), Ok(()), "sound before the damage");
    damage(&fixture);
    store.verify().expect_err("the damage is seen")
}

#[test]
fn one_flipped_bit_anywhere_is_red_and_named() {
    for file in [
        "golden/a/arithmetic.json",
        "golden/a/code.safetensors",
        "golden/a/tokenizer.json",
        "golden/a/perplexity-held-out.json",
        "testdata/models/a/config.json",
        "testdata/models/a/model.safetensors",
        "testdata/models/a/tokenizer.json",
    ] {
        let said = complaint(|fixture| fixture.flip(file));
        assert!(said.contains(&format!("{file}: altered")), "{file}: {said}");
        assert!(said.contains("uv run golden/oracle.py testdata/models/a --carried"), "{said}");
    }
}

#[test]
fn a_missing_file_is_red_and_named() {
    for file in ["golden/a/code.json", "golden/a/tokenizer.json", "testdata/models/a/model.safetensors"] {
        let said = complaint(|fixture| fixture.remove(file));
        assert!(said.contains(&format!("{file}: absent")), "{said}");
    }
}

#[test]
fn a_file_of_another_size_is_red_with_both_numbers() {
    let said = complaint(|fixture| fixture.write("testdata/models/a/model.safetensors", b"weight"));
    assert!(said.contains("testdata/models/a/model.safetensors: has 6 bytes, golden/a/index.json says 7"), "{said}");
}

#[test]
fn a_renamed_file_is_both_missing_and_unlisted() {
    let said = complaint(|fixture| {
        fixture.remove("golden/a/code.json");
        fixture.write("golden/a/coda.json", "the golden of a: code.json");
    });
    assert!(said.contains("golden/a/code.json: absent") && said.contains("golden/a/coda.json: not listed"), "{said}");
}

#[test]
fn an_unlisted_file_is_red_where_it_changes_answers() {
    let said = complaint(|fixture| fixture.write("golden/a/extra.json", ""));
    assert!(said.contains("golden/a/extra.json: not listed in index.json"), "{said}");
    let said = complaint(|fixture| fixture.write("golden/a/nested/x", ""));
    assert!(said.contains("golden/a/nested: not listed"), "{said}");
    let said = complaint(|fixture| fixture.write("testdata/models/a/generation_config.json", "{}"));
    assert!(said.contains("testdata/models/a/generation_config.json: not among the model's files"), "{said}");
    let fixture = Fixture::carrying(&["a"]);
    fixture.write("testdata/models/a/README.md", "a word about the model");
    assert_eq!(store(&fixture).verify(), Ok(()));
}

#[test]
fn a_file_behind_a_folder_or_gone_folder_is_red() {
    let said = complaint(|fixture| {
        fixture.remove("golden/a/code.json");
        fs::create_dir(fixture.path("golden/a/code.json")).unwrap();
    });
    assert!(said.contains("golden/a/code.json: not a regular file"), "{said}");
    let said = complaint(|fixture| fixture.remove("testdata/models/a"));
    assert!(said.contains("testdata/models/a/config.json: absent"), "{said}");
}

#[test]
fn an_index_whose_lists_disagree_is_red() {
    type Edit = fn(&mut serde_json::Value);
    let edits: [(Edit, &str); 5] = [
        (|index| index["golden_files"] = serde_json::json!([]), "`golden_files` lacks `arithmetic.json`"),
        (|index| index["prompts"][0]["full"] = true.into(), "`golden_files` lacks `arithmetic.safetensors`"),
        (|index| index["prompts"][1]["full"] = false.into(), "lists `code.safetensors`, which no prompt or text uses"),
        (|index| index["model_files"] = serde_json::json!([]), "`model_files` is empty"),
        (
            |index| {
                let again = index["golden_files"][0].clone();
                index["golden_files"].as_array_mut().unwrap().push(again);
            },
            "lists `arithmetic.json` twice",
        ),
    ];
    for (edit, says) in edits {
        let fixture = Fixture::carrying(&["a"]);
        let mut index = fixture.index("golden/a", "testdata/models/a", "a", true);
        edit(&mut index);
        fixture.write("golden/a/index.json", index.to_string());
        let said = store(&fixture).verify().expect_err(says);
        assert!(said.contains(says) && said.contains("golden/a/index.json"), "{said}");
    }
}

#[test]
fn many_complaints_are_counted() {
    let said = complaint(|fixture| {
        for file in ["arithmetic.json", "code.json", "code.safetensors", "tokenizer.json", "perplexity-held-out.json"] {
            fixture.flip(&format!("golden/a/{file}"));
        }
        fixture.flip("testdata/models/a/config.json");
        fixture.flip("testdata/models/a/tokenizer.json");
    });
    assert!(said.contains("; and 2 more. Restore"), "{said}");
}

#[test]
fn a_text_that_was_altered_is_red() {
    let fixture = Fixture::carrying(&["a"]);
    let text = b"some held-out text";
    let golden = serde_json::json!({
        "schema": "ground-truth/golden/1", "model": "a",
        "oracle": fixture.index("golden/a", "testdata/models/a", "a", true)["oracle"],
        "text": {"name": "held-out", "sha256": escape::hex(&Sha256::digest(text))},
        "window": 8, "stride": 4, "bos": true, "tokens": 5, "sum_nll": "4014000000000000", "floor": "33d6bf95", "ids_sha256": "00",
    });
    let golden = PerplexityGolden::parse(golden.to_string().as_bytes(), "perplexity-held-out.json").unwrap();
    fixture.write("testdata/texts/held-out.txt", text);
    let store = store(&fixture);
    assert_eq!(store.text(&golden).as_deref(), Ok("some held-out text"));
    fixture.flip("testdata/texts/held-out.txt");
    let said = store.text(&golden).unwrap_err();
    assert!(said.contains("testdata/texts/held-out.txt: altered"), "{said}");
    fixture.remove("testdata/texts/held-out.txt");
    assert!(store.text(&golden).unwrap_err().contains("testdata/texts/held-out.txt"));
}

#[test]
fn a_file_over_its_cap_is_not_read() {
    let fixture = Fixture::empty();
    fixture.write("x", b"12345");
    assert_eq!(read_capped(&fixture.path("x"), 5).unwrap(), b"12345");
    let error = read_capped(&fixture.path("x"), 4).unwrap_err();
    assert_eq!(error.to_string(), "has 5 bytes, the cap is 4");
    assert!(read_capped(fixture.root(), 4).is_err());
}

#[test]
fn any_flipped_bit_of_the_index_is_an_error_that_names_it() {
    let fixture = Fixture::carrying(&["a"]);
    let (workspace, folder, file) = (fixture.workspace(), fixture.path("golden/a"), fixture.path("golden/a/index.json"));
    crate::roster::read_golden(&workspace, &folder).unwrap();
    let right = std::fs::read(&file).unwrap();
    // In its place: a file written anew thirty thousand times takes a disk a while.
    let index = std::fs::File::options().write(true).open(&file).unwrap();
    for (at, byte) in right.iter().enumerate() {
        for bit in 0..8 {
            index.write_all_at(&[byte ^ 1 << bit], at as u64).unwrap();
            let said = crate::roster::read_golden(&workspace, &folder).expect_err("a flipped bit was taken");
            assert!(said.contains("golden/a/index.json"), "bit {bit} of byte {at}: {said}");
        }
        index.write_all_at(&[*byte], at as u64).unwrap();
    }
    crate::roster::read_golden(&workspace, &folder).unwrap();
}

/// A golden of dequantized values beside the golden of `a`, as the oracle writes it.
fn beside(fixture: &Fixture) {
    let prompt = "the golden of one prompt";
    fixture.write("golden/a/dequantized/q8_0/arithmetic.json", prompt);
    let index = serde_json::json!({
        "schema": "ground-truth/dequantized/1", "model": "a", "quantization": "q8_0", "values_digest": "0".repeat(64),
        "oracle": {"runtime": "transformers", "versions": {"torch": "2"}, "dtype": "float32", "attention": "eager", "threads": 1, "cpu": "a",
            "generator": "b"},
        "prompts": [{"name": "arithmetic", "category": "canary", "n_prompt": 3, "n_greedy": 32, "stop": "length", "margin_class": "wide",
            "full": false}],
        "files": [{"name": "arithmetic.json", "bytes": prompt.len(), "sha256": escape::hex(&Sha256::digest(prompt))}],
    });
    fixture.write("golden/a/dequantized/q8_0/index.json", index.to_string());
}

#[test]
fn a_golden_of_values_is_vouched_for_by_its_own_index() {
    let fixture = Fixture::carrying(&["a"]);
    beside(&fixture);
    let workspace = fixture.workspace();
    let read = || roster::read_golden(&workspace, &fixture.path("golden/a"));
    let folder = read().unwrap();
    assert_eq!(GoldenStore::new(&workspace, &folder, &fixture.path("testdata/models/a")).verify(), Ok(()), "it is no foreign file");
    let golden = Arc::clone(&folder.beside.dequantized["q8_0"]);
    assert_eq!(golden.verify(&workspace), Ok(()));
    fixture.flip("golden/a/dequantized/q8_0/arithmetic.json");
    assert!(golden.verify(&workspace).unwrap_err().contains("golden/a/dequantized/q8_0/arithmetic.json: altered"));
    fixture.write("golden/a/dequantized/q8_0/more.json", "{}");
    assert!(golden.verify(&workspace).unwrap_err().contains("more.json: not listed"));
    fixture.flip("golden/a/dequantized/q8_0/index.json");
    assert!(read().unwrap_err().contains("golden/a/dequantized/q8_0/index.json has the sha256"));
}

#[test]
fn a_golden_of_values_in_the_wrong_folder_is_refused() {
    let fixture = Fixture::carrying(&["a"]);
    beside(&fixture);
    std::fs::rename(fixture.path("golden/a/dequantized/q8_0"), fixture.path("golden/a/dequantized/q4_0")).unwrap();
    let said = roster::read_golden(&fixture.workspace(), &fixture.path("golden/a")).unwrap_err();
    assert!(said.contains("field `quantization` is `q8_0`, must be `q4_0`"), "{said}");
}
