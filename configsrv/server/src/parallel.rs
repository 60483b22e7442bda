use std::{num::NonZero, panic::resume_unwind, thread};

/// Fewer items are not worth a thread.
const LEAST: usize = 64;

/// Does the same with each of many items, on all processors; the answers in the items' order, or the first error.
pub(crate) fn each<T, U, E>(items: &[T], work: impl Fn(usize, &T) -> Result<U, E> + Sync) -> Result<Vec<U>, E>
where
    T: Sync,
    U: Send,
    E: Send,
{
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let size = items.len().div_ceil(threads).max(LEAST);
    let work = &work;
    thread::scope(|scope| {
        let part = |(part, items): (usize, &[T])| -> Result<Vec<U>, E> {
            items.iter().enumerate().map(|(at, item)| work(part * size + at, item)).collect()
        };
        let parts: Vec<_> = items.chunks(size).enumerate().map(|chunk| scope.spawn(move || part(chunk))).collect();
        let mut all = Vec::with_capacity(items.len());
        for part in parts {
            all.extend(part.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok(all)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_stand_in_the_order_of_the_questions() {
        let items: Vec<usize> = (0..10_000).collect();
        let twice = each(&items, |at, item| if at == *item { Ok(2 * item) } else { Err(at) }).unwrap();
        assert!(twice.iter().enumerate().all(|(at, value)| *value == 2 * at));
        assert_eq!(each(&items, |_, item| if *item >= 7_000 { Err(*item) } else { Ok(()) }), Err(7_000));
        assert_eq!(each(&[] as &[u8], |_, _| Ok::<_, ()>(1)), Ok(Vec::new()));
    }
}
