//! What a check excuses, and what it must not: the head of a round trip, texts without a decision, ties of llama.cpp.

use std::sync::Arc;

use super::files::stored;
use super::{Tamper, generated, logits, of, verdicts};
use crate::check::fixture::{Fixture, right_answer};
use crate::check::shelf::Shelf;
use crate::check::{Case, find};
use crate::form::Form;
use crate::golden::MarginClass;
use crate::observation::{Answer, Answers, Failure, Peer, Peers, Question};
use crate::verdict::{Outcome, Owner};

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

/// Whose fault a red row of a quantized file is, is told from the values that gguf-py read and from what the oracles answered with them.
#[test]
fn the_fault_is_the_files_or_the_kernels() {
    let fixture = of(Form::converted("gguf", "q8_0", "F32"));
    let bent: Tamper = |_, answer| logits(answer, |l| l.values.iter_mut().for_each(|x| *x *= -1.0));
    let told = |id: &str, tamper: Tamper| verdicts(&fixture, find(id).unwrap(), tamper).remove(0).1;
    let kernel = told("F-G4-logits", bent);
    assert_eq!((kernel.outcome, kernel.owner), (Outcome::Falsified, Owner::Kernel), "{kernel:#?}");
    assert!(kernel.observed.ends_with("with them: the kernel is at fault (llama.cpp agrees with the oracle)"), "{}", kernel.observed);
    let file = told("F-G4-logits", |_, answer| {
        let answer = stored(answer, |c| c.values_digest = "0".repeat(64));
        logits(answer, |l| l.values.iter_mut().for_each(|x| *x *= -1.0))
    });
    assert_eq!((file.outcome, file.owner), (Outcome::Falsified, Owner::File), "{file:#?}");
    assert!(file.observed.contains("; gguf-py reads other values in this file"), "{}", file.observed);
    let answers = told("CANARY", |_, answer| generated(answer, |ids, _| ids.iter_mut().for_each(|id| *id = (*id + 1) % 256)));
    assert_eq!((answers.outcome, answers.owner), (Outcome::Falsified, Owner::Kernel), "{answers:#?}");
    assert!(answers.observed.contains("the oracle answers otherwise with these very values"), "{}", answers.observed);
}

/// What the loader of APR reads is asked of every such file.
#[test]
fn an_apr_file_has_the_fields_that_its_loader_reads() {
    let fixture = of(Form::converted("apr", "q8", "F32"));
    let bare: Tamper = |_, answer| stored(answer, |c| c.metadata.clear());
    let verdict = verdicts(&fixture, find("V2").unwrap(), bare).remove(0).1;
    assert_eq!(verdict.outcome, Outcome::Falsified, "{verdict:#?}");
    for field in
        ["architecture", "hidden_size", "num_layers", "num_heads", "num_kv_heads", "vocab_size", "intermediate_size", "param_count"]
    {
        assert!(verdict.observed.contains(&format!("{field} is missing")), "{field}: {}", verdict.observed);
    }
}

/// As many things as the two files hold are compared.
#[test]
fn a_conversion_counts_what_it_compared() {
    let fixture = of(Form::converted("gguf", "q8_0", "F32"));
    let Ok(Answer::Container(container)) = right_answer(&fixture, &Question::Container) else { panic!("a container is due") };
    let verdict = verdicts(&fixture, find("INV-convert").unwrap(), |_, answer| answer).remove(0).1;
    assert!(verdict.is_green() && container.tensors.len() > 2 && container.metadata.len() > 2, "{verdict:#?}");
    assert_eq!(verdict.compared, (container.tensors.len() + container.metadata.len()) as u64);
}
