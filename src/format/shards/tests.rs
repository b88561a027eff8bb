use std::fs;

use ::safetensors::tensor::{Dtype, TensorView};
use rstest::rstest;
use tempfile::TempDir;

use super::*;

/// A weights file of F32 tensors of two zeros, by name.
fn weights(names: &[&str]) -> Vec<u8> {
    let tensors = names.iter().map(|name| (name.to_string(), TensorView::new(Dtype::F32, vec![2], &[0; 8]).unwrap()));
    ::safetensors::serialize(tensors, None).unwrap()
}

/// A folder of two shards that hold `a`, `b` and `c`, with the given index.
fn folder(index: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("one.safetensors"), weights(&["a", "b"])).unwrap();
    fs::write(dir.path().join("two.safetensors"), weights(&["c"])).unwrap();
    fs::write(dir.path().join(INDEX), index).unwrap();
    dir
}

const MAP: &str = r#""weight_map":{"a":"one.safetensors","b":"one.safetensors","c":"two.safetensors"}"#;

fn refusal(dir: &Path) -> String {
    read(dir).expect_err("refused").to_string()
}

#[rstest]
#[case(format!("{{{MAP}}}"))]
#[case(format!(r#"{{"metadata":{{"total_size":24}},{MAP}}}"#))]
#[case(format!(r#"{{"metadata":{{"total_size":24.0,"total_parameters":6}},{MAP},"other":1}}"#))]
fn shards_are_joined(#[case] index: String) {
    let tensors = read(folder(&index).path()).unwrap();
    assert_eq!(tensors.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[rstest]
#[case("{}".to_owned(), "`weight_map` is missing")]
#[case(r#"{"weight_map":[]}"#.to_owned(), "`weight_map` is an array")]
#[case(r#"{"weight_map":{"a":1}}"#.to_owned(), "`weight_map`: tensor `a` is mapped to a number")]
#[case(format!(r#"{{{MAP},{MAP}}}"#), "`weight_map` is there twice")]
#[case(r#"{"weight_map":{"a":"one.safetensors","\u0061":"two.safetensors"}}"#.to_owned(), "`weight_map.a` is there twice")]
#[case(r#"{"weight_map":{"a":"one.safetensors","b":"one.safetensors","c":"six.safetensors"}}"#.to_owned(), "shard `six.safetensors` is missing")]
#[case(r#"{"weight_map":{"a":"one.safetensors","b":"two.safetensors","c":"two.safetensors"}}"#.to_owned(), "tensor `b` is mapped to shard `two.safetensors`, which does not hold it; it is in `one.safetensors`")]
#[case(r#"{"weight_map":{"a":"one.safetensors","b":"one.safetensors","c":"two.safetensors","d":"two.safetensors"}}"#.to_owned(), "tensor `d` is mapped to shard `two.safetensors`, which does not hold it")]
#[case(r#"{"weight_map":{"a":"one.safetensors","c":"two.safetensors"}}"#.to_owned(), "shard `one.safetensors` holds tensor `b`, which the index does not name")]
#[case(format!(r#"{{"metadata":{{"total_size":25}},{MAP}}}"#), "`metadata.total_size` is 25, the tensors hold 24 bytes")]
#[case(format!(r#"{{"metadata":{{"total_size":"24"}},{MAP}}}"#), "`metadata.total_size` is \"24\", the tensors hold 24 bytes")]
fn an_index_that_does_not_agree_with_its_shards_is_refused(#[case] index: String, #[case] message: &str) {
    let refusal = refusal(folder(&index).path());
    let (_, said) = refusal.split_once("model.safetensors.index.json: ").expect(&refusal);
    assert!(said.starts_with(message), "{said}");
}

#[test]
fn a_tensor_in_two_shards_is_refused() {
    let dir = folder(&format!("{{{MAP}}}"));
    fs::write(dir.path().join("two.safetensors"), weights(&["b", "c"])).unwrap();
    assert!(refusal(dir.path()).ends_with("tensor `b` is in two shards, `one.safetensors` and `two.safetensors`"));
}

/// None of these folders has a shard, so a refusal that is not about the name would say that one is missing.
#[test]
fn shard_names_are_refused_before_anything_is_opened() {
    let long = format!("{}.safetensors", "a".repeat(MAX_NAME + 1));
    let names = [
        "../../x.safetensors",
        "/etc/passwd",
        "..\\x.safetensors",
        "C:x.safetensors",
        "a/../../b.safetensors",
        "sub/x.safetensors",
        "",
        ".",
        "..",
        ".safetensors",
        ".x.safetensors",
        "-x.safetensors",
        "x\0.safetensors",
        "x\u{202e}.safetensors",
        "é.safetensors",
        "https://example.org/x.safetensors",
        "pytorch_model.bin",
        "model.safetensors.index.json",
        "x.SAFETENSORS",
        &long,
    ];
    for name in names {
        let dir = tempfile::tempdir().unwrap();
        let index = serde_json::json!({"weight_map": {"a": "there-is-none.safetensors", "b": name}});
        fs::write(dir.path().join(INDEX), index.to_string()).unwrap();
        match read(dir.path()) {
            Err(Error::Index { source: IndexError::ShardName { shard }, .. }) => assert_eq!(shard, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert!(is_shard_name("model-00001-of-00002.safetensors") && is_shard_name(&long[1..]));
}

#[test]
fn a_million_entries_of_one_shard_are_read_to_their_first_contradiction() {
    let entries: Vec<String> = (0..1_000_000).map(|i| format!(r#""t{i}":"one.safetensors""#)).collect();
    let dir = folder(&format!(r#"{{"weight_map":{{{}}}}}"#, entries.join(",")));
    assert!(refusal(dir.path()).contains("which does not hold it"));
}

#[test]
fn the_single_file_goes_before_the_index() {
    let dir = folder("this is not even JSON");
    fs::write(dir.path().join(SINGLE), weights(&["z"])).unwrap();
    assert_eq!(read(dir.path()).unwrap().iter().map(|(name, _)| name).collect::<Vec<_>>(), ["z"]);
}

#[test]
fn a_folder_without_weights_says_what_it_has_instead() {
    let dir = tempfile::tempdir().unwrap();
    assert!(refusal(dir.path()).ends_with("holds neither model.safetensors nor model.safetensors.index.json"));
    fs::write(dir.path().join("pytorch_model.bin"), b"x").unwrap();
    assert!(refusal(dir.path()).contains("; `pytorch_model.bin` is not a format that is read here"));
}

#[cfg(unix)]
mod links {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_shard_may_be_a_link_within_the_folder() {
        let dir = folder(&format!("{{{MAP}}}"));
        fs::rename(dir.path().join("two.safetensors"), dir.path().join("elsewhere")).unwrap();
        symlink("elsewhere", dir.path().join("two.safetensors")).unwrap();
        assert_eq!(read(dir.path()).unwrap().len(), 3);
    }

    #[test]
    fn a_shard_may_not_be_a_link_out_of_the_folder() {
        let (dir, outside) = (folder(&format!("{{{MAP}}}")), tempfile::tempdir().unwrap());
        fs::rename(dir.path().join("two.safetensors"), outside.path().join("two.safetensors")).unwrap();
        symlink(outside.path().join("two.safetensors"), dir.path().join("two.safetensors")).unwrap();
        assert!(refusal(dir.path()).ends_with("shard `two.safetensors` is a link that leads out of the model's folder"));
    }

    #[test]
    fn a_link_that_leads_nowhere_is_a_missing_shard() {
        let dir = folder(&format!("{{{MAP}}}"));
        fs::remove_file(dir.path().join("two.safetensors")).unwrap();
        symlink("nowhere", dir.path().join("two.safetensors")).unwrap();
        assert!(refusal(dir.path()).ends_with("shard `two.safetensors` is missing"));
    }

    /// The layout of the hub cache: `<repository>/snapshots/<commit>/<name>` is a link into `<repository>/blobs`.
    #[test]
    fn a_snapshot_may_link_into_the_blobs_of_its_own_repository_only() {
        let cache = tempfile::tempdir().unwrap();
        let (snapshot, blobs) = (cache.path().join("repo/snapshots/0123"), cache.path().join("repo/blobs"));
        for dir in [&snapshot, &blobs, &cache.path().join("other/blobs")] {
            fs::create_dir_all(dir).unwrap();
        }
        fs::write(snapshot.join(INDEX), format!("{{{MAP}}}")).unwrap();
        fs::write(blobs.join("etag1"), weights(&["a", "b"])).unwrap();
        fs::write(blobs.join("etag2"), weights(&["c"])).unwrap();
        fs::write(cache.path().join("other/blobs/etag2"), weights(&["c"])).unwrap();
        symlink("../../blobs/etag1", snapshot.join("one.safetensors")).unwrap();
        symlink("../../blobs/etag2", snapshot.join("two.safetensors")).unwrap();
        assert_eq!(read(&snapshot).unwrap().len(), 3);

        fs::remove_file(snapshot.join("two.safetensors")).unwrap();
        symlink("../../../other/blobs/etag2", snapshot.join("two.safetensors")).unwrap();
        assert!(refusal(&snapshot).ends_with("leads out of the model's folder"));
    }
}
