//! How far the elements of a tensor may be off, by type.

use super::super::fixture::{Fake, Fixture};
use super::*;
use crate::form::Form;
use crate::observation::{Answer, Failure, Question};
use crate::verdict::Outcome;

fn pair<'a>(fixture: &'a Fixture, dtype: &str, source: &[f64], values: &[f64]) -> Pair<'a> {
    Pair { entry: &fixture.model.index.tensors[0], dtype: dtype.to_owned(), source: source.to_vec(), values: values.to_vec(), row: 2 }
}

/// From -0.5 to 1 in one block: how far the first element may be off, by the arithmetic of each type.
#[test]
fn each_type_has_its_own_reach() {
    let fixture = Fixture::of(Form::converted("gguf", "q8_0", "F32"));
    let rounding = 1.0 / 2048.0;
    let due = [
        ("F32", 0.0),
        ("F16", 0.5 / 2048.0),
        ("BF16", 0.5 / 256.0),
        ("Q8_0", 1.0 / 254.0 + rounding),
        ("AprQ8", 1.0 / 254.0),
        ("Q4_0", 0.125 + rounding),
        ("Q5_0", 0.0625 + rounding),
        ("AprQ4", 1.0 / 14.0 + rounding),
        ("Q4_1", 1.5 / 30.0 + 2.0 * rounding),
        ("Q5_1", 1.5 / 62.0 + 2.0 * rounding),
    ];
    for (dtype, due) in due {
        let off = pair(&fixture, dtype, &[-0.5, 1.0], &[-0.4, 1.0]);
        let (reach, block) = reach(&fixture.case(None, None), dtype).unwrap();
        let (share, error, at) = farthest(&off, &reach, block);
        assert!((error - 0.1).abs() < 1e-12 && at == 0, "{dtype}");
        assert!((error / share - due).abs() <= 3e-6, "{dtype}: {} is allowed, {due} is due", error / share);
    }
}

#[test]
fn a_tensor_of_zeros_stays_one() {
    let fixture = Fixture::new();
    assert_eq!(drift_of_nothing(&pair(&fixture, "F32", &[0.0, 0.0], &[0.0, -0.0])), 0.0);
    assert_eq!(drift_of_nothing(&pair(&fixture, "F32", &[0.0, 0.0], &[0.0, 1e-9])), f64::INFINITY);
}

/// The rows of a square matrix of 64, four heads of 16, in other orders: every row, or column, is put where it goes, one at a time.
#[test]
fn the_order_of_a_matrix_is_named() {
    const N: usize = 64;
    type Place = fn(row: usize, column: usize) -> (usize, usize);
    let orders: [(&str, Place); 4] = [
        ("transposed", |row, column| (column, row)),
        // The rows of each half of a head take turns.
        ("with neighbouring rows of each head paired", |row, column| match row % 16 {
            low @ 0..8 => (row / 16 * 16 + 2 * low, column),
            high => (row / 16 * 16 + 2 * (high - 8) + 1, column),
        }),
        // Rows of even number go to the first half of a head.
        ("with paired rows of each head set apart", |row, column| match row % 16 {
            even if even % 2 == 0 => (row / 16 * 16 + even / 2, column),
            odd => (row / 16 * 16 + 8 + (odd - 1) / 2, column),
        }),
        ("with its rows backwards", |row, column| (N - 1 - row, column)),
    ];
    let fixture = Fixture::of(Form::converted("gguf", "f32", "F32"));
    for (name, to) in orders {
        let tamper = |question: &Question, answer: Result<Answer, Failure>| match (question, answer) {
            (Question::Weights { tensor }, Ok(Answer::Weights(values))) if tensor.contains("layers.1.self_attn.o_proj") => {
                let mut moved = vec![0.0; N * N];
                for (k, value) in values.iter().enumerate() {
                    let (row, column) = to(k / N, k % N);
                    moved[row * N + column] = *value;
                }
                Ok(Answer::Weights(moved))
            }
            (_, answer) => answer,
        };
        let verdict = super::super::find("ROSETTA-DIFF").unwrap().judge(&fixture.case(None, None), &Fake { fixture: &fixture, tamper });
        assert_eq!(verdict.outcome, Outcome::Falsified, "{name}: {verdict:#?}");
        assert_eq!(verdict.observed, format!("it is closer to the source {name}: 0.000e0 of the distance"));
        assert_eq!(verdict.place.tensor.as_deref(), Some("model.layers.1.self_attn.o_proj.weight"));
    }
}
