//! One defect in one model, under test: opened with the first check, forgotten with the last.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ground_truth::{Checkpoint, Config};
use ground_truth_falsification::arithmetic::Arithmetic;
use ground_truth_falsification::check::{Case, Check, Per, Scope};
use ground_truth_falsification::defect::{Defect, Kind};
use ground_truth_falsification::form::Form;
use ground_truth_falsification::golden::{
    ChatIndex, Dequantized, Index, LlamaCpp, MarginClass, ModelGolden, PerplexityGolden, PromptEntry, PromptGolden,
};
use ground_truth_falsification::metric::{outdoes, relative_rms, widen};
use ground_truth_falsification::observation::{Answer, Answers, Failure, Op, Question, Stop};
use ground_truth_falsification::tolerance::{NATIVE, Tolerances};
use ground_truth_falsification::verdict::{ErrorKind, Outcome, Verdict};

use super::neighbours::{self, Neighbours, Street};
use super::plan::holds_a_runtime_against_itself;
use super::table::{Found, Key};
use crate::defect::Make;
use crate::defect::artifact::Surgery;
use crate::defect::file;
use crate::defect::runtime::{Layered, Setting, remembered};
use crate::golden_store::GoldenStore;
use crate::golden_store::derived::{Beside, Derived, LlamaCppIndex};
use crate::guard;
use crate::make::Step;
use crate::observe::{Memory, Observer, Sessions};
use crate::runtime::native::NativeRuntime;
use crate::runtime::supervise::Deadlines;
use crate::runtime::{Artifact, Format, Runtime};

/// How long a request may take. The slowest one of a carried model takes a tenth of a second.
const DEADLINES: Deadlines = Deadlines::of(Duration::from_secs(30));

/// How long where the defect is that nothing comes back: every request hangs, so waiting longer shows nothing more.
const IMPATIENT: Deadlines = Deadlines { load: Duration::from_secs(30), request: Duration::from_millis(50) };

/// A defect that moves the logits by less than this many times the golden's floor moves nothing.
pub const STILL: f64 = 3.0;

/// A carried model, with the prompts on which power is measured.
pub struct Bed {
    /// The model's name.
    pub name: String,
    /// The index of its golden.
    pub index: Arc<Index>,
    /// The prompts, as places in the index.
    pub prompts: Vec<usize>,
    /// What the runtime loads.
    pub artifact: Artifact,
    /// Its golden's files.
    pub store: GoldenStore,
    /// The column.
    pub form: Form,
    /// The golden of the column's values, where there is one.
    pub dequantized: Option<Arc<Derived<Dequantized>>>,
    /// What llama.cpp answered with this column, where it was asked.
    pub llama_cpp: Option<Arc<Derived<LlamaCppIndex>>>,
    /// The index of the golden of chat templates.
    pub chat: Option<Arc<ChatIndex>>,
    /// The folder of the model as published.
    model: Artifact,
    opened: OnceLock<Result<Arc<Opened>, String>>,
}

/// A bed whose golden was verified and read.
pub struct Opened {
    /// The golden.
    pub golden: Arc<ModelGolden>,
    /// The golden of each prompt that some check is tried on, by its place in the index.
    pub prompts: Vec<(usize, Arc<PromptGolden>)>,
    /// The goldens of the same prompts for the values that a column holds, where it rounds and they were asked.
    pub of_values: Vec<(usize, Arc<PromptGolden>)>,
    /// What llama.cpp answered.
    pub llama_cpp: Option<LlamaCpp>,
    /// The bounds.
    pub tolerances: Tolerances,
    /// The model as it should be.
    pub checkpoint: Checkpoint,
    /// What is loaded: of a column, where it was converted to.
    pub artifact: Artifact,
    clean: (Sessions, Memory),
    remembered: Arc<dyn Runtime>,
    street: Arc<Street>,
    /// Where a converted artifact lies, as long as anybody asks.
    _folder: Option<tempfile::TempDir>,
}

impl Bed {
    /// A bed; nothing is read yet.
    pub fn new(index: Arc<Index>, store: GoldenStore, artifact: Artifact) -> Self {
        let prompts = chosen(&index);
        let form = Form::published(&index.dtype);
        Bed {
            name: index.model.clone(),
            form,
            dequantized: None,
            llama_cpp: None,
            chat: store.chat(),
            index,
            prompts,
            model: artifact.clone(),
            artifact,
            store,
            opened: OnceLock::new(),
        }
    }

    /// The same model in a column, which is made when something is asked.
    pub fn converted(
        index: Arc<Index>,
        store: GoldenStore,
        published: Artifact,
        (format, quantization): (Format, &str),
        beside: &Beside,
    ) -> Self {
        let dequantized = beside.of_values(format, quantization).cloned();
        let llama_cpp = beside.llama_cpp.clone().filter(|golden| format == Format::Gguf && golden.has(quantization));
        let form = Form::converted(format.name(), quantization, &index.dtype);
        let artifact = Artifact { format, quantization: quantization.to_owned(), ..published.clone() };
        let name = format!("{}-{format}-{quantization}", index.model);
        Bed { name, form, artifact, dequantized, llama_cpp, ..Bed::new(index, store, published) }
    }

    /// What is known of it without opening a file.
    pub fn scope(&self) -> Scope<'_> {
        let dequantized = self.dequantized.as_ref().map(|golden| &golden.index);
        Scope {
            index: &self.index,
            form: &self.form,
            dequantized,
            llama_cpp: self.llama_cpp.is_some(),
            chat: self.chat.as_deref(),
            sayable: true,
            runtime: NATIVE,
            arithmetic: Arithmetic::Exact,
        }
    }

    /// By which models are ordered: parameters, then name.
    pub fn size(&self) -> (u64, &str) {
        (self.index.parameters, &self.name)
    }

    /// Verifies and reads the golden and the model: the gate of everything here.
    pub fn open(&self) -> Result<Arc<Opened>, String> {
        self.opened.get_or_init(|| self.read().map(Arc::new)).clone()
    }

    fn read(&self) -> Result<Opened, String> {
        self.store.verify()?;
        let golden = Arc::new(self.store.model()?);
        let mut places: Vec<usize> = self.prompts.clone();
        places.extend(ground_truth_falsification::check::all().iter().flat_map(|check| self.prompts_of(check)));
        places.sort_unstable();
        places.dedup();
        let mut prompts = Vec::new();
        for place in places {
            let entry = &self.index.prompts[place];
            prompts.push((place, Arc::new(self.store.prompt(entry)?)));
        }
        let mut of_values = Vec::new();
        for (place, name) in prompts.iter().map(|(place, prompt)| (*place, &prompt.prompt.name)) {
            if let Some(golden) = self.values().filter(|golden| golden.index.prompts.iter().any(|entry| entry.name == *name)) {
                of_values.push((place, Arc::new(golden.prompt(self.store.workspace(), name)?)));
            }
        }
        let llama_cpp = match &self.llama_cpp {
            Some(golden) => Some(golden.read(self.store.workspace(), &self.form.quantization)?),
            None => None,
        };
        let tolerances = Tolerances::committed().map_err(|error| error.to_string())?;
        let (mut artifact, mut folder) = (self.artifact.clone(), None);
        if !self.form.primary {
            let said = |failure: Failure| failure.to_string();
            let types = neighbours::types(artifact.format, &artifact.quantization).map_err(said)?;
            let (path, made) = neighbours::convert(&self.model.path, vec![Step { format: artifact.format, types }]).map_err(said)?;
            (artifact.path, folder) = (path, Some(made));
        }
        let checkpoint = Checkpoint::open(&artifact.path).map_err(|error| error.to_string())?;
        let native: Arc<dyn Runtime> = match self.form.primary {
            true => Arc::new(NativeRuntime::with_checkpoint(checkpoint.clone())),
            false => Arc::new(NativeRuntime::new()),
        };
        let remembered: Arc<dyn Runtime> = Arc::new(remembered(native));
        let clean = (Sessions::new(Arc::clone(&remembered), artifact.clone(), DEADLINES), Memory::default());
        let street = Arc::new(Street::new(self.model.clone()));
        Ok(Opened { golden, prompts, of_values, llama_cpp, tolerances, checkpoint, artifact, clean, remembered, street, _folder: folder })
    }

    /// The golden of the values that a column holds, where it rounds.
    fn values(&self) -> Option<&Derived<Dequantized>> {
        self.dequantized.as_deref().filter(|_| self.form.is_lossy())
    }

    /// Whether a check under [`Per::Prompt`] has the golden of the very values that this bed holds.
    pub fn has_values(&self) -> bool {
        self.form.lossless || self.dequantized.is_some()
    }

    /// The chat templates on which a check under [`Per::Chat`] is tried, as places in their index.
    pub fn styles_of(&self, check: &Check) -> Vec<usize> {
        let (Per::Chat(applies), Some(chat)) = (check.per, self.chat.as_deref()) else { return Vec::new() };
        (0..chat.styles.len()).filter(|i| applies(&self.scope(), &chat.styles[*i])).collect()
    }

    /// The prompts on which a check under [`Per::Prompt`] is tried, as places in the index: those of the chosen ones that it applies to,
    /// else the shortest of all that it applies to.
    pub fn prompts_of(&self, check: &Check) -> Vec<usize> {
        let (Per::Prompt(applies) | Per::Source(applies) | Per::Sources(applies)) = check.per else { return Vec::new() };
        let scope = self.scope();
        let of_values = self.values().filter(|_| matches!(check.per, Per::Prompt(_)));
        let is_mine = |i: &usize| {
            let own = &self.index.prompts[*i];
            let entry = match of_values {
                Some(golden) => golden.index.prompts.iter().find(|entry| entry.name == own.name),
                None => Some(own),
            };
            entry.is_some_and(|entry| applies(&scope, entry) && check.undecided(&scope, Some(entry)).is_none())
        };
        let mine: Vec<usize> = self.prompts.iter().copied().filter(is_mine).collect();
        if !mine.is_empty() {
            return mine;
        }
        (0..self.index.prompts.len()).filter(is_mine).min_by_key(|i| length(&self.index, *i)).into_iter().collect()
    }
}

fn length(index: &Index, prompt: usize) -> usize {
    index.prompts[prompt].n_prompt + index.prompts[prompt].n_greedy
}

/// The shortest prompt with full logits, the shortest that ends with an EOS, and the shortest of those that end by length on a knife edge:
/// between them they have both kinds of golden, clear and unclear margins, and both reasons to stop. A prompt of one token adds nothing to
/// them: at its first position rotation, mask and cache do nothing.
fn chosen(index: &Index) -> Vec<usize> {
    let shortest = |keep: &dyn Fn(&PromptEntry) -> bool| {
        let mine = (0..index.prompts.len()).filter(|i| index.prompts[*i].n_prompt > 1 && keep(&index.prompts[*i]));
        mine.min_by_key(|i| length(index, *i))
    };
    let mut chosen: Vec<usize> = [
        shortest(&|prompt| prompt.full),
        shortest(&|prompt| prompt.stop == Stop::Eos),
        shortest(&|prompt| prompt.stop == Stop::Length && prompt.margin_class == MarginClass::Knife),
    ]
    .into_iter()
    .flatten()
    .collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

impl Opened {
    fn prompt(&self, place: usize) -> Result<&PromptGolden, String> {
        let found = self.prompts.iter().find(|(at, _)| *at == place);
        found.map(|(_, prompt)| prompt.as_ref()).ok_or_else(|| format!("prompt {place} was not read"))
    }

    fn prompt_of_values(&self, place: usize) -> Option<&PromptGolden> {
        self.of_values.iter().find(|(at, _)| *at == place).map(|(_, prompt)| prompt.as_ref())
    }

    /// How far the logits of `answers` are from those of the unbroken model, in floors of the golden, at most over `prompts`. Infinite where
    /// they are not finite, of another shape, or not there.
    pub fn effect(&self, prompts: &[usize], answers: &dyn Answers) -> Result<f64, String> {
        let clean = Observer::new(&self.clean.0, &self.clean.1);
        let mut most = 0.0;
        for place in prompts {
            let golden = self.prompt(*place)?;
            let question = Question::logits(&golden.forced_ids());
            let values = |answers: &dyn Answers| match answers.ask(&question).as_deref() {
                Ok(Answer::Logits(logits)) => widen(&logits.values),
                _ => Vec::new(),
            };
            let reference = values(&clean);
            if reference.is_empty() {
                return Err("the unbroken model does not answer".to_owned());
            }
            let moved = relative_rms(&reference, &values(answers)).unwrap_or(f64::INFINITY) / golden.floor.get();
            if outdoes(moved, most) {
                most = moved;
            }
        }
        Ok(most)
    }
}

/// What stands in the model's place.
#[derive(Debug, Clone, Copy)]
pub enum Plant {
    /// The model as it is, by the way that artifact defects take.
    Control,
    /// The model as it is, by the way that runtime defects take.
    Layered,
    /// A defect at a strength.
    Defect(Make, f64),
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
    effect: OnceLock<Result<f64, String>>,
    live: Mutex<Option<Arc<Live>>>,
    to_come: AtomicUsize,
}

struct Live {
    sessions: Sessions,
    memory: Memory,
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

    fn forget(&self) {
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
            Plant::Defect(Make::Artifact(edit), strength) => {
                let mut checkpoint = opened.checkpoint.clone();
                let mut surgery = Surgery::new(&mut checkpoint).map_err(|error| error.to_string())?;
                edit(&mut surgery, strength).map_err(|error| error.to_string())?;
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
    fn live(&self, opened: &Opened) -> Result<Arc<Live>, String> {
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
    pub fn effect(&self) -> Result<f64, String> {
        let measure = || {
            let opened = self.bed.open()?;
            let live = self.live(&opened)?;
            opened.effect(&self.bed.prompts, &Observer::new(&live.sessions, &live.memory))
        };
        self.effect.get_or_init(measure).clone()
    }

    /// Whether it moves the logits, if that was measured.
    pub fn moved(&self) -> Option<bool> {
        self.effect.get()?.as_ref().ok().map(|effect| !(*effect < STILL))
    }

    /// Whether an artifact defect changes the tokenizer, or what the configuration says beside the arithmetic.
    pub fn is_elsewhere(&self) -> Result<bool, String> {
        let Plant::Defect(Make::Artifact(edit), strength) = self.plant else { return Ok(false) };
        let opened = self.bed.open()?;
        let mut checkpoint = opened.checkpoint.clone();
        let mut surgery = Surgery::new(&mut checkpoint).map_err(|error| error.to_string())?;
        edit(&mut surgery, strength).map_err(|error| error.to_string())?;
        let limits = |checkpoint: &Checkpoint| {
            let config = Config::parse(&checkpoint.config, checkpoint.generation_config.as_ref(), &checkpoint.config_file());
            config.map(|config| (config.n_ctx, config.bos, config.eos)).map_err(|error| error.to_string())
        };
        Ok(checkpoint.tokenizer != opened.checkpoint.tokenizer || limits(&checkpoint)? != limits(&opened.checkpoint)?)
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
                let artifact = self.record.is_some_and(|record| record.kind == Kind::Artifact);
                // Where generation stops is a matter of the prompt: one that ends in EOS has to be among them.
                let any = holds_a_runtime_against_itself(check) && !check.needs.contains(&Op::Generate);
                let most = if artifact && any { 1 } else { usize::MAX };
                for place in self.bed.prompts_of(check).into_iter().take(most) {
                    let golden = opened.prompt(place)?;
                    cases.push(case(Some(opened.prompt_of_values(place).unwrap_or(golden)), Some(golden), None));
                }
            }
            Per::Chat(_) => cases.extend(self.bed.styles_of(check).into_iter().map(|i| Case { style: Some(i), ..case(None, None, None) })),
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
