use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

const MOST: usize = 256;

/// The programs at one port that have not said yet what they want. There is room for so many; then the oldest makes room:
/// who says something takes no time, and who is silent keeps nobody out.
#[derive(Debug, Default)]
pub(crate) struct Greetings(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// By age.
    open: BTreeMap<u64, CancellationToken>,
}

/// One of them; it is over when this is dropped.
#[derive(Debug)]
pub(crate) struct Greeting {
    all: Arc<Greetings>,
    number: u64,
    cut: CancellationToken,
}

impl Greetings {
    pub(crate) fn begin(self: &Arc<Self>) -> Greeting {
        let mut table = self.0.lock();
        if table.open.len() >= MOST
            && let Some((_, oldest)) = table.open.pop_first()
        {
            oldest.cancel();
        }
        let (number, cut) = (table.next, CancellationToken::new());
        table.next += 1;
        table.open.insert(number, cut.clone());
        Greeting { all: Arc::clone(self), number, cut }
    }
}

impl Greeting {
    /// Completes when it has to make room.
    pub(crate) async fn crowded_out(&self) {
        self.cut.cancelled().await;
    }
}

impl Drop for Greeting {
    fn drop(&mut self) {
        self.all.0.lock().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let all = Arc::<Greetings>::default();
        let mut open: Vec<Greeting> = (0..MOST).map(|_| all.begin()).collect();
        assert!(open.iter().all(|greeting| !greeting.cut.is_cancelled()));
        open.extend((0..2).map(|_| all.begin()));
        let cut: Vec<u64> =
            open.iter().filter(|greeting| greeting.cut.is_cancelled()).map(|greeting| greeting.number).collect();
        assert_eq!(cut, [0, 1]);
        // Who has said what it wants is out of the way.
        open.truncate(MOST);
        let next = all.begin();
        assert_eq!(open.iter().filter(|greeting| greeting.cut.is_cancelled()).count(), 2);
        drop((open, next));
        assert!(all.0.lock().open.is_empty());
    }
}
