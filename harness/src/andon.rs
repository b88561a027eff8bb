//! The Andon board: one line for each model while a matrix is judged, its stages green, yellow or red.
//!
//! | stage | rows |
//! |---|---|
//! | conversion | the column is made, and making it again or another way gives the same |
//! | validation | what is in the file: structure, configuration, tensors, tokenizer; the gate |
//! | inference | what the runtime answers, exactly: shapes, ids, invariances, edges |
//! | accuracy | what it answers, within a bound |
//!
//! Green: every row so far holds. Yellow: a failure that was expected, or a flagged row (`gate`). Red: any other failure. The board is for a
//! terminal; elsewhere a line is written when a model's last row was judged, and nothing before.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use ground_truth_falsification::check::Check;
use ground_truth_falsification::observation::Op;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::escape;
use crate::evidence::Record;
use crate::matrix::Task;

/// How often a second the board is drawn at most.
const FRAMES: u8 = 8;

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Making the column.
    Conversion,
    /// What is in the file.
    Validation,
    /// What the runtime answers, exactly.
    Inference,
    /// What it answers, within a bound.
    Accuracy,
}

impl Stage {
    /// Every stage, in their order.
    pub const ALL: [Stage; 4] = [Stage::Conversion, Stage::Validation, Stage::Inference, Stage::Accuracy];

    /// The stage of a row.
    pub fn of(task: &Task) -> Self {
        match task {
            Task::Conversion { .. } => Stage::Conversion,
            Task::Problem(_) | Task::Gate { .. } | Task::List { .. } => Stage::Validation,
            Task::Check { check, .. } => Self::of_check(check),
        }
    }

    fn of_check(check: &Check) -> Self {
        let makes = ["F-P1", "F-P5", "ROUNDTRIP", "SPC"].contains(&check.claim) || check.id == "INV-convert";
        let reads =
            |op: &Op| matches!(op, Op::Metadata | Op::Tensors | Op::Tokenize | Op::Detokenize | Op::Container | Op::Weights | Op::Chat);
        match (makes, check.needs.iter().all(reads), check.is_exact()) {
            (true, ..) => Stage::Conversion,
            (false, true, _) => Stage::Validation,
            (false, false, true) => Stage::Inference,
            (false, false, false) => Stage::Accuracy,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Conversion => "conversion",
            Stage::Validation => "validation",
            Stage::Inference => "inference",
            Stage::Accuracy => "accuracy",
        }
    }
}

/// How the rows of a stage stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Light {
    to_come: usize,
    green: usize,
    yellow: usize,
    red: usize,
}

impl Light {
    fn judged(self) -> usize {
        self.green + self.yellow + self.red
    }

    /// A word and its colour: red as soon as one row is, green once all are.
    fn word(self) -> (String, &'static str) {
        match self {
            Light { red: 1.., .. } => (format!("RED {}", self.red), "\u{1b}[31m"),
            Light { yellow: 1.., .. } => (format!("yellow {}", self.yellow), "\u{1b}[33m"),
            Light { to_come: 0, green: 0, .. } => ("none".to_owned(), ""),
            Light { to_come: 0, .. } => ("green".to_owned(), "\u{1b}[32m"),
            _ => (format!("{} of {}", self.judged(), self.judged() + self.to_come), ""),
        }
    }
}

/// The lights of one model, in the order of [`Stage::ALL`].
#[derive(Debug, Clone, Default)]
struct Lights([Light; 4]);

impl Lights {
    fn enter(&mut self, stage: Stage, record: &Record) {
        let light = &mut self.0[stage as usize];
        light.to_come = light.to_come.saturating_sub(1);
        if record.is_red() {
            light.red += 1;
        } else if record.is_expected() || !record.flags.is_empty() {
            light.yellow += 1;
        } else {
            light.green += 1;
        }
    }

    fn is_finished(&self) -> bool {
        self.0.iter().all(|light| light.to_come == 0)
    }

    /// The stages in words; `colour` is for a terminal.
    fn text(&self, colour: bool) -> String {
        let mut text = String::new();
        for (stage, light) in std::iter::zip(Stage::ALL, &self.0) {
            let (word, code) = light.word();
            let shown = format!("{word:<11}");
            let shown = if colour && !code.is_empty() { format!("{code}{shown}\u{1b}[0m") } else { shown };
            let _ = write!(text, "{} {shown}", stage.name());
        }
        text.trim_end().to_owned()
    }
}

/// The board of a run.
pub struct Board {
    models: Mutex<BTreeMap<String, (Lights, Option<ProgressBar>)>>,
    all: Option<ProgressBar>,
    _group: Option<MultiProgress>,
}

impl Board {
    /// Whether somebody watches: both streams are a terminal.
    pub fn is_watched() -> bool {
        std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
    }

    /// A board of rows to come, each with its model and what it is about.
    pub fn new(rows: impl IntoIterator<Item = (String, Stage)>, watched: bool) -> Self {
        let mut lights: BTreeMap<String, Lights> = BTreeMap::new();
        let mut n = 0;
        for (model, stage) in rows {
            lights.entry(model).or_default().0[stage as usize].to_come += 1;
            n += 1;
        }
        let group = watched.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(FRAMES)));
        let width = lights.keys().map(|model| model.chars().count()).max().unwrap_or(0);
        let bar = |style: &str, length| {
            let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
            group.as_ref().map(|group| group.add(ProgressBar::new(length).with_style(style)))
        };
        let models = lights
            .into_iter()
            .map(|(model, lights)| {
                let shown = bar("{prefix}  {msg}", 0);
                if let Some(bar) = &shown {
                    bar.set_prefix(format!("{:<width$}", escape::line(&model)));
                    bar.set_message(lights.text(true));
                }
                (model, (lights, shown))
            })
            .collect();
        let all = bar("{pos} of {len} rows, {elapsed} gone, {eta} left", n);
        Self { models: Mutex::new(models), all, _group: group }
    }

    /// Shows a judged row. Where nobody watches, the line that is due when it was its model's last.
    pub fn enter(&self, model: &str, stage: Stage, record: &Record) -> Option<String> {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let (lights, bar) = models.get_mut(model)?;
        lights.enter(stage, record);
        if let Some(bar) = bar {
            bar.set_message(lights.text(true));
        }
        if let Some(all) = &self.all {
            all.inc(1);
        }
        (bar.is_none() && lights.is_finished()).then(|| format!("{}: {}", escape::line(model), lights.text(false)))
    }

    /// Leaves the lines of the models as they are, and takes the count of rows away.
    pub fn end(&self) {
        for (_, bar) in self.models.lock().unwrap_or_else(PoisonError::into_inner).values() {
            if let Some(bar) = bar {
                bar.abandon();
            }
        }
        if let Some(all) = &self.all {
            all.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use ground_truth_falsification::check;
    use ground_truth_falsification::verdict::Verdict;

    use super::*;

    fn record(verdict: &str, flags: &[&str]) -> Record {
        let mut record = Record::of("run", "m::x", &Verdict::corroborated(1, "a", "a"));
        (record.verdict, record.flags) = (verdict.to_owned(), flags.iter().map(|flag| (*flag).to_owned()).collect());
        record
    }

    #[test]
    fn every_stage_has_checks_and_each_stands_where_a_reader_looks_for_it() {
        let stage = |id: &str| Stage::of_check(check::find(id).unwrap());
        assert_eq!(stage("ROUNDTRIP"), Stage::Conversion);
        assert_eq!(stage("SPC-rms"), Stage::Conversion);
        assert_eq!(stage("F-T1"), Stage::Validation);
        assert_eq!(stage("F-RS6-ids"), Stage::Validation);
        assert_eq!(stage("F-P3-stepwise"), Stage::Inference);
        assert_eq!(stage("CANARY"), Stage::Inference);
        assert_eq!(stage("F-G4-logits"), Stage::Accuracy);
        assert_eq!(stage("PPL"), Stage::Accuracy);
        for stage in Stage::ALL {
            assert!(check::all().iter().any(|check| Stage::of_check(check) == stage), "{}", stage.name());
        }
    }

    #[test]
    fn a_light_is_red_before_all_else_and_green_only_when_all_rows_hold() {
        let board =
            Board::new([("m".to_owned(), Stage::Accuracy), ("m".to_owned(), Stage::Accuracy), ("m".to_owned(), Stage::Inference)], false);
        assert_eq!(board.enter("m", Stage::Accuracy, &record("corroborated", &[])), None);
        assert!(board.models.lock().unwrap()["m"].0.text(false).contains("accuracy 1 of 2"));
        assert_eq!(board.enter("m", Stage::Inference, &record("corroborated", &["slow"])), None);
        let last = board.enter("m", Stage::Accuracy, &record("error", &[])).unwrap();
        assert_eq!(last, "m: conversion none       validation none       inference yellow 1   accuracy RED 1");
        assert_eq!(Light { green: 3, ..Light::default() }.word().0, "green");
        assert_eq!(Light { green: 3, yellow: 1, ..Light::default() }.word().0, "yellow 1");
        assert_eq!(Light { green: 3, yellow: 1, red: 1, to_come: 5 }.word().0, "RED 1");
    }

    #[test]
    fn a_model_that_the_board_does_not_have_is_not_shown_and_a_hostile_name_is_escaped() {
        let board = Board::new([("\u{1b}[31m".to_owned(), Stage::Validation)], false);
        assert_eq!(board.enter("other", Stage::Validation, &record("corroborated", &[])), None);
        let line = board.enter("\u{1b}[31m", Stage::Validation, &record("corroborated", &[])).unwrap();
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
}
