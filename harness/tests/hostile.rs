//! F-G1: hostile bytes in great number: every prefix, every flipped bit, random mutations that know the format; and the catalogue of
//! `testdata/malformed` against the generator that wrote it.

#[path = "malformed/ap.rs"]
mod ap;
#[path = "malformed/case.rs"]
mod case;
#[path = "malformed/gg.rs"]
mod gg;
#[path = "malformed/ix.rs"]
mod ix;
#[path = "malformed/st.rs"]
mod st;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use case::Case;
use ground_truth::format::{apr, gguf, safetensors};

/// Mutations of each parser in the ordinary run, and behind `--ignored`.
const MUTATIONS: u64 = 100_000;
const MANY_MUTATIONS: u64 = 1_000_000;
/// CPU time that one file may take.
const MOMENT: Duration = Duration::from_millis(100);

/// A parser of bytes in memory, and the small valid files of its format.
struct Parser {
    name: &'static str,
    reads: fn(&[u8]) -> bool,
    valid: Vec<Vec<u8>>,
    /// Where in a file its numbers stand, for mutations that know them: the offsets of its header.
    header: fn(&[u8]) -> usize,
}

fn parsers() -> Vec<Parser> {
    vec![
        Parser {
            name: "safetensors",
            reads: |bytes| safetensors::check(bytes).is_ok(),
            valid: vec![st::valid()],
            header: |bytes| 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize,
        },
        Parser {
            name: "gguf",
            reads: |bytes| gguf::parse(bytes).is_ok(),
            valid: vec![gg::valid(), gg::valid_model()],
            header: |bytes| bytes.len() * 3 / 4,
        },
        Parser { name: "apr", reads: |bytes| apr::parse(bytes).is_ok(), valid: vec![ap::valid()], header: |bytes| bytes.len() - 132 },
    ]
}

fn catalogue() -> Vec<Case> {
    [st::cases(), ix::cases(), gg::cases(), ap::cases()].into_iter().flatten().collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/malformed")
}

/// With `GROUND_TRUTH_BLESS=1` the catalogue is written; without, it has to be what would be written, to the byte.
#[test]
fn f_g1_the_committed_catalogue_is_what_the_generator_writes() {
    let fresh = tempfile::tempdir().unwrap();
    let mut sentences = String::from(
        "# Hostile files\n\nWritten by `make malformed` (harness/tests/malformed), read by `cargo test --test malformed`.\n\n| case | what it is | verdict |\n|---|---|---|\n",
    );
    for case in catalogue() {
        fs::write(fresh.path().join(format!("{}.toml", case.id)), case.toml()).unwrap();
        if case.is_committed() {
            case.write(&fresh.path().join(&case.id)).unwrap();
        }
        let verdict = match &case.expect {
            case::Expect::Refused { kind, reason, .. } => format!("refused: {kind}, {reason}"),
            case::Expect::Accepted { .. } => "accepted".to_owned(),
        };
        sentences.push_str(&format!("| {} | {} | {verdict} |\n", case.id, case.what.replace('|', "\\|")));
    }
    fs::write(fresh.path().join("README.md"), sentences).unwrap();
    if std::env::var_os("GROUND_TRUTH_BLESS").is_some_and(|value| value == "1") && std::env::var_os("CI").is_none() {
        if folder().exists() {
            fs::remove_dir_all(folder()).unwrap();
        }
        copy(fresh.path(), &folder());
    }
    let (committed, written) = (files(&folder()), files(fresh.path()));
    let names = |files: &[(PathBuf, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&committed), names(&written), "run `make malformed`");
    for ((name, old), (_, new)) in committed.iter().zip(&written) {
        assert!(old == new, "{}: run `make malformed`, and look at what changed", name.display());
    }
    let total: usize = committed.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(total < 1 << 20, "{total} bytes");
}

fn copy(from: &Path, to: &Path) {
    for (name, bytes) in files(from) {
        let path = to.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// Every file below a folder, by its path in it.
fn files(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// A prefix that lacks zeros at its end alone is no lie where the format lets a reader do without them.
#[test]
fn f_g1_every_prefix_is_refused() {
    for parser in parsers() {
        for valid in &parser.valid {
            assert!((parser.reads)(valid), "{}", parser.name);
            let needed = if parser.name == "gguf" { valid.len() - trailing_padding(valid) } else { valid.len() };
            for n in 0..needed {
                assert!(!(parser.reads)(&valid[..n]), "{}: the first {n} of {} bytes", parser.name, valid.len());
            }
            for n in needed..valid.len() {
                assert!((parser.reads)(&valid[..n]), "{}: {n} bytes lack padding alone", parser.name);
            }
        }
    }
}

/// Bytes of padding after the last tensor of a GGUF file.
fn trailing_padding(file: &[u8]) -> usize {
    let contents = gguf::parse(file).expect("valid");
    let end = contents.tensors.iter().map(|tensor| tensor.offset + tensor.bytes).max().expect("a tensor");
    file.len() - end as usize
}

#[test]
fn f_g1_a_hundred_thousand_mutations_of_each_format_end_in_an_answer_and_soon() {
    mutate(MUTATIONS);
}

#[test]
#[ignore = "ten times as many as the ordinary run: cargo test --test suite hostile:: -- --ignored"]
fn f_g1_a_million_mutations_of_each_format_end_in_an_answer_and_soon() {
    mutate(MANY_MUTATIONS);
}

fn mutate(n: u64) {
    for parser in parsers() {
        let others: Vec<Vec<u8>> = parsers().into_iter().flat_map(|parser| parser.valid).collect();
        let (mut read, mut slowest) = (0u64, Duration::ZERO);
        for seed in 0..n {
            let mut random = Random(seed);
            let valid = &parser.valid[random.below(parser.valid.len())];
            let mutant = mutant(valid, (parser.header)(valid), &others, &mut random);
            let begin = cpu_time();
            read += u64::from((parser.reads)(&mutant));
            let took = cpu_time() - begin;
            assert!(took < MOMENT, "{}: seed {seed} took {took:?}", parser.name);
            slowest = slowest.max(took);
        }
        println!("{}: {n} mutants, {read} of them still valid, the slowest {slowest:?} of CPU time", parser.name);
        assert!(read < n, "{}: not one mutant was refused", parser.name);
    }
}

/// CPU time of this thread; other threads and other processes do not count.
fn cpu_time() -> Duration {
    // /proc gives nanoseconds of CPU time first. Where it does not, wall time is the stricter measure.
    static BEGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = text.as_deref().and_then(|text| text.split(' ').next()).and_then(|n| n.parse().ok());
    nanoseconds.map_or_else(|| BEGIN.elapsed(), Duration::from_nanos)
}

/// One to four changes: a byte, a bit, a number at its limits, a stretch copied, dropped, doubled or taken from another file.
fn mutant(valid: &[u8], header: usize, others: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            break;
        }
        // Three of four changes go where the numbers are.
        let span = if random.below(4) > 0 { header.clamp(1, bytes.len()) } else { bytes.len() };
        let at = random.below(span);
        match random.below(8) {
            0 => bytes[at] = random.next() as u8,
            1 => bytes[at] ^= 1 << random.below(8),
            2 => put(&mut bytes, at, &EXTREMES[random.below(EXTREMES.len())].to_le_bytes()),
            3 => put(&mut bytes, at, &(EXTREMES[random.below(EXTREMES.len())] as u32).to_le_bytes()),
            4 => bytes.truncate(at),
            5 => drop(bytes.drain(at..(at + random.below(64)).min(valid.len()).min(bytes.len()).max(at))),
            6 => {
                let stretch = bytes[at..(at + random.below(64)).min(bytes.len())].to_vec();
                bytes.splice(at..at, stretch);
            }
            _ => {
                let other = &others[random.below(others.len())];
                let from = random.below(other.len());
                let stretch = other[from..(from + random.below(64)).min(other.len())].to_vec();
                put(&mut bytes, at, &stretch);
            }
        }
    }
    bytes
}

/// Numbers at which arithmetic and limits go wrong.
const EXTREMES: [u64; 16] = [
    0,
    1,
    2,
    31,
    32,
    255,
    256,
    u16::MAX as u64,
    1 << 20,
    i32::MAX as u64,
    1 << 31,
    u32::MAX as u64,
    1 << 32,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    let n = new.len().min(bytes.len() - at);
    bytes[at..at + n].copy_from_slice(&new[..n]);
}

/// splitmix64: the same mutants on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// What structure alone sees of a flipped bit, by where it lies; what a hash sees is everything.
#[test]
fn f_g1_single_flipped_bits_by_class() {
    for parser in parsers() {
        let valid = &parser.valid[0];
        let header = (parser.header)(valid);
        let mut caught = [[0usize; 2]; 2];
        for bit in 0..valid.len() * 8 {
            let mut bytes = valid.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let class = usize::from(bit / 8 >= header);
            caught[class][usize::from(!(parser.reads)(&bytes))] += 1;
        }
        for (class, [missed, seen]) in ["header", "data"].iter().zip(caught) {
            let percent = 100.0 * seen as f64 / (missed + seen) as f64;
            println!("{}, {class}: {seen} of {} flipped bits are refused by structure alone ({percent:.1} %)", parser.name, missed + seen);
        }
        match parser.name {
            // Its two checksums cover every byte.
            "apr" => assert_eq!(caught.map(|[missed, _]| missed), [0, 0]),
            _ => {
                let [[_, header], _] = caught;
                assert!(header * 2 > (parser.header)(valid) * 8, "{}: {caught:?}", parser.name);
            }
        }
    }
}
