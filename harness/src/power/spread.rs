//! Work for every core.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Work that is done by several threads, in the order in which it was given. A panic of one is a panic here: no result is lost in silence.
pub fn spread<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(4);
    let next = AtomicUsize::new(0);
    let mut done: Vec<(usize, R)> = thread::scope(|scope| {
        let worker = || {
            let mut mine = Vec::new();
            while let Some((at, item)) = Some(next.fetch_add(1, Ordering::SeqCst)).and_then(|at| Some((at, items.get(at)?))) {
                mine.push((at, work(item)));
            }
            mine
        };
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        handles.into_iter().flat_map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_work() {
        let items: Vec<u64> = (0..50).collect();
        let late = |n: &u64| {
            thread::sleep(Duration::from_millis(if n.is_multiple_of(7) { 2 } else { 0 }));
            n * n
        };
        assert_eq!(spread(&items, late), items.iter().map(|n| n * n).collect::<Vec<_>>());
    }

    #[test]
    #[should_panic(expected = "the seventh")]
    fn work_that_panics_is_not_lost() {
        spread(&(0..50).collect::<Vec<u64>>(), |n| assert_ne!(*n, 7, "the seventh"));
    }
}
