//! A carried model, or a column of it, in which defects are tried: its golden, verified and read once.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use ground_truth::Checkpoint;
use ground_truth_falsification::arithmetic::Arithmetic;
use ground_truth_falsification::check::{Check, Per, Scope};
use ground_truth_falsification::form::Form;
use ground_truth_falsification::golden::{ChatIndex, Dequantized, Index, LlamaCpp, MarginClass, ModelGolden, PromptEntry, PromptGolden};
use ground_truth_falsification::metric::{outdoes, relative_rms, widen};
use ground_truth_falsification::observation::{Answer, Answers, Failure, Question, Stop};
use ground_truth_falsification::tolerance::{NATIVE, Tolerances};

use super::bench::DEADLINES;
use super::neighbours::{self, Street};
use crate::defect::runtime::remembered;
use crate::golden_store::GoldenStore;
use crate::golden_store::derived::{Beside, Derived, LlamaCppIndex};
use crate::make::Step;
use crate::observe::{Memory, Observer, Sessions};
use crate::runtime::native::NativeRuntime;
use crate::runtime::{Artifact, Format, Runtime};

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
    /// The engine on it, asked once for each question.
    pub remembered: Arc<dyn Runtime>,
    /// The other forms of it.
    pub street: Arc<Street>,
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

    /// The folder of the model as published.
    pub fn model_folder(&self) -> &Path {
        &self.model.path
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
    /// The golden of a prompt, by its place in the index.
    pub fn prompt(&self, place: usize) -> Result<&PromptGolden, String> {
        let found = self.prompts.iter().find(|(at, _)| *at == place);
        found.map(|(_, prompt)| prompt.as_ref()).ok_or_else(|| format!("prompt {place} was not read"))
    }

    /// The same, for the values that a column holds, where it rounds and they were asked.
    pub fn prompt_of_values(&self, place: usize) -> Option<&PromptGolden> {
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
