//! Runtimes that are wrong about the file they loaded, or about the values in it.

use super::faults::stateless;
use super::{Factory, Reply, Request, Setting};
use crate::runtime::Container;

/// Changes what is said of the file.
fn on_container(change: impl Fn(&mut Container) + Send + Sync + Clone + 'static) -> Factory {
    stateless(move |request, next| {
        let mut reply = next(request)?;
        if let Reply::Container(container) = &mut reply {
            change(container);
        }
        Ok(reply)
    })
}

pub(super) fn format_wrong(_: &Setting) -> Factory {
    on_container(|container| container.format = "safetensors".to_owned())
}

pub(super) fn version_odd(_: &Setting) -> Factory {
    on_container(|container| container.version = "1".to_owned())
}

pub(super) fn cut_short(_: &Setting) -> Factory {
    on_container(|container| {
        container.n_bytes = container.n_bytes.saturating_sub(64);
        container.files.iter_mut().for_each(|file| file.bytes = file.bytes.saturating_sub(64));
    })
}

pub(super) fn magic_odd(_: &Setting) -> Factory {
    on_container(|container| container.files.iter_mut().for_each(|file| file.magic.reverse()))
}

pub(super) fn tensor_unlisted(_: &Setting) -> Factory {
    on_container(|container| drop(container.tensors.pop()))
}

/// The first matrix has one row less than the model's.
pub(super) fn row_lost(_: &Setting) -> Factory {
    on_container(|container| {
        if let Some(stored) = container.tensors.iter_mut().find(|stored| stored.shape.len() == 2) {
            stored.bytes -= stored.bytes / stored.shape[0] as u64;
            stored.shape[0] -= 1;
        }
    })
}

pub(super) fn misaligned(_: &Setting) -> Factory {
    on_container(|container| container.tensors.iter_mut().skip(1).take(1).for_each(|stored| stored.offset += 1))
}

pub(super) fn warns(_: &Setting) -> Factory {
    on_container(|container| container.warnings.push("a tensor was skipped".to_owned()))
}

/// The first bytes of each tensor are those of the one before it.
pub(super) fn heads_late(_: &Setting) -> Factory {
    on_container(|container| {
        let heads: Vec<Vec<u8>> = container.tensors.iter().map(|stored| stored.head.clone()).collect();
        for (i, stored) in container.tensors.iter_mut().enumerate().skip(1) {
            stored.head.clone_from(&heads[i - 1]);
        }
    })
}

pub(super) fn names_moved(_: &Setting) -> Factory {
    on_container(|container| container.tensors.rotate_left(1))
}

pub(super) fn vocabulary_misreported(_: &Setting) -> Factory {
    stateless(|request, next| {
        let mut reply = next(request)?;
        if let Reply::Metadata(metadata) = &mut reply {
            metadata.vocab_size = metadata.vocab_size.map(|size| size + 1);
        }
        Ok(reply)
    })
}

/// Matrices are said to be of a poorer type.
pub(super) fn types_poorer(_: &Setting) -> Factory {
    on_container(|container| {
        container.tensors.iter_mut().filter(|stored| stored.dtype == "Q8_0").for_each(|stored| stored.dtype = "Q4_0".to_owned());
    })
}

pub(super) fn digest_stale(_: &Setting) -> Factory {
    on_container(|container| container.values_digest = container.values_digest.chars().rev().collect())
}

/// The values of each tensor are those of the tensor that was asked for before, where it has as many.
pub(super) fn weights_backwards(_: &Setting) -> Factory {
    stateless(|request, next| {
        let mut reply = next(request)?;
        if let Reply::Weights(values) = &mut reply {
            values.reverse();
        }
        Ok(reply)
    })
}

/// The first token of a text is its neighbour in the vocabulary.
pub(super) fn generated_token_off(_: &Setting) -> Factory {
    stateless(|request, next| {
        let mut reply = next(request)?;
        if let Reply::Generated(ids, _) = &mut reply
            && let Some(first) = ids.first_mut()
        {
            *first ^= 1;
        }
        Ok(reply)
    })
}

/// A text that is asked for twice is another one the second time.
pub(super) fn second_text_differs(_: &Setting) -> Factory {
    Box::new(|_| {
        let mut texts = 0;
        Box::new(move |request, next| {
            texts += usize::from(matches!(request, Request::Generate(..)));
            let mut reply = next(request)?;
            if let Reply::Generated(ids, _) = &mut reply
                && texts % 2 == 0
                && let Some(last) = ids.last_mut()
            {
                *last ^= 1;
            }
            Ok(reply)
        })
    })
}
