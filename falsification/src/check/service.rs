//! What a user meets first: V1, SELFTEST, BENCH and QA. The artifact loads, answers, is consistent with itself, and goes from text to text.

use super::{Breadth, Case, Check, Judged, Per, ask};
use crate::golden::MarginClass;
use crate::observation::{Answers, Op, Question, Stop};
use crate::verdict::{Measure, Owner, Place, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "V1",
        claim: "V1",
        sentence: "the artifact loads, without a warning, and answers the first question that anybody asks",
        refuted_by: "a refusal, a warning, or an answer that is not finite",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Logits, Op::Container],
        bounds: &[],
        judge: loads,
    },
    Check {
        id: "SELFTEST",
        claim: "SELFTEST",
        sentence: "what the artifact says of itself fits together: its sizes, its tensors, its tokenizer and the width of its answers",
        refuted_by: "a size that another part contradicts, or that no part reports",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Metadata, Op::Tensors, Op::Tokenize, Op::Detokenize, Op::Logits],
        bounds: &[],
        judge: selftest,
    },
    Check {
        id: "BENCH",
        claim: "BENCH",
        sentence: "a real run has a speed: its tokens are those of an untimed run, and took a time that is neither nothing nor endless",
        refuted_by: "no token, other tokens, or a speed that is zero, negative or not finite",
        per: Per::Cell(|_| true),
        breadth: Breadth::Everywhere,
        needs: &[Op::Timed, Op::Generate],
        bounds: &[],
        judge: bench,
    },
    Check {
        id: "QA",
        claim: "QA",
        sentence: "asked in text it answers in text: its own tokenizer, its own greedy tokens and its own decoding give the golden's answer",
        refuted_by: "other ids, other tokens, another stop, or other bytes on the way from text to text",
        per: Per::Prompt(|_, prompt| prompt.margin_class == MarginClass::Wide && prompt.category != "control"),
        breadth: Breadth::Short,
        needs: &[Op::Tokenize, Op::Generate, Op::Detokenize],
        bounds: &[],
        judge: qa,
    },
];

fn loads(case: &Case, answers: &dyn Answers) -> Judged {
    let container = ask::container(answers)?;
    if let Some(warning) = container.warnings.first() {
        return Ok(Verdict::falsified("loading without a warning", warning.clone()).owned_by(Owner::File));
    }
    let first = case.model.index.config.bos.unwrap_or(0);
    let logits = ask::logits(case, answers, &Question::logits(&[first]), 1)?;
    Ok(Verdict::corroborated(logits.values.len(), format!("logits after token {first}"), "so"))
}

/// What a text says to a tokenizer that is at least a tokenizer: letters, digits, a space.
const TEXT: &str = "the lamp is on 2";

fn selftest(case: &Case, answers: &dyn Answers) -> Judged {
    let metadata = ask::metadata(answers)?;
    let tensors = ask::tensors(answers)?;
    let expected = "sizes that every part of the artifact agrees on";
    let red = |observed: String, owner: Owner| Ok(Verdict::falsified(expected, observed).owned_by(owner));
    let (Some(vocab), Some(hidden), Some(layers)) = (metadata.vocab_size, metadata.hidden_size, metadata.n_layers) else {
        return red(format!("no vocabulary, width or depth: {:?}", *metadata), Owner::Config);
    };
    let is_embedding = |name: &str| name.ends_with("embed_tokens.weight") || name.ends_with("wte.weight");
    let Some(embedding) = tensors.iter().find(|row| is_embedding(&row.name)) else {
        return red("no embedding".to_owned(), Owner::File);
    };
    if embedding.shape != [vocab, hidden] {
        return red(format!("an embedding of shape {:?}, metadata say ({vocab}, {hidden})", embedding.shape), Owner::File);
    }
    let blocks = tensors.iter().filter(|row| row.name.ends_with("input_layernorm.weight") || row.name.ends_with("ln_1.weight")).count();
    if blocks != layers {
        return red(format!("{blocks} blocks among the tensors, metadata say {layers}"), Owner::File);
    }
    let ids = ask::tokenize(answers, TEXT, false)?;
    if ids.is_empty() || ids.iter().any(|&id| id as usize >= vocab) {
        return red(format!("ids {} of {TEXT:?} in a vocabulary of {vocab}", ask::list(&ids)), Owner::Tokenizer);
    }
    let text = ask::detokenize(answers, &ids)?;
    // SentencePiece puts a space before a text, and some decoders leave it there.
    if String::from_utf8_lossy(&text).trim_start() != TEXT {
        return red(format!("{TEXT:?} becomes {:?}", String::from_utf8_lossy(&text)), Owner::Tokenizer);
    }
    let logits = ask::logits(case, answers, &Question::logits(&ids), ids.len())?;
    if logits.vocab != vocab {
        return red(format!("answers {} wide, a vocabulary of {vocab}", logits.vocab), Owner::Runtime);
    }
    Ok(Verdict::corroborated(6, expected, "so"))
}

/// Tokens of a timed run.
const TIMED: usize = 8;

fn bench(case: &Case, answers: &dyn Answers) -> Judged {
    let first = case.model.index.config.bos.unwrap_or(0);
    let due = TIMED.min(case.model.index.config.n_ctx.saturating_sub(1));
    let (ids, seconds) = ask::timed(answers, &[first], due)?;
    let (untimed, _) = ask::generate(answers, &[first], due, false)?;
    let expected = format!("{due} tokens in a positive, finite time, the same as untimed");
    if ids.len() != due || ids != untimed {
        let observed = format!("{} timed, {} untimed", ask::list(&ids), ask::list(&untimed));
        return Ok(Verdict::falsified(expected, observed).owned_by(Owner::Runtime));
    }
    let speed = ids.len() as f64 / seconds;
    if !(speed > 0.0 && speed.is_finite() && seconds > 0.0) {
        return Ok(Verdict::falsified(expected, format!("{seconds} s, {speed} tokens a second")).owned_by(Owner::Runtime));
    }
    let mut verdict = Verdict::corroborated(ids.len(), expected, "so");
    verdict.measures.push(Measure::printed("speed, no claim", speed, "tokens/s"));
    Ok(verdict)
}

fn qa(case: &Case, answers: &dyn Answers) -> Judged {
    let golden = ask::prompt(case)?;
    let (prompt, greedy) = (&golden.prompt, &golden.greedy);
    let ids = ask::tokenize(answers, &prompt.text, prompt.add_special_tokens)?;
    if *ids != prompt.ids {
        let expected = format!("the oracle's ids of the prompt: {}", ask::list(&prompt.ids));
        return Ok(Verdict::falsified(expected, ask::list(&ids)).owned_by(Owner::Tokenizer));
    }
    let (new, stop) = ask::generate(answers, &ids, greedy.max_new_tokens, greedy.stop_at_eos)?;
    let bytes = ask::detokenize(answers, &new)?;
    let expected = format!("{:?}, stop {}", greedy.text, greedy.stop);
    if bytes.as_slice() != greedy.text.as_bytes() || stop != greedy.stop {
        let observed = format!("{:?}, stop {stop}", String::from_utf8_lossy(&bytes));
        let place = Place { position: Some(ids.len()), ..Place::default() };
        return Ok(Verdict::falsified(expected, observed).at(place).owned_by(Owner::Kernel));
    }
    // A text that ends by itself has an EOS token at its end, and nowhere else; the last row says so.
    if stop == Stop::Eos && !new.last().is_some_and(|id| case.model.index.config.eos.contains(id)) {
        return Ok(Verdict::falsified(expected, "an end without an EOS token").owned_by(Owner::Runtime));
    }
    Ok(Verdict::corroborated(bytes.len() + new.len(), expected, "so"))
}
