//! Writing a GGUF file of version 3: everything before the data, and where the data goes.

use super::{ALIGNMENT_KEY, Array, DEFAULT_ALIGNMENT, MAGIC, Value};
use crate::format::layout::{FileLayout, TensorSpec};

/// The version that is written.
const VERSION: u32 = 3;

/// The file of these keys and tensors, in this order, each tensor aligned to `alignment` bytes.
///
/// `general.alignment` is written last where the alignment is not 32; `metadata` must not have it.
///
/// # Panics
///
/// If the alignment is no power of two, if `metadata` states one, or if a tensor has a type that GGUF does not have or a row that is not a
/// whole number of blocks: who asks for such a file has not chosen the types by [`Quantization`](crate::quant).
pub fn layout(metadata: &[(String, Value)], tensors: &[TensorSpec], alignment: u64) -> FileLayout {
    assert!(alignment.is_power_of_two(), "alignment {alignment} is no power of two");
    assert!(metadata.iter().all(|(key, _)| key != ALIGNMENT_KEY), "the alignment is not the caller's to state");
    let stated = (alignment != DEFAULT_ALIGNMENT).then(|| (ALIGNMENT_KEY.to_owned(), Value::U32(alignment as u32)));
    let mut header = MAGIC.to_vec();
    header.extend(VERSION.to_le_bytes());
    header.extend((tensors.len() as u64).to_le_bytes());
    header.extend(((metadata.len() + usize::from(stated.is_some())) as u64).to_le_bytes());
    for (key, value) in metadata.iter().chain(&stated) {
        string(&mut header, key);
        header.extend(value.type_id().to_le_bytes());
        write(&mut header, value);
    }
    let mut end = 0u64;
    let mut places = Vec::with_capacity(tensors.len());
    for TensorSpec { name, dtype, shape } in tensors {
        let (id, bytes) = (dtype.ggml_id(), dtype.bytes_of(shape));
        let (Some(id), Some(bytes)) = (id, bytes) else { panic!("`{name}`: GGUF holds no {dtype} of shape {shape:?}") };
        string(&mut header, name);
        header.extend((shape.len() as u32).to_le_bytes());
        shape.iter().rev().for_each(|dim| header.extend((*dim as u64).to_le_bytes()));
        header.extend(id.to_le_bytes());
        header.extend(end.to_le_bytes());
        places.push((end, bytes as u64));
        end = (end + bytes as u64).next_multiple_of(alignment);
    }
    header.resize(header.len().next_multiple_of(alignment as usize), 0);
    let data = header.len() as u64;
    let tensors = places.into_iter().map(|(offset, bytes)| (data + offset, bytes)).collect();
    FileLayout { header, tensors, padded: data + end, crc_footer: false }
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(value) => out.push(*value),
        Value::I8(value) => out.extend(value.to_le_bytes()),
        Value::U16(value) => out.extend(value.to_le_bytes()),
        Value::I16(value) => out.extend(value.to_le_bytes()),
        Value::U32(value) => out.extend(value.to_le_bytes()),
        Value::I32(value) => out.extend(value.to_le_bytes()),
        Value::F32(value) => out.extend(value.to_le_bytes()),
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::String(value) => string(out, value),
        Value::Array(array) => elements(out, array),
        Value::U64(value) => out.extend(value.to_le_bytes()),
        Value::I64(value) => out.extend(value.to_le_bytes()),
        Value::F64(value) => out.extend(value.to_le_bytes()),
    }
}

fn elements(out: &mut Vec<u8>, array: &Array) {
    out.extend(array.type_id().to_le_bytes());
    out.extend((array.len() as u64).to_le_bytes());
    match array {
        Array::U8(values) => out.extend_from_slice(values),
        Array::I8(values) => values.iter().for_each(|value| out.extend(value.to_le_bytes())),
        Array::U16(values) => values.iter().for_each(|value| out.extend(value.to_le_bytes())),
        Array::I16(values) => values.iter().for_each(|value| out.extend(value.to_le_bytes())),
        Array::U32(values) => values.iter().for_each(|value| out.extend(value.to_le_bytes())),
        Array::I32(values) => values.iter().for_each(|value| out.extend(value.to_le_bytes())),
        Array::F32(values) => values.iter().for_each(|value| out.extend(value.to_le_bytes())),
        Array::Bool(values) => out.extend(values.iter().map(|value| u8::from(*value))),
        Array::String(values) => values.iter().for_each(|value| string(out, value)),
        Array::U64(values) => values.iter().for_each(|value| out.extend(value.to_le_bytes())),
        Array::I64(values) => values.iter().for_each(|value| out.extend(value.to_le_bytes())),
        Array::F64(values) => values.iter().for_each(|value| out.extend(value.to_le_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::{Contents, parse};
    use super::*;
    use crate::Dtype;

    fn value() -> impl Strategy<Value = Value> {
        let array = prop_oneof![
            vec(any::<u8>(), 0..9).prop_map(Array::U8),
            vec(any::<i8>(), 0..9).prop_map(Array::I8),
            vec(any::<u16>(), 0..9).prop_map(Array::U16),
            vec(any::<i16>(), 0..9).prop_map(Array::I16),
            vec(any::<u32>(), 0..9).prop_map(Array::U32),
            vec(any::<i32>(), 0..9).prop_map(Array::I32),
            vec(any::<f32>(), 0..9).prop_map(Array::F32),
            vec(any::<bool>(), 0..9).prop_map(Array::Bool),
            vec(".*", 0..9).prop_map(Array::String),
            vec(any::<u64>(), 0..9).prop_map(Array::U64),
            vec(any::<i64>(), 0..9).prop_map(Array::I64),
            vec(any::<f64>(), 0..9).prop_map(Array::F64),
        ];
        prop_oneof![
            any::<u8>().prop_map(Value::U8),
            any::<i8>().prop_map(Value::I8),
            any::<u16>().prop_map(Value::U16),
            any::<i16>().prop_map(Value::I16),
            any::<u32>().prop_map(Value::U32),
            any::<i32>().prop_map(Value::I32),
            any::<f32>().prop_map(Value::F32),
            any::<bool>().prop_map(Value::Bool),
            ".*".prop_map(Value::String),
            array.prop_map(Value::Array),
            any::<u64>().prop_map(Value::U64),
            any::<i64>().prop_map(Value::I64),
            any::<f64>().prop_map(Value::F64),
        ]
    }

    fn tensors() -> impl Strategy<Value = Vec<TensorSpec>> {
        let dtypes: Vec<Dtype> = Dtype::ALL.into_iter().filter(|dtype| dtype.ggml_id().is_some()).collect();
        let tensor = (prop::sample::select(dtypes), vec(1..4usize, 1..5)).prop_map(|(dtype, mut shape)| {
            if let Some(row) = shape.last_mut() {
                *row *= dtype.block().0;
            }
            (dtype, shape)
        });
        let name = |(i, (dtype, shape))| TensorSpec { name: format!("tensor.{i}"), dtype, shape };
        vec(tensor, 0..6).prop_map(move |tensors| tensors.into_iter().enumerate().map(name).collect())
    }

    proptest! {
        /// What is written is read back, key by key and tensor by tensor; every tensor is aligned, and the last one padded.
        #[test]
        fn what_is_written_is_read(values in vec(value(), 0..9), tensors in tensors(), power in 3..13u32) {
            let alignment = 1u64 << power;
            let metadata: Vec<_> = values.into_iter().enumerate().map(|(i, value)| (format!("key.{i}"), value)).collect();
            let layout = layout(&metadata, &tensors, alignment);
            let mut file = layout.header.clone();
            file.resize(layout.padded as usize, 0);
            let Contents { version, alignment: stated, metadata: read, tensors: infos } = parse(&file).unwrap();
            prop_assert_eq!((version, stated), (3, alignment));
            prop_assert_eq!(&read.as_slice()[..metadata.len()], &metadata[..]);
            prop_assert_eq!(read.len(), metadata.len() + usize::from(alignment != DEFAULT_ALIGNMENT));
            let written: Vec<_> = tensors.iter().map(|spec| (&spec.name, spec.dtype, &spec.shape)).collect();
            prop_assert_eq!(infos.iter().map(|info| (&info.name, info.dtype, &info.shape)).collect::<Vec<_>>(), written);
            prop_assert_eq!(infos.iter().map(|info| (info.offset, info.bytes)).collect::<Vec<_>>(), layout.tensors.clone());
            prop_assert!(layout.tensors.iter().all(|(offset, _)| offset.is_multiple_of(alignment)));
            prop_assert!(layout.padded.is_multiple_of(alignment));
        }
    }
}
