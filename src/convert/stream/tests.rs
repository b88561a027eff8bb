use super::*;
use crate::convert::source::Files;

/// Numbers of both signs and many magnitudes.
fn numbers(n: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..n).map(|_| next() * next() * 4.0).collect()
}

/// What lies where, by definition: the place among the stored elements of logical element (row, column).
fn place(order: Order, (rows, columns): (usize, usize), row: usize, column: usize) -> usize {
    match order {
        Order::RowMajor => row * columns + column,
        Order::InterleavedHeads(heads) => interleaved(row, rows / heads) * columns + column,
        Order::Transposed => column * rows + row,
    }
}

fn stored(logical: &[f32], order: Order, shape: (usize, usize)) -> Vec<f32> {
    let mut out = vec![0.0; logical.len()];
    for row in 0..shape.0 {
        for column in 0..shape.1 {
            out[place(order, shape, row, column)] = logical[row * shape.1 + column];
        }
    }
    out
}

/// A tensor of that logical shape in that type and order.
fn tensor(dtype: Dtype, order: Order, shape: (usize, usize)) -> Tensor {
    let values = stored(&numbers(shape.0 * shape.1), order, shape);
    let as_stored = if order == Order::Transposed { vec![shape.1, shape.0] } else { vec![shape.0, shape.1] };
    Tensor::from_f32(dtype, as_stored, &values).unwrap().in_order(order).unwrap()
}

fn run(tensor: &Tensor, dtype: Dtype, order: Order, exact: bool) -> Result<(Vec<u8>, Losses)> {
    let files = Files::default();
    let reader = Reader::new(&files, tensor)?;
    let job = Job { name: "t", reader, tensor, dtype, order, exact, file: Path::new("source") };
    let mut bytes = Vec::new();
    let losses = job.run(&mut |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    Ok((bytes, losses))
}

const ORDERS: [Order; 3] = [Order::RowMajor, Order::InterleavedHeads(2), Order::Transposed];

/// Every type and order to every other, against the definition: widen all, reorder all, quantize all.
#[test]
fn every_way_is_that_of_the_naive_twin() {
    let types = [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::Q8_0, Dtype::Q4_0, Dtype::Q4_1, Dtype::Q5_1, Dtype::AprQ8, Dtype::AprQ4];
    // Both dimensions whole blocks, and an odd one for the types that have none.
    for shape in [(64, 96), (12, 5)] {
        let fits = |dtype: &Dtype| shape == (64, 96) || matches!(dtype.block().0, 1) || *dtype == Dtype::AprQ4;
        let orders =
            |dtype: Dtype| ORDERS.into_iter().filter(move |order| dtype != Dtype::AprQ4 || !matches!(order, Order::InterleavedHeads(_)));
        for from in types.into_iter().filter(fits) {
            for (to, order) in types.into_iter().filter(fits).flat_map(|to| orders(from).map(move |order| (to, order))) {
                let source = tensor(from, order, shape);
                for due in orders(to) {
                    let (bytes, _) = run(&source, to, due, false).unwrap();
                    let moved = stored(&source.to_f32(), due, shape);
                    let expected = match way(&source, to, due) {
                        Way::Values => quantize(to, &moved, moved.len()).unwrap(),
                        _ => {
                            let mut values = vec![0.0; moved.len()];
                            dequantize(to, &bytes, &mut values);
                            assert!(values == moved, "{from} {order:?} to {to} {due:?}: what travels exactly");
                            bytes.clone()
                        }
                    };
                    assert!(bytes == expected, "{from} {order:?} to {to} {due:?} {shape:?}");
                }
            }
        }
    }
}

/// Pieces and shares are cut at the same places whatever the length; the scale of a whole tensor is that of all its pieces.
#[test]
fn tensors_of_several_pieces_are_those_of_one() {
    let shape = (3, PIECE / 2 + 256);
    for dtype in [Dtype::AprQ8, Dtype::AprQ4, Dtype::Q8_0, Dtype::F16] {
        let mut values = numbers(shape.0 * shape.1);
        values[2 * PIECE / 2 + 700] = -77.0;
        let source = Tensor::from_f32(Dtype::F32, vec![shape.0, shape.1], &values).unwrap();
        let (bytes, _) = run(&source, dtype, Order::RowMajor, false).unwrap();
        assert!(bytes == quantize(dtype, &values, values.len()).unwrap(), "{dtype}");
    }
    let source = Tensor::from_f32(Dtype::F32, vec![0, 4], &[]).unwrap();
    assert_eq!(run(&source, Dtype::AprQ8, Order::RowMajor, false).unwrap().0, quantize(Dtype::AprQ8, &[], 4).unwrap());
}

#[test]
fn a_type_that_stays_is_copied_and_q4_0_travels_to_apr_and_back() {
    for dtype in [Dtype::Q4K, Dtype::Q6K, Dtype::Q3K, Dtype::Iq4Xs] {
        let bytes: Vec<u8> = (0..4 * 2 * dtype.block().1).map(|i| (i * 37 % 251) as u8).collect();
        let source = Tensor::owned(dtype, vec![4, 512], bytes.clone()).unwrap();
        assert_eq!(run(&source, dtype, Order::RowMajor, true).unwrap().0, bytes, "{dtype}");
        let (moved, _) = run(&source, dtype, Order::InterleavedHeads(1), true).unwrap();
        let back = Tensor::owned(dtype, vec![4, 512], moved).unwrap().in_order(Order::InterleavedHeads(1)).unwrap();
        assert_eq!(run(&back, dtype, Order::RowMajor, true).unwrap().0, bytes, "{dtype}");
    }
    let source = tensor(Dtype::Q4_0, Order::InterleavedHeads(2), (64, 96));
    let (apr, losses) = run(&source, Dtype::AprQ4, Order::RowMajor, true).unwrap();
    assert_eq!(losses, Losses::default());
    let apr = Tensor::owned(Dtype::AprQ4, vec![64, 96], apr).unwrap();
    assert_eq!(run(&apr, Dtype::Q4_0, Order::InterleavedHeads(2), true).unwrap().0, source.bytes());
}

/// AprQ4 counts such scales as 0, so Q4_0 with one cannot travel there; the other way the number that was meant is 0.
#[test]
fn a_scale_that_apr_counts_as_zero_does_not_travel() {
    let mut block = [0x88u8; 18];
    block[..2].copy_from_slice(&[1, 0]);
    block[17] = 0x98;
    let source = Tensor::owned(Dtype::Q4_0, vec![1, 32], block.to_vec()).unwrap();
    assert_eq!(run(&source, Dtype::AprQ4, Order::RowMajor, false).unwrap().1, Losses { zeroed: 1 });
    assert_eq!(run(&source, Dtype::AprQ4, Order::RowMajor, true).unwrap_err().reason(), "cannot-travel");
    let source = Tensor::owned(Dtype::AprQ4, vec![1, 32], block.to_vec()).unwrap();
    let (bytes, _) = run(&source, Dtype::Q4_0, Order::RowMajor, true).unwrap();
    assert_eq!(Tensor::owned(Dtype::Q4_0, vec![1, 32], bytes).unwrap().to_f32(), source.to_f32());
}

#[test]
fn values_that_a_type_cannot_hold_are_refused_by_element() {
    let source = |value| {
        let mut values = vec![1.0; 96];
        values[70] = value;
        Tensor::from_f32(Dtype::F32, vec![3, 32], &values).unwrap()
    };
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for dtype in [Dtype::F16, Dtype::Q8_0, Dtype::AprQ8, Dtype::AprQ4] {
            let refusal = run(&source(value), dtype, Order::RowMajor, false).unwrap_err();
            assert_eq!(refusal.to_string(), format!("source: tensor `t`: element 70 of 96 is {value}, a finite number is due"), "{dtype}");
        }
    }
    assert!(run(&source(65519.0), Dtype::F16, Order::RowMajor, false).is_ok());
    let refusal = run(&source(65520.0), Dtype::F16, Order::RowMajor, false).unwrap_err().to_string();
    assert_eq!(refusal, "source: tensor `t`: element 70 is 6.552e4, which overflows F16; use bf16, f32, or another quantization");
    for dtype in [Dtype::Q8_0, Dtype::Q4_0, Dtype::Q4_1, Dtype::Q5_0, Dtype::Q5_1] {
        assert!(run(&source(1e5), dtype, Order::RowMajor, false).is_ok(), "{dtype}");
        let refusal = run(&source(1e8), dtype, Order::RowMajor, false).unwrap_err();
        assert!(refusal.to_string().contains("element 70 is 1e8, which overflows"), "{refusal}");
    }
}

/// The block that overflows is to blame, whatever larger number another one holds: the spread of the first fits, the least number of the second
/// does not.
#[test]
fn a_block_answers_for_its_own_numbers() {
    let mut values = vec![7e5; 64];
    values[..32].fill(0.0);
    values[5] = 9e5;
    let source = Tensor::from_f32(Dtype::F32, vec![2, 32], &values).unwrap();
    let refusal = run(&source, Dtype::Q4_1, Order::RowMajor, false).unwrap_err();
    assert!(refusal.to_string().contains("element 32 is 7e5, which overflows"), "{refusal}");
}

#[test]
fn what_becomes_zero_in_a_scalar_type_is_counted() {
    let source = Tensor::from_f32(Dtype::F32, vec![4], &[0.0, 1e-9, -1e-9, 6e-8]).unwrap();
    assert_eq!(run(&source, Dtype::F16, Order::RowMajor, false).unwrap().1, Losses { zeroed: 2 });
    assert_eq!(run(&source, Dtype::BF16, Order::RowMajor, false).unwrap().1, Losses { zeroed: 0 });
}
