//! How far the elements of a tensor may be off, by type.

use super::super::fixture::Fixture;
use super::*;
use crate::form::Form;

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
