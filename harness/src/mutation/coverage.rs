//! Lines that the tests reach, file by file, from what cargo-llvm-cov exports as JSON.

use serde::Deserialize;

/// How much of one file the tests reach.
#[derive(Debug, Clone, PartialEq)]
pub struct Covered {
    /// The file, as the export names it.
    pub file: String,
    /// Lines that there are.
    pub lines: u64,
    /// Lines that were reached.
    pub reached: u64,
}

#[derive(Deserialize)]
struct Export {
    data: Vec<Data>,
}

#[derive(Deserialize)]
struct Data {
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    filename: String,
    summary: Summary,
}

#[derive(Deserialize)]
struct Summary {
    lines: Lines,
}

#[derive(Deserialize)]
struct Lines {
    count: u64,
    covered: u64,
}

impl Covered {
    /// Of a hundred lines, as many are reached. A file without lines has none to miss.
    pub fn percent(&self) -> f64 {
        if self.lines == 0 { 100.0 } else { 100.0 * self.reached as f64 / self.lines as f64 }
    }
}

/// Reads exports, by file: each is of other packages. Paths lose what they have in common with `root`.
///
/// # Errors
///
/// What is no such export, holds no file or one that another holds too, or reaches more lines than there are.
pub fn read(exports: &[String], root: &str) -> Result<Vec<Covered>, String> {
    let mut files: Vec<Covered> = Vec::new();
    for text in exports {
        let export: Export = serde_json::from_str(text).map_err(|error| format!("the export of cargo-llvm-cov: {error}"))?;
        let before = files.len();
        for File { filename, summary } in export.data.into_iter().flat_map(|data| data.files) {
            let file = filename.strip_prefix(root).map_or(filename.as_str(), |rest| rest.trim_start_matches('/')).to_owned();
            let Lines { count, covered } = summary.lines;
            if covered > count {
                return Err(format!("{file}: {covered} of {count} lines are reached"));
            }
            files.push(Covered { file, lines: count, reached: covered });
        }
        if files.len() == before {
            return Err("an export of cargo-llvm-cov names no file".to_owned());
        }
    }
    if files.is_empty() {
        return Err("there is no export of cargo-llvm-cov".to_owned());
    }
    files.sort_by(|a, b| a.file.cmp(&b.file));
    match files.windows(2).find(|pair| pair[0].file == pair[1].file) {
        Some(pair) => Err(format!("{}: stands twice in the exports of cargo-llvm-cov", pair[0].file)),
        None => Ok(files),
    }
}

/// The files of which fewer than `least` of a hundred lines are reached, worst first; all, where `least` is no number.
#[expect(clippy::neg_cmp_op_on_partial_ord, reason = "written so that NaN is above every file")]
pub fn below(files: &[Covered], least: f64) -> Vec<&Covered> {
    let mut below: Vec<&Covered> = files.iter().filter(|file| !(file.percent() >= least)).collect();
    below.sort_by(|a, b| a.percent().total_cmp(&b.percent()).then_with(|| a.file.cmp(&b.file)));
    below
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(files: &[(&str, u64, u64)]) -> String {
        let file = |(name, count, covered): &(&str, u64, u64)| {
            format!(r#"{{"filename":"{name}","summary":{{"lines":{{"count":{count},"covered":{covered},"percent":1.0}}}}}}"#)
        };
        format!(r#"{{"data":[{{"files":[{}],"totals":{{}}}}],"type":"x"}}"#, files.iter().map(file).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn files_below_the_limit_are_listed_worst_first() {
        let exports = [export(&[("/w/a.rs", 100, 95), ("/w/c.rs", 10, 1)]), export(&[("/w/b.rs", 100, 94), ("/w/d.rs", 0, 0)])];
        let files = read(&exports, "/w").unwrap();
        let listed: Vec<&str> = below(&files, 95.0).into_iter().map(|file| file.file.as_str()).collect();
        assert_eq!(listed, ["c.rs", "b.rs"]);
        assert_eq!(below(&files, f64::NAN).len(), 4);
    }

    #[test]
    fn an_export_that_says_nothing_is_an_error() {
        let (one, none) = (export(&[("/w/a.rs", 1, 1)]), export(&[]));
        assert!(read(&["{}".to_owned()], "/w").is_err() && read(&[], "/w").is_err());
        assert!(read(&[one.clone(), none], "/w").unwrap_err().contains("no file"));
        assert!(read(&[one.clone(), one], "/w").unwrap_err().contains("a.rs: stands twice"));
        assert!(read(&[export(&[("/w/a.rs", 1, 2)])], "/w").unwrap_err().contains("2 of 1"));
    }
}
