//! One defect in one model, under test: opened with the first check, forgotten with the last.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ground_truth::{Checkpoint, Config};
use ground_truth_falsification::arithmetic::Arithmetic;
use ground_truth_falsification::check::{Case, Check, Per};
use ground_truth_falsification::defect::{Defect, Kind};
use ground_truth_falsification::golden::{PerplexityGolden, PromptGolden};
use ground_truth_falsification::observation::{Failure, Op};
use ground_truth_falsification::tolerance::NATIVE;
use ground_truth_falsification::verdict::{ErrorKind, Outcome, Verdict};

use super::bed::{Bed, Opened};
use super::generated::{self, Draw};
use super::neighbours::{self, Neighbours};
use super::plan::holds_a_runtime_against_itself;
use super::table::{Effect, Found, Key};
use crate::defect::Make;
use crate::defect::artifact::{Surgery, SurgeryError};
use crate::defect::file;
use crate::defect::runtime::{Layered, Setting};
use crate::guard;
use crate::matrix;
use crate::observe::{Memory, Observer, Sessions};
use crate::runtime::Runtime;
use crate::runtime::native::NativeRuntime;
use crate::runtime::supervise::Deadlines;

/// How long a request may take. The slowest one of a carried model takes a tenth of a second.
pub const DEADLINES: Deadlines = Deadlines::of(Duration::from_secs(30));

/// How long where the defect is that nothing comes back: every request hangs, so waiting longer shows nothing more.
const IMPATIENT: Deadlines = Deadlines { load: Duration::from_secs(30), request: Duration::from_millis(50) };

/// A defect that moves the logits by less than this many times the golden's floor moves nothing.
const STILL: f64 = 3.0;

/// What stands in the model's place.
#[derive(Debug, Clone, Copy)]
pub enum Plant {
    /// The model as it is, by the way that artifact defects take.
    Control,
    /// The model as it is, by the way that runtime defects take.
    Layered,
    /// A defect at a strength.
    Defect(Make, f64),
    /// A defect that nobody wrote down.
    Drawn(Draw),
}

impl Plant {
    /// Changes the checkpoint, where the defect is one of an artifact. False: it is of another kind, and nothing was changed.
    fn operate(self, checkpoint: &mut Checkpoint) -> Result<bool, SurgeryError> {
        match self {
            Plant::Defect(Make::Artifact(edit), strength) => edit(&mut Surgery::new(checkpoint)?, strength).map(|()| true),
            Plant::Drawn(draw) => draw.operate(&mut Surgery::new(checkpoint)?).map(|()| true),
            _ => Ok(false),
        }
    }
}

impl std::fmt::Debug for Make {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Make::Artifact(_) => "artifact",
            Make::Runtime(_) => "runtime",
            Make::File(..) => "file",
        })
    }
}

/// One defect at one strength in one model.
pub struct Bench {
    /// `defect@strength`, model.
    pub key: Key,
    /// The model.
    pub bed: Arc<Bed>,
    /// What stands in its place.
    pub plant: Plant,
    /// The record; none for a control.
    pub record: Option<&'static Defect>,
    /// The checks that are tried, and what became of each.
    pub checks: Vec<(&'static Check, OnceLock<Result<Judged, String>>)>,
    floors: OnceLock<Result<f64, String>>,
    effect: OnceLock<Result<Effect, String>>,
    live: Mutex<Option<Arc<Live>>>,
    to_come: AtomicUsize,
}

pub(super) struct Live {
    pub(super) sessions: Sessions,
    pub(super) memory: Memory,
    neighbours: Neighbours,
    /// Where a file with a fault lies.
    _folder: Option<tempfile::TempDir>,
}

/// What became of one check on one defect.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The outcome.
    pub found: Found,
    /// The verdict that decided it, or the last one.
    pub verdict: Verdict,
    /// The largest (number / bound) of a red verdict, where it has numbers.
    pub ratio: Option<f64>,
    /// The questions that were asked.
    pub asked: Vec<String>,
}

impl Bench {
    /// A bench; nothing is made yet.
    pub fn new(key: Key, bed: &Arc<Bed>, plant: Plant, record: Option<&'static Defect>, checks: &[&'static Check]) -> Self {
        Bench {
            key,
            bed: Arc::clone(bed),
            plant,
            record,
            checks: checks.iter().map(|check| (*check, OnceLock::new())).collect(),
            floors: OnceLock::new(),
            effect: OnceLock::new(),
            live: Mutex::new(None),
            to_come: AtomicUsize::new(0),
        }
    }

    /// One more trial will ask.
    pub fn expect(&self) {
        self.to_come.fetch_add(1, Ordering::SeqCst);
    }

    /// A trial is done: what was observed is forgotten with the last.
    pub fn done(&self) {
        if self.to_come.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.forget();
        }
    }

    /// Forgets what was observed.
    pub fn forget(&self) {
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Puts the defect in.
    fn runtime(&self, opened: &Opened) -> Result<Arc<dyn Runtime>, String> {
        let setting = |strength| Setting {
            golden: Arc::clone(&opened.golden),
            prompts: opened.prompts.iter().map(|(_, prompt)| Arc::clone(prompt)).collect(),
            strength,
        };
        Ok(match self.plant {
            Plant::Control if self.bed.form.primary => Arc::new(NativeRuntime::with_checkpoint(opened.checkpoint.clone())),
            Plant::Control | Plant::Defect(Make::File(..), _) => Arc::new(NativeRuntime::new()),
            Plant::Layered => Arc::new(Layered::new(Arc::clone(&opened.remembered), Box::new(|_| Box::new(|request, next| next(request))))),
            Plant::Drawn(_) | Plant::Defect(Make::Artifact(_), _) => {
                let mut checkpoint = opened.checkpoint.clone();
                self.plant.operate(&mut checkpoint).map_err(|error| error.to_string())?;
                Arc::new(NativeRuntime::with_checkpoint(checkpoint))
            }
            Plant::Defect(Make::Runtime(fault), strength) => {
                Arc::new(Layered::new(Arc::clone(&opened.remembered), fault(&setting(strength))))
            }
        })
    }

    fn make(&self, opened: &Opened) -> Result<Arc<Live>, String> {
        let hangs = self.record.is_some_and(|record| record.errors.iter().any(|kind| kind == ErrorKind::Timeout.name()));
        let deadlines = if hangs { IMPATIENT } else { DEADLINES };
        let (mut artifact, mut folder, mut fault) = (opened.artifact.clone(), None, None);
        match self.plant {
            Plant::Defect(Make::File(file::Target::Artifact, edit), _) => {
                let made = tempfile::tempdir().map_err(|error| error.to_string())?;
                let name = artifact.path.file_name().ok_or("an artifact without a name")?;
                let path = made.path().join(name);
                std::fs::copy(&artifact.path, &path).map_err(|error| error.to_string())?;
                neighbours::operate(&path, edit)?;
                (artifact.path, folder) = (path, Some(made));
            }
            Plant::Defect(Make::File(file::Target::Peer(peer), edit), _) => fault = Some((peer(), edit)),
            _ => {}
        }
        let sessions = Sessions::new(self.runtime(opened)?, artifact.clone(), deadlines);
        let neighbours = Neighbours { street: Arc::clone(&opened.street), artifact, fault, made: Mutex::default() };
        Ok(Arc::new(Live { sessions, memory: Memory::default(), neighbours, _folder: folder }))
    }

    /// What all checks share; for a runtime defect, sessions of its own for each check, because what such a runtime answers may depend on
    /// what it was asked before, and no outcome may depend on the order of the checks.
    pub(super) fn live(&self, opened: &Opened) -> Result<Arc<Live>, String> {
        if matches!(self.plant, Plant::Layered | Plant::Defect(Make::Runtime(_), _)) {
            return self.make(opened);
        }
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = live.as_ref() {
            return Ok(Arc::clone(live));
        }
        Ok(Arc::clone(live.insert(self.make(opened)?)))
    }

    /// What loading says, where it should be refused.
    pub fn load(&self) -> Result<Result<Vec<String>, Failure>, String> {
        let opened = self.bed.open()?;
        Ok(self.live(&opened)?.sessions.warm_up())
    }

    /// How far this defect moves the logits, in floors.
    pub fn floors(&self) -> Result<f64, String> {
        let measure = || {
            let opened = self.bed.open()?;
            let live = self.live(&opened)?;
            opened.effect(&self.bed.prompts, &Observer::new(&live.sessions, &live.memory))
        };
        self.floors.get_or_init(measure).clone()
    }

    /// What this defect does to the logits.
    pub fn effect(&self) -> Result<Effect, String> {
        let is_still = self.floors()? < STILL;
        let measure = || {
            Ok(match is_still {
                false => Effect::Moved,
                true if self.is_elsewhere()? => Effect::Still,
                true => Effect::Equivalent,
            })
        };
        self.effect.get_or_init(measure).clone()
    }

    /// The same, if it was measured.
    pub fn seen_effect(&self) -> Option<Effect> {
        self.effect.get()?.as_ref().ok().copied()
    }

    /// The checkpoint before and after an artifact defect; none where the defect is of another kind.
    pub fn checkpoints(&self) -> Result<Option<[Checkpoint; 2]>, String> {
        let sound = self.bed.open()?.checkpoint.clone();
        let mut broken = sound.clone();
        let operated = self.plant.operate(&mut broken).map_err(|error| error.to_string())?;
        Ok(operated.then_some([sound, broken]))
    }

    /// Whether an artifact defect changes what the tokenizer does, or what the configuration says beside the arithmetic.
    fn is_elsewhere(&self) -> Result<bool, String> {
        let Some([sound, broken]) = self.checkpoints()? else { return Ok(false) };
        let limits = |checkpoint: &Checkpoint| {
            let config = Config::parse(&checkpoint.config, checkpoint.generation_config.as_ref(), &checkpoint.config_file());
            config.map(|config| (config.n_ctx, config.bos, config.eos)).map_err(|error| error.to_string())
        };
        if limits(&sound)? != limits(&broken)? {
            return Ok(true);
        }
        if sound.tokenizer == broken.tokenizer || !matches!(self.plant, Plant::Drawn(_)) {
            return Ok(sound.tokenizer != broken.tokenizer);
        }
        let golden = &self.bed.open()?.golden;
        let texts = golden.texts.values().chain(golden.tokenizer.cases.iter().map(|case| &case.text));
        Ok(generated::reads_otherwise(&sound, &broken, texts))
    }

    /// Whom to ask about what is under test.
    pub fn ask<T>(&self, about: impl FnOnce(&Opened, &Observer<'_>) -> Result<T, String>) -> Result<T, String> {
        let opened = self.bed.open()?;
        let live = self.live(&opened)?;
        about(&opened, &Observer::new(&live.sessions, &live.memory))
    }

    /// Judges the check at `place`, once.
    pub fn judged(&self, place: usize) -> &Result<Judged, String> {
        let (check, judged) = &self.checks[place];
        judged.get_or_init(|| {
            let outcome = guard::catch(|| self.judge(check)).unwrap_or_else(|panic| Err(panic.to_string()));
            if self.to_come.load(Ordering::SeqCst) == 0 {
                self.forget();
            }
            outcome
        })
    }

    #[expect(clippy::too_many_lines, reason = "one trial, from its observations to its finding")]
    fn judge(&self, check: &'static Check) -> Result<Judged, String> {
        let opened = self.bed.open()?;
        let live = self.live(&opened)?;
        let observer = Observer::new(&live.sessions, &live.memory);
        let mut all: Vec<&PromptGolden> = Vec::new();
        if matches!(check.per, Per::Sources(_)) {
            for place in self.bed.prompts_of(check) {
                all.push(opened.prompt(place)?);
            }
        }
        let case = |of_values, golden, perplexity| Case {
            model: &opened.golden,
            form: &self.bed.form,
            peers: &live.neighbours,
            prompt: of_values,
            source: golden,
            sources: &all,
            perplexity,
            style: None,
            dequantized: self.bed.dequantized.as_ref().map(|golden| &golden.index),
            llama_cpp: opened.llama_cpp.as_ref(),
            tolerances: opened.tolerances.of(NATIVE, Arithmetic::Exact, &self.bed.form),
        };
        let mut cases: Vec<Case<'_>> = Vec::new();
        match check.per {
            Per::Cell(_) | Per::Sources(_) => cases.push(case(None, None, None)),
            Per::Prompt(_) | Per::Source(_) => {
                let artifact = matches!(self.plant, Plant::Drawn(_)) || self.record.is_some_and(|record| record.kind == Kind::Artifact);
                // Where generation stops is a matter of the prompt: one that ends in EOS has to be among them.
                let any = holds_a_runtime_against_itself(check) && !check.needs.contains(&Op::Generate);
                let most = if artifact && any { 1 } else { usize::MAX };
                for place in self.bed.prompts_of(check).into_iter().take(most) {
                    let golden = opened.prompt(place)?;
                    cases.push(case(Some(opened.prompt_of_values(place).unwrap_or(golden)), Some(golden), None));
                }
            }
            Per::Chat(_) => cases.extend(self.bed.styles_of(check).into_iter().map(|i| Case { style: Some(i), ..case(None, None, None) })),
            Per::Perplexity(applies) if matches!(self.plant, Plant::Drawn(_)) => {
                let mine = |text: &&PerplexityGolden| applies(&self.bed.scope(), matrix::text_name(&text.text.name));
                cases.extend(opened.golden.perplexity.iter().filter(mine).map(|text| case(None, None, Some(text))));
            }
            Per::Perplexity(_) => cases.extend(shortest(&opened.golden.perplexity).map(|text| case(None, None, Some(text)))),
        }
        let mut judged: Option<Judged> = None;
        for case in &cases {
            let next = Judged::of(check.judge(case, &observer));
            judged = Some(match judged {
                Some(before) => before.and(next),
                None => next,
            });
            // Where tokens are compared a red verdict holds a number or it does not, whatever the prompt: no other prompt adds to a kill
            // without one.
            let told = judged.as_ref().filter(|judged| judged.found == Found::Killed);
            if told.is_some_and(|judged| check.is_exact() || judged.ratio.is_none() && !check.needs.contains(&Op::Logits)) {
                break;
            }
        }
        let mut judged = judged.ok_or("there is nothing to try it on")?;
        judged.asked = observer.asked();
        Ok(judged)
    }
}

fn shortest(texts: &[PerplexityGolden]) -> Option<&PerplexityGolden> {
    texts.iter().min_by_key(|text| text.tokens)
}

impl Judged {
    fn of(verdict: Verdict) -> Self {
        let red = verdict.measures.iter().filter(|measure| !measure.holds());
        let ratios = red.filter_map(|measure| measure.bound.map(|bound| measure.observed / bound));
        let ratio = ratios.fold(None, larger);
        let found = match verdict.outcome {
            Outcome::Corroborated => Found::Spared,
            Outcome::Falsified => Found::Killed,
            Outcome::Error => Found::Error(verdict.error.map_or("unknown", ErrorKind::name).to_owned()),
        };
        Judged { found, verdict, ratio, asked: Vec::new() }
    }

    /// The worse of two: killed before error before spared, and of two kills the one with the larger ratio.
    fn and(self, other: Judged) -> Judged {
        let ratio = [self.ratio, other.ratio].into_iter().flatten().fold(None, larger);
        let takes = match self.found.cmp(&other.found) {
            std::cmp::Ordering::Equal => ratio != self.ratio,
            order => order.is_gt(),
        };
        Judged { ratio, ..if takes { other } else { self } }
    }
}

/// The larger of two numbers, or NaN if one is.
fn larger(most: Option<f64>, next: f64) -> Option<f64> {
    match most {
        Some(most) if next <= most || most.is_nan() => Some(most),
        _ => Some(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ground_truth_falsification::verdict::Measure;

    fn measured(observed: f64) -> Judged {
        Judged::of(Verdict::measured(1, vec![Measure::gated("x", observed, 2.0, "")], "", ""))
    }

    #[test]
    fn a_kill_outweighs_an_error_and_an_error_a_pass() {
        let error = || Judged::of(Verdict::error(ErrorKind::Refused, "", ""));
        assert_eq!(measured(1.0).and(error()).found, Found::Error("refused".to_owned()));
        assert_eq!(error().and(measured(3.0)).found, Found::Killed);
        assert_eq!(measured(3.0).and(error()).found, Found::Killed);
    }

    #[test]
    fn the_ratio_is_the_largest_and_nan_stays() {
        assert_eq!(measured(3.0).and(measured(8.0)).ratio, Some(4.0));
        assert_eq!(measured(8.0).and(measured(3.0)).ratio, Some(4.0));
        assert_eq!(measured(1.0).ratio, None);
        assert!(measured(f64::NAN).and(measured(8.0)).ratio.is_some_and(f64::is_nan));
    }
}
