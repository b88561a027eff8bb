//! Panics as values.
//!
//! A panic inside a check or a runtime is an `Error` verdict with its place, not a line on stderr between two others. The hook is
//! installed once; it keeps the message and the place of a panic while any guarded call is running, and leaves every other panic to
//! the hook that was there before.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};

/// What a panic said and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic {
    /// The message, or a phrase where the payload was no string.
    pub message: String,
    /// `file:line:column`.
    pub location: String,
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {} (at {})", self.message, self.location)
    }
}

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static LAST: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// Guarded calls running in any thread. A panic in a worker thread of such a call is reported by the call that joins it.
static ACTIVE: AtomicUsize = AtomicUsize::new(0);
static FOREIGN: Mutex<Option<Panic>> = Mutex::new(None);
static HOOK: Once = Once::new();

/// Runs `body`; a panic in it becomes the error.
///
/// # Errors
/// The panic, with its message and place.
pub fn catch<T>(body: impl FnOnce() -> T) -> Result<T, Panic> {
    HOOK.call_once(install);
    ACTIVE.fetch_add(1, Ordering::SeqCst);
    DEPTH.with(|depth| depth.set(depth.get() + 1));
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    DEPTH.with(|depth| depth.set(depth.get() - 1));
    ACTIVE.fetch_sub(1, Ordering::SeqCst);
    result.map_err(|payload| {
        let message = text_of(payload.as_ref());
        LAST.with(|last| last.borrow_mut().take())
            .or_else(|| foreign(&message))
            .unwrap_or_else(|| Panic { message, location: "unknown place".to_owned() })
    })
}

/// The panic that a worker thread left behind, if its message is the one that arrived here.
fn foreign(message: &str) -> Option<Panic> {
    let mut slot = FOREIGN.lock().unwrap_or_else(PoisonError::into_inner);
    slot.take_if(|panic| panic.message == message)
}

fn install() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if DEPTH.with(Cell::get) > 0 {
            LAST.with(|last| *last.borrow_mut() = Some(describe(info)));
        } else if ACTIVE.load(Ordering::SeqCst) > 0 {
            *FOREIGN.lock().unwrap_or_else(PoisonError::into_inner) = Some(describe(info));
            // Whose it is cannot be told: a unit test that fails beside a guarded call must not be red without a word.
            if cfg!(test) {
                before(info);
            }
        } else {
            before(info);
        }
    }));
}

fn describe(info: &PanicHookInfo<'_>) -> Panic {
    Panic { message: text_of(info.payload()), location: info.location().map_or_else(|| "unknown place".to_owned(), ToString::to_string) }
}

fn text_of(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a payload that is not text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_value_with_its_place() {
        let panic = catch(|| -> u32 { panic!("seven {}", 7) }).unwrap_err();
        assert_eq!(panic.message, "seven 7");
        assert!(panic.location.contains("guard.rs:"), "{}", panic.location);
        assert_eq!(catch(|| 3), Ok(3));
    }

    #[test]
    fn a_panic_in_a_worker_is_reported_where_it_is_joined() {
        let panic = catch(|| {
            let worker = std::thread::spawn(|| -> u32 { panic!("in a worker, 4711") });
            worker.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
        })
        .unwrap_err();
        assert_eq!(panic.message, "in a worker, 4711");
        assert!(panic.location.contains("guard.rs:"), "{}", panic.location);
    }
}
