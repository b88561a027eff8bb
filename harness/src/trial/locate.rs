//! Where a red row about logits comes from: the first stage that differs, seen on the runtime that failed, in the same trial.
//!
//! A row on a prompt whose golden has sketches looks at that prompt, and the rows of the sketches share what is asked. Any other row looks, once
//! for its cell, at the shortest prompt that has them.

use std::sync::Arc;

use ground_truth_falsification::check::{self, Case};
use ground_truth_falsification::observation::{Answer, Answers, Mode, Positions, Question};
use ground_truth_falsification::verdict::{Outcome, Verdict};

use super::minimal::{self, Ruler};
use super::open::OpenCell;
use crate::diagnosis::stage;
use crate::evidence::Minimal;
use crate::observe::{Memory, Observer, Sessions};

/// The claim whose red rows are looked into.
pub(super) const CLAIM: &str = "F-G4";

/// The checks that name a stage, in the order in which they are asked.
pub(crate) const BY_STAGE: [&str; 2] = ["F-G4-sketch-prefill", "F-G4-sketch-decode"];

/// The first stage that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located {
    stage: String,
    /// The prompt that shows it, where it is another than the row's.
    prompt: Option<String>,
}

impl Located {
    /// Puts it into a verdict, which stays what it is.
    pub(super) fn tell(&self, verdict: &mut Verdict) {
        verdict.place.stage = Some(self.stage.clone());
        if let Some(prompt) = &self.prompt {
            verdict.observed.push_str(&format!("; the first wrong stage, on prompt `{prompt}`, is {}", stage::described(&self.stage)));
        }
    }
}

/// What the checks on sketches say of the prompt of `case`.
fn first_stage(case: &Case, answers: &dyn Answers) -> Option<String> {
    let verdicts = BY_STAGE.into_iter().filter_map(|id| Some(check::find(id)?.judge(case, answers)));
    verdicts.filter(|verdict| verdict.outcome == Outcome::Falsified).find_map(|verdict| verdict.place.stage)
}

/// The smallest question that still shows wrong logits.
pub(super) fn minimal(case: &Case, observer: &Observer<'_>, sessions: &Sessions) -> Option<Minimal> {
    let golden = case.prompt?;
    let ruler = Ruler::new(golden, case.tolerances)?;
    let whole = observer.ask(&Question::logits(&golden.forced_ids())).ok()?;
    let Answer::Logits(whole) = &*whole else { return None };
    minimal::minimal(&ruler, whole, |ids| {
        let question = Question::Logits { ids: ids.to_vec(), positions: Positions::All, mode: Mode::Whole };
        sessions.ask(&question).ok().map(Arc::new)
    })
}

impl OpenCell {
    /// The first stage that differs, where the runtime shows stages.
    pub(super) fn located(&self, case: &Case, observer: &Observer<'_>, sketches: bool) -> Option<Located> {
        if !sketches {
            return None;
        }
        if case.prompt.is_some_and(|golden| golden.full.is_some()) {
            return first_stage(case, observer).map(|stage| Located { stage, prompt: None });
        }
        self.located.get_or_init(|| self.locate_elsewhere(case)).clone()
    }

    fn locate_elsewhere(&self, case: &Case) -> Option<Located> {
        let prompts = &self.cell.entry.golden.index.prompts;
        let mut full: Vec<usize> = (0..prompts.len()).filter(|i| prompts[*i].full).collect();
        full.sort_by_key(|i| prompts[*i].n_prompt);
        let golden = full.into_iter().find_map(|i| self.read_of_values(i).ok().flatten().filter(|golden| golden.full.is_some()))?;
        let (sessions, memory) = (self.loaded().ok()?, Memory::default());
        let case = Case { prompt: Some(&golden), ..*case };
        let stage = first_stage(&case, &Observer::new(&sessions, &memory))?;
        Some(Located { stage, prompt: Some(golden.prompt.name.clone()) })
    }
}
