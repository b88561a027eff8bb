//! The ten controls as runtimes in this process: the engine with one answer spoiled.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ground_truth_harness::runtime::native::NativeRuntime;
use ground_truth_harness::runtime::supervise::Deadlines;
use ground_truth_harness::runtime::{Artifact, Capabilities, Failure, Logits, Op, Positions, Runtime, Session};

use super::judged;

type Spoil = fn(&Mutex<Option<Logits>>, &[u32], Logits) -> Result<Logits, Failure>;

/// The engine, its logits spoiled.
struct Spoiled {
    engine: NativeRuntime,
    spoil: Spoil,
    first: Arc<Mutex<Option<Logits>>>,
}

struct SpoiledSession {
    engine: Box<dyn Session>,
    spoil: Spoil,
    first: Arc<Mutex<Option<Logits>>>,
}

impl Runtime for Spoiled {
    fn capabilities(&self) -> Capabilities {
        Capabilities { name: "control".into(), ops: vec![Op::Logits], ..self.engine.capabilities() }
    }

    fn load(&self, artifact: &Artifact, threads: usize) -> Result<Box<dyn Session>, Failure> {
        let engine = self.engine.load(artifact, threads)?;
        Ok(Box::new(SpoiledSession { engine, spoil: self.spoil, first: Arc::clone(&self.first) }))
    }
}

impl Session for SpoiledSession {
    fn logits(&mut self, ids: &[u32], positions: Positions) -> Result<Logits, Failure> {
        let logits = self.engine.logits(ids, positions)?;
        (self.spoil)(&self.first, ids, logits)
    }
}

fn forever() -> ! {
    loop {
        thread::sleep(Duration::from_secs(600));
    }
}

/// What spoils the answer, the error of the rows (none: the claim is refuted), what they say, and how many of three are red.
const CONTROLS: [(&str, Spoil, Option<&str>, &str, usize); 10] = [
    ("hang", |_, _, _| forever(), Some("timeout"), "no answer within 0.3 s", 3),
    ("crash", |_, _, _| panic!("cannot go on"), Some("crash"), "cannot go on", 3),
    (
        "garbage",
        |_, ids, logits| {
            Ok(Logits { values: (0..logits.values.len()).map(|i| ((i * 2_654_435_761) % (97 + ids.len())) as f32).collect(), ..logits })
        },
        None,
        "norm ratio",
        3,
    ),
    ("huge", |_, _, logits| Ok(Logits { values: vec![1.0; logits.values.len() * 100], ..logits }), None, "with ", 3),
    ("shape", |_, ids, _| Ok(Logits { n: ids.len(), vocab: 3, values: vec![1.0; ids.len() * 3] }), None, ", 3) with", 3),
    ("nan", |_, _, logits| Ok(Logits { values: vec![f32::NAN; logits.values.len()], ..logits }), None, "not finite, the first is NaN", 3),
    ("echo", |_, ids, _| Ok(Logits { n: 1, vocab: ids.len(), values: ids.iter().map(|id| *id as f32).collect() }), None, "shape (1, ", 3),
    (
        "cached",
        |first, _, logits| Ok(first.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(logits).clone()),
        None,
        "",
        2,
    ),
    (
        "short",
        |_, _, mut logits| {
            logits.values.truncate(logits.values.len() - logits.vocab);
            Ok(logits)
        },
        None,
        "values",
        3,
    ),
    (
        "drip",
        |_, _, logits| {
            (0..100).for_each(|_| thread::sleep(Duration::from_millis(20)));
            Ok(logits)
        },
        Some("timeout"),
        "no answer within 0.3 s",
        3,
    ),
];

#[test]
fn each_of_ten_controls_in_this_process_is_red_for_its_reason() {
    let begin = Instant::now();
    for (name, spoil, error, says, red) in CONTROLS {
        let runtime = Arc::new(Spoiled { engine: NativeRuntime::new(), spoil, first: Arc::default() });
        // Whoever is to be late is late in 0.3 s; the others have all the time that a busy machine takes.
        let request = if error == Some("timeout") { Duration::from_millis(300) } else { Duration::from_secs(60) };
        let deadlines = Deadlines { load: Duration::from_secs(60), request };
        let records = judged("llama-tiny", "::F-G4-norm::", runtime, deadlines);
        let wrong: Vec<_> = records.iter().filter(|record| !record.is_green()).collect();
        assert_eq!((records.len(), wrong.len()), (3, red), "{name}");
        for record in wrong {
            assert_eq!(record.error.as_deref(), error, "{name}: {}", record.observed);
            let told = format!("{} {:?}", record.observed, record.measures);
            assert!(told.contains(says), "{name}: {told}");
            assert!(!record.behind_gate, "{name}");
        }
    }
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
}
