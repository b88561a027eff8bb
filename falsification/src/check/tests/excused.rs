//! What a check excuses, and what it must not: the head of a round trip, texts without a decision, ties of llama.cpp.

use std::sync::Arc;

use super::files::stored;
use super::{Tamper, generated, of, verdicts};
use crate::check::fixture::{Fixture, right_answer};
use crate::check::shelf::Shelf;
use crate::check::{Case, find};
use crate::form::Form;
use crate::golden::MarginClass;
use crate::observation::{Answer, Answers, Failure, Peer, Peers, Question};
use crate::verdict::Outcome;

/// The way back of a file whose tensor at `at` is Q6_K, with other bytes than before.
struct OtherBytes {
    shelf: Shelf,
    at: usize,
}

struct Bent(Arc<dyn Answers + Send + Sync>, usize);

impl Answers for Bent {
    fn ask(&self, question: &Question) -> Result<Arc<Answer>, Failure> {
        let answer = self.0.ask(question).map(|answer| answer.as_ref().clone());
        let bent = stored(answer, |c| {
            c.tensors[self.1].dtype = "Q6_K".into();
            c.tensors[self.1].sha256 = "0".repeat(64);
        });
        bent.map(Arc::new)
    }
}

impl Peers for OtherBytes {
    fn peer(&self, peer: &Peer) -> Result<Arc<dyn Answers + Send + Sync>, Failure> {
        Ok(Arc::new(Bent(self.shelf.peer(peer)?, self.at)))
    }
}

/// The head of a legacy recipe is Q6_K and travels as F32; no other tensor may come back as other bytes.
#[test]
fn a_round_trip_excuses_the_head_alone() {
    let fixture = of(Form::converted("gguf", "q4_0", "F32"));
    let names: Vec<&str> = fixture.model.index.tensors.iter().map(|entry| entry.name.as_str()).collect();
    let head =
        |name: &str| name == "lm_head.weight" || name == "model.embed_tokens.weight" && fixture.model.index.config.tie_word_embeddings;
    let mut excused = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let peers = OtherBytes { shelf: Shelf(fixture.form.clone()), at };
        let before = BentFake { fixture: &fixture, at };
        let case = Case { peers: &peers, ..fixture.case(Some(&fixture.prompts[0]), None) };
        if find("ROUNDTRIP").unwrap().judge(&case, &before).is_green() {
            excused.push(*name);
        }
    }
    let due: Vec<&str> = names.iter().copied().filter(|name| head(name)).collect();
    assert_eq!(excused, due);
}

/// The fixture's right answers, with one tensor said to be Q6_K.
struct BentFake<'a> {
    fixture: &'a Fixture,
    at: usize,
}

impl Answers for BentFake<'_> {
    fn ask(&self, question: &Question) -> Result<Arc<Answer>, Failure> {
        let answer = right_answer(self.fixture, question);
        stored(answer, |c| c.tensors[self.at].dtype = "Q6_K".into()).map(Arc::new)
    }
}

/// What quantization cannot keep on a model that decided nothing is no evidence, and is said to be none.
#[test]
fn narrow_margins_are_no_evidence_of_a_token_count() {
    let mut fixture = of(Form::converted("gguf", "q8_0", "F32"));
    let undecided = |fixture: &Fixture, id: &str, prompt: Option<usize>| {
        let prompt = prompt.map(|at| &fixture.model.index.prompts[at]);
        find(id).unwrap().undecided(&fixture.scope(), prompt).is_some()
    };
    for id in ["TOKEN", "DRIFT"] {
        assert!(!undecided(&fixture, id, Some(0)), "{id}");
    }
    assert!(!undecided(&fixture, "LOGIT-CONSISTENCY", None));
    fixture.model.index.prompts.iter_mut().for_each(|prompt| prompt.margin_class = MarginClass::Knife);
    for id in ["TOKEN", "DRIFT"] {
        assert!(undecided(&fixture, id, Some(0)), "{id}");
    }
    assert!(undecided(&fixture, "LOGIT-CONSISTENCY", None));
    assert!(!undecided(&fixture, "CANARY", Some(0)) && !undecided(&fixture, "F-G4-logits", Some(0)));
    fixture.form = Form::converted("gguf", "f32", "F32");
    assert!(!undecided(&fixture, "LOGIT-CONSISTENCY", None), "nothing is rounded there");
}

/// The number that CROSS-RUNTIME turns red by is what llama.cpp itself says that the token costs.
#[test]
fn another_token_than_llama_cpp_has_costs_what_llama_cpp_says() {
    let fixture = of(Form::converted("gguf", "q8_0", "F32"));
    let judge = |tamper: Tamper| verdicts(&fixture, find("CROSS-RUNTIME").unwrap(), tamper).remove(0).1;
    let other = judge(|_, a| generated(a, |ids, _| ids[0] = (ids[0] + 1) % 256));
    assert_eq!(other.outcome, Outcome::Falsified, "{other:#?}");
    assert!(other.measures.iter().any(|measure| !measure.holds()), "{other:#?}");
}
