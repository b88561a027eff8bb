//! Evidence as the reporters read it: every record of a run, and its manifest. What cannot be read is an error that names the file; a
//! report of what was left over would be a green page about a red run.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use super::manifest::{self, Manifest};
use super::run::{RUN_MARK, Run, file_of};
use super::{Record, SCHEMA};
use crate::escape;
use crate::golden_store::read_capped;

/// The largest file that is read. A record with two whole token lists in it has a thousandth of that.
pub(super) const MAX_BYTES: u64 = 64 << 20;

/// All that a run left.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// Its records, by name.
    pub records: Vec<Record>,
    /// What it was. None: it ran under nextest, or was cut short.
    pub manifest: Option<Manifest>,
}

/// The last run under the output folder `out` that judged models, by the time at which it began.
///
/// # Errors
/// There is none, or the folder cannot be read.
pub fn last_run(out: &Path) -> Result<Run, String> {
    let shown = escape::line(&out.to_string_lossy());
    let none = |why: &str| format!("no run in {shown}{why}: `cargo test --test falsify` makes one");
    let entries = match fs::read_dir(out) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(none("")),
        Err(error) => return Err(format!("{shown}: {error}")),
    };
    let mut runs: Vec<(SystemTime, String, Run)> = Vec::new();
    let mut others = 0;
    for entry in entries {
        let entry = entry.map_err(|error| format!("{shown}: {error}"))?;
        let Ok(mark) = fs::metadata(entry.path().join(RUN_MARK)) else { continue };
        let name = entry.file_name().to_string_lossy().into_owned();
        let run = Run::named(out, &name);
        if run.kind().judges_models() {
            let begun = mark.modified().map_err(|error| format!("{shown}/{}: {error}", escape::line(&name)))?;
            runs.push((begun, name, run));
        } else {
            others += 1;
        }
    }
    let last = runs.into_iter().max_by(|(a, a_name, _), (b, b_name, _)| (a, a_name).cmp(&(b, b_name)));
    last.map(|(_, _, run)| run).ok_or_else(|| match others {
        0 => none(""),
        n => none(&format!(" that judged models ({n} of other kinds; name one to read it)")),
    })
}

/// The run of this id under `out`.
///
/// # Errors
/// There is none of that name.
pub fn run_named(out: &Path, id: &str) -> Result<Run, String> {
    let run = Run::named(out, id);
    if escape::is_plain_name(id) && run.folder().join(RUN_MARK).is_file() {
        return Ok(run);
    }
    let shown = escape::line(&out.to_string_lossy());
    Err(format!("no run `{}` in {shown}: its folders are the runs there are", escape::line(id)))
}

/// Everything that a run left.
///
/// # Errors
/// A record or the manifest cannot be read or is another's, there is no record, or there are fewer than the manifest says.
pub fn read(run: &Run) -> Result<Evidence, String> {
    match what_is_left(run)? {
        (evidence, None) => Ok(evidence),
        (_, Some(lost)) => Err(lost),
    }
}

/// The same of a run that may have lost records, with the reason why it is not whole: for a report that says so first, and for nothing else.
///
/// # Errors
/// A record or the manifest cannot be read or is another's, or there is no record.
pub fn what_is_left(run: &Run) -> Result<(Evidence, Option<String>), String> {
    let shown = escape::line(&run.folder().to_string_lossy());
    let files = run.records().map_err(|error| format!("{shown}: {error}"))?;
    let mut records = files.iter().map(|file| record(run, file)).collect::<Result<Vec<_>, _>>()?;
    records.sort_by(|a, b| a.name.cmp(&b.name));
    let path = run.folder().join(manifest::FILE);
    let manifest = if path.exists() { Some(Manifest::read(&path)?) } else { None };
    let mut lost = None;
    if let Some(manifest) = &manifest {
        if manifest.run != run.id() {
            return Err(format!("{shown}/{}: is of the run `{}`", manifest::FILE, escape::line(&manifest.run)));
        }
        if records.len() < manifest.records {
            lost = Some(format!("{shown}: holds {} records, and {} says {}", records.len(), manifest::FILE, manifest.records));
        }
    }
    if records.is_empty() {
        return Err(format!("{shown}: holds no record; nothing was judged"));
    }
    Ok((Evidence { records, manifest }, lost))
}

fn record(run: &Run, file: &str) -> Result<Record, String> {
    let path = run.folder().join(file);
    let shown = escape::line(&path.to_string_lossy());
    let bytes = read_capped(&path, MAX_BYTES).map_err(|error| format!("{shown}: {error}"))?;
    let record: Record = serde_json::from_slice(&bytes).map_err(|error| format!("{shown}: {}", escape::line(&error.to_string())))?;
    let wrong = if record.schema != SCHEMA {
        format!("schema `{}`, where this version reads `{SCHEMA}`", escape::line(&record.schema))
    } else if record.run != run.id() {
        format!("is of the run `{}`", escape::line(&record.run))
    } else if file_of(&record.name) != file {
        format!("is about the row `{}`, whose file has another name", escape::line(&record.name))
    } else if !["corroborated", "falsified", "error", super::EXPECTED].contains(&record.verdict.as_str()) {
        format!("verdict `{}` is none that there is", escape::line(&record.verdict))
    } else {
        return Ok(record);
    };
    Err(format!("{shown}: {wrong}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Kind;
    use crate::evidence::manifest::{Counts, Environment, Part};
    use ground_truth_falsification::verdict::Verdict;

    fn run_of(out: &Path, names: &[&str]) -> Run {
        let run = Run::of_this_process(out, Kind::Matrix);
        for name in names {
            run.write(&Record::of(run.id(), name, &Verdict::falsified("x", "y"))).unwrap();
        }
        run
    }

    fn close(run: &Run, falsified: usize) {
        let part =
            Part { target: "falsify".into(), runtimes: Vec::new(), counts: Counts { falsified, ..Counts::default() }, duration_s: 1.0 };
        Manifest::new(run, Environment::default(), part).write(run).unwrap();
    }

    #[test]
    fn a_run_is_named_by_its_folder_and_by_no_way_to_it() {
        let out = tempfile::tempdir().unwrap();
        let run = run_of(out.path(), &["a::x"]);
        assert_eq!(run_named(out.path(), run.id()).unwrap().id(), run.id());
        let way = format!("../{}/{}", out.path().file_name().unwrap().to_string_lossy(), run.id());
        assert!(out.path().join(&way).is_dir());
        for id in [way.as_str(), "no-such-run", "..", ""] {
            assert!(run_named(out.path(), id).is_err_and(|error| error.contains("its folders are the runs there are")), "{id}");
        }
    }

    #[test]
    fn records_come_by_name_and_with_their_manifest() {
        let out = tempfile::tempdir().unwrap();
        let run = run_of(out.path(), &["b::x", "a::x"]);
        assert!(read(&run).unwrap().manifest.is_none());
        close(&run, 2);
        let evidence = read(&last_run(out.path()).unwrap()).unwrap();
        assert_eq!(evidence.records.iter().map(|record| record.name.as_str()).collect::<Vec<_>>(), ["a::x", "b::x"]);
        assert_eq!(evidence.manifest.unwrap().records, 2);
    }

    #[test]
    fn a_run_that_lost_a_record_is_an_error() {
        let out = tempfile::tempdir().unwrap();
        let run = run_of(out.path(), &["a", "b"]);
        close(&run, 2);
        fs::remove_file(run.folder().join(file_of("a"))).unwrap();
        assert!(read(&run).unwrap_err().contains("holds 1 records, and run.json says 2"));
    }

    #[test]
    fn what_is_no_record_of_the_run_is_an_error_that_names_the_file() {
        let out = tempfile::tempdir().unwrap();
        let run = run_of(out.path(), &["a", "b"]);
        let file = run.folder().join(file_of("a"));
        let whole = fs::read_to_string(&file).unwrap();
        let other_run = whole.replace(run.id(), "other");
        for (text, said) in [
            ("{", "EOF"),
            ("", "EOF"),
            (other_run.as_str(), "is of the run `other`"),
            (&whole.replace("evidence/1", "evidence/2"), "schema `ground-truth/evidence/2`"),
            (&whole.replace("\"a\"", "\"c\""), "is about the row `c`"),
            (&whole.replace("\"falsified\"", "\"passed\""), "verdict `passed`"),
        ] {
            fs::write(&file, text).unwrap();
            let error = read(&run).unwrap_err();
            assert!(error.contains("/a.json: ") && error.contains(said), "{error}");
        }
    }

    #[test]
    fn no_run_and_an_empty_run_are_errors() {
        let out = tempfile::tempdir().unwrap();
        assert!(last_run(&out.path().join("absent")).unwrap_err().starts_with("no run in "));
        assert!(last_run(out.path()).unwrap_err().starts_with("no run in "));
        let power = Run::of_this_process(out.path(), Kind::Power);
        power.write(&Record::of(power.id(), "a", &Verdict::falsified("x", "y"))).unwrap();
        assert!(last_run(out.path()).unwrap_err().contains("1 of other kinds"));
        let run = run_of(out.path(), &["a"]);
        assert_eq!(last_run(out.path()).unwrap().id(), run.id());
        assert!(run_named(out.path(), "../x").is_err());
        assert!(run_named(out.path(), power.id()).is_ok());
        fs::remove_file(run.folder().join("a.json")).unwrap();
        assert!(read(&run).unwrap_err().contains("holds no record"));
    }
}
