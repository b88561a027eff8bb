//! Names the converter by its source, so that an artifact made by another one is never taken for one of this one: not after an edit, and
//! not under a tool that edits the source to see whether a test notices.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The engine, without what computes with weights: a faster kernel makes no other file.
const WITHOUT: [&str; 2] = ["kernel", "generate.rs"];

fn main() {
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
    // In a registry there is no such folder, and to wait for one that is absent is to build anew every time.
    let watched = if engine.is_dir() { engine.clone() } else { PathBuf::from("build.rs") };
    println!("cargo::rerun-if-changed={}", watched.display());
    let mut hasher = DefaultHasher::new();
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    let mut open = vec![engine.clone()];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = open.pop() {
        // Without the engine's source beside this package, its version is all there is to go by.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if WITHOUT.iter().any(|name| path.file_name().is_some_and(|file| file == *name)) {
                continue;
            }
            if path.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    for file in files {
        file.strip_prefix(&engine).unwrap_or(&file).hash(&mut hasher);
        fs::read(&file).unwrap_or_default().hash(&mut hasher);
    }
    let rustc = env::var_os("RUSTC").and_then(|rustc| Command::new(rustc).arg("--version").output().ok());
    let version = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    println!("cargo::rustc-env=GROUND_TRUTH_RUSTC={}", version.lines().next().unwrap_or_default());
    println!("cargo::rustc-env=GROUND_TRUTH_CONVERTER={}-{:016x}", env!("CARGO_PKG_VERSION"), hasher.finish());
}
