//! IX: the index of a model in shards.

use super::case::{Case, Content, Expect, refused};
use super::st;

const INDEX: &str = "model.safetensors.index.json";

/// A file with one F32 tensor of each name.
fn shard(names: &[&str]) -> Vec<u8> {
    let entries: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(i, name)| format!(r#""{name}":{{"dtype":"F32","shape":[1],"data_offsets":[{},{}]}}"#, i * 4, i * 4 + 4))
        .collect();
    st::file(format!("{{{}}}", entries.join(",")).as_bytes(), &vec![0; names.len() * 4])
}

/// A model folder with this index and these shards.
fn folder(id: &str, what: &str, index: &str, shards: &[(&str, Vec<u8>)], expect: Expect) -> Case {
    let mut files: Vec<(String, Content)> =
        vec![("config.json".to_owned(), b"{}\n".to_vec().into()), (INDEX.to_owned(), index.as_bytes().to_vec().into())];
    files.extend(shards.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone().into())));
    Case { id: id.to_owned(), what: what.to_owned(), files, links: Vec::new(), probe: String::new(), expect }
}

/// An index whose one tensor `a` lies in that shard; the name is written as JSON.
fn index_of(shard: &str) -> String {
    format!(r#"{{"metadata":{{"total_size":4}},"weight_map":{{"a":{shard}}}}}"#)
}

/// Every case, in the order of the catalogue.
#[expect(clippy::too_many_lines, reason = "the catalogue, case by case")]
pub fn cases() -> Vec<Case> {
    const ONE: &str = "model-00001-of-00002.safetensors";
    const TWO: &str = "model-00002-of-00002.safetensors";
    let mut cases = Vec::new();
    let names = [
        ("IX1", r#""../../x.safetensors""#, "a shard two folders up"),
        ("IX2", r#""/etc/passwd""#, "a shard at an absolute path"),
        ("IX3", r#""..\\x""#, "a shard behind a backslash"),
        ("IX4", r#""C:x""#, "a shard on a drive"),
        ("IX5", r#""a/../../b""#, "a shard that leaves the folder again"),
        ("IX6", r#""sub/x.safetensors""#, "a shard in a folder below"),
        ("IX7", r#""""#, "a shard without a name"),
        ("IX7b", r#"".""#, "a shard that is the folder itself"),
        ("IX8", r#""x\u0000.safetensors""#, "a shard with NUL in its name"),
        ("IX18", r#""pytorch_model.bin""#, "a shard that is no safetensors file by its name"),
    ];
    for (id, shard, what) in names {
        cases.push(folder(id, what, &index_of(shard), &[], refused("index", "shard-name", &[])));
    }
    let at = |shard: &str| index_of(&format!("\"{shard}\""));
    cases.push(folder("IX9", "a shard that is not there", &at(ONE), &[], refused("index", "missing-shard", &[ONE])));
    let two = |size: u64, map: &str| format!(r#"{{"metadata":{{"total_size":{size}}},"weight_map":{{{map}}}}}"#);
    let swapped = format!(r#""a":"{TWO}","b":"{ONE}""#);
    let each = [(ONE, shard(&["a"])), (TWO, shard(&["b"]))];
    cases.push(folder(
        "IX10",
        "tensors that lie in each other's shard",
        &two(8, &swapped),
        &each,
        refused("index", "not-in-shard", &["`a`"]),
    ));
    let right = format!(r#""a":"{ONE}","b":"{TWO}""#);
    let both = [(ONE, shard(&["a"])), (TWO, shard(&["a", "b"]))];
    cases.push(folder("IX11", "a tensor in two shards", &two(8, &right), &both, refused("index", "in-two-shards", &["`a`"])));
    let extra = [(ONE, shard(&["a"])), (TWO, shard(&["b", "c"]))];
    cases.push(folder("IX12", "a tensor that the index does not name", &two(8, &right), &extra, refused("index", "not-in-map", &["`c`"])));
    cases.push(folder("IX13", "a total size that is one byte off", &two(9, &right), &each, refused("index", "total-size", &["9", "8"])));
    let doubled = two(8, &format!(r#""a":"{ONE}","a":"{TWO}""#));
    cases.push(folder("IX14", "one tensor twice in the map", &doubled, &each, refused("json", "duplicate-key", &["weight_map.a"])));
    cases.push(folder("IX15", "a shard that is a number", &index_of("1"), &[], refused("index", "not-a-name", &["`a`"])));
    let mut million =
        folder("IX16", "a million tensors in one shard", "", &[(ONE, shard(&["a"]))], refused("file", "too-large", &["33554432"]));
    million.files[1].1 = Content::Made(|| {
        let map: Vec<String> = (0..1_000_000).map(|i| format!(r#""t{i}":"{ONE}""#)).collect();
        format!(r#"{{"metadata":{{"total_size":4}},"weight_map":{{{}}}}}"#, map.join(",")).into_bytes()
    });
    cases.push(million);
    let mut link =
        folder("IX17", "a shard that is a link to a file outside the folder", &at(ONE), &[], refused("index", "outside-folder", &[ONE]));
    link.links.push((ONE.to_owned(), "/etc/passwd".to_owned()));
    cases.push(link);
    cases
}
