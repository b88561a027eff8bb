//! A hostile input as data: what it is, the files that make it, and what has to become of it.

use std::path::Path;

/// A case is committed while none of its files has more bytes than this; a larger one is built when it is tried.
const COMMITTED_BYTES: usize = 8 << 10;

/// One entry of the catalogue.
pub struct Case {
    /// Its name in the catalogue: `ST12`, or `ST8b` where one entry needs several files.
    pub id: String,
    /// One sentence.
    pub what: String,
    /// The files, by path relative to the case's folder.
    pub files: Vec<(String, Content)>,
    /// Symbolic links: path, and what they point at.
    pub links: Vec<(String, String)>,
    /// What is given to `ground-truth probe`, relative to the case's folder; empty for the folder itself.
    pub probe: String,
    /// What has to become of it.
    pub expect: Expect,
}

/// What a file holds.
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many that they are made when they are wanted.
    Made(fn() -> Vec<u8>),
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Content::Bytes(bytes)
    }
}

/// The verdict that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Refused, with this kind and reason of error and all of these words in the message.
    Refused { kind: &'static str, reason: &'static str, says: Vec<String> },
    /// Read, and found to hold this many tensors.
    Accepted { tensors: usize },
}

/// A refusal.
pub fn refused(kind: &'static str, reason: &'static str, says: &[&str]) -> Expect {
    Expect::Refused { kind, reason, says: says.iter().map(|word| (*word).to_owned()).collect() }
}

/// A file that has to be read.
pub fn accepted(tensors: usize) -> Expect {
    Expect::Accepted { tensors }
}

impl Case {
    /// A case of one file.
    pub fn file(id: &str, what: &str, name: &str, content: impl Into<Content>, expect: Expect) -> Case {
        Case {
            id: id.to_owned(),
            what: what.to_owned(),
            files: vec![(name.to_owned(), content.into())],
            links: Vec::new(),
            probe: name.to_owned(),
            expect,
        }
    }

    /// Whether its files are committed. A link would not survive every way in which a repository travels.
    pub fn is_committed(&self) -> bool {
        let small = |content: &Content| matches!(content, Content::Bytes(bytes) if bytes.len() <= COMMITTED_BYTES);
        self.links.is_empty() && self.files.iter().all(|(_, content)| small(content))
    }

    /// Writes the files below `folder`.
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        for (name, content) in &self.files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().expect("a file lies in a folder"))?;
            match content {
                Content::Bytes(bytes) => std::fs::write(path, bytes)?,
                Content::Made(make) => std::fs::write(path, make())?,
            }
        }
        for (name, target) in &self.links {
            std::os::unix::fs::symlink(target, folder.join(name))?;
        }
        Ok(())
    }

    /// The case as the TOML that is committed beside its files.
    pub fn toml(&self) -> String {
        // A string of JSON is a string of TOML.
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let mut out = format!("what = {}\nprobe = {}\nbuilt = {}\n", text(&self.what), text(&self.probe), !self.is_committed());
        match &self.expect {
            Expect::Refused { kind, reason, says } => {
                let says: Vec<String> = says.iter().map(|word| text(word)).collect();
                out.push_str(&format!(
                    "verdict = \"refused\"\nkind = {}\nreason = {}\nsays = [{}]\n",
                    text(kind),
                    text(reason),
                    says.join(", ")
                ));
            }
            Expect::Accepted { tensors } => out.push_str(&format!("verdict = \"accepted\"\ntensors = {tensors}\n")),
        }
        out
    }
}
