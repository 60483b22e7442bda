//! How committed entries become batches of the state.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures::stream;
use holdfast_keyspace::{Overlay, Read as _, Table, Write as _};
use openraft::{EntryPayload, storage::RaftStateMachine as _};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::{Applied, Applier, Halt, Machine};
use crate::{
    FatalHook, Position, StateDb,
    types::{Command, Entry, LogId},
};

const ROWS: Table = Table::new("rows");

/// The command that no server can apply, and the one that shows a mistake.
const UNKNOWN: &[u8] = b"unknown";
const MISTAKE: &[u8] = b"mistake";

/// Keeps a row of each command and answers with `answer` bytes.
struct Recorder {
    state: StateDb,
    answer: usize,
    published: Mutex<Vec<Published>>,
}

/// What the state had when the effects of an entry were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Published {
    index: u64,
    /// Its own row.
    own: bool,
    /// The newest entry in the state: the last one of the same batch.
    applied: u64,
    /// What readers have been told is in the state.
    announced: u64,
}

impl Machine for Recorder {
    type Effect = ();

    fn tables(&self) -> &'static [Table] {
        &[ROWS]
    }

    fn apply(&self, state: &mut Overlay<'_>, at: Position, command: &[u8]) -> Result<Applied<()>, Halt> {
        if command == UNKNOWN {
            return Err(Halt("unknown".to_owned()));
        }
        assert_ne!(command, MISTAKE, "the machine has a mistake");
        state.put(ROWS, at.index.to_be_bytes().to_vec(), Vec::new());
        Ok(Applied { answer: vec![0; self.answer], effects: vec![()] })
    }

    fn publish(&self, at: Position, effects: Vec<()>) {
        assert_eq!(effects.len(), 1);
        self.published.lock().push(Published {
            index: at.index,
            own: self.has(at.index),
            applied: self.state.meta().unwrap().applied.map_or(0, |id| id.index),
            announced: self.state.applied(),
        });
    }

    fn restored(&self) {}
}

impl Recorder {
    fn has(&self, index: u64) -> bool {
        self.state.get(ROWS, &index.to_be_bytes()).unwrap().is_some()
    }

    /// How many entries each batch had. Entries were published in their order, each when its whole batch was in the state
    /// and before anybody was told so.
    fn batches(&self) -> Vec<usize> {
        let published = self.published.lock();
        let (mut announced, mut sizes) = (0, Vec::new());
        for batch in published.chunk_by(|one, next| one.applied == next.applied) {
            let last = announced + u64::try_from(batch.len()).unwrap();
            let expected = (announced + 1..=last).map(|index| Published { index, own: true, applied: last, announced });
            assert!(expected.eq(batch.iter().copied()), "{batch:?}");
            (announced, _) = (last, sizes.push(batch.len()));
        }
        assert_eq!(self.state.applied(), announced);
        sizes
    }
}

/// A machine of large `answer`s, what applies to it, and what its server is told to die of.
struct Bench {
    machine: Arc<Recorder>,
    applier: Applier<Recorder>,
    fatal: Arc<Mutex<Vec<String>>>,
    _folder: TempDir,
}

impl Bench {
    fn answering(answer: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDb::open(folder.path().join("state"), &[ROWS]).unwrap();
        let machine = Arc::new(Recorder { state: state.clone(), answer, published: Mutex::default() });
        let fatal = Arc::<Mutex<Vec<String>>>::default();
        let told = fatal.clone();
        let hook = FatalHook::new(move |reason: &str| told.lock().push(reason.to_owned()));
        let applier = Applier::new(machine.clone(), state, hook).unwrap();
        Self { machine, applier, fatal, _folder: folder }
    }

    /// Hands the entries over together, from index 1 on.
    async fn apply(&mut self, commands: impl IntoIterator<Item = Bytes>) -> io::Result<()> {
        let entries = commands.into_iter().zip(1..).map(|(command, index)| {
            let log_id = LogId::new_term_index(1, index);
            Ok((Entry { log_id, payload: EntryPayload::Normal(Command(command)) }, None))
        });
        self.applier.apply(stream::iter(entries.collect::<Vec<_>>())).await
    }
}

#[tokio::test]
async fn a_batch_ends_with_its_answers_size() {
    // The third makes it too much.
    let mut bench = Bench::answering(24 << 20);
    bench.apply(vec![Bytes::new(); 10]).await.unwrap();
    assert_eq!(bench.machine.batches(), [3, 3, 3, 1]);

    let mut bench = Bench::answering(65 << 20);
    bench.apply(vec![Bytes::new(); 3]).await.unwrap();
    assert_eq!(bench.machine.batches(), [1, 1, 1]);
}

#[tokio::test]
async fn a_batch_ends_with_its_commands_number_and_size() {
    let mut bench = Bench::answering(0);
    bench.apply(vec![Bytes::new(); 2_500]).await.unwrap();
    assert_eq!(bench.machine.batches(), [1_024, 1_024, 452]);

    let mut bench = Bench::answering(0);
    bench.apply(vec![Bytes::from(vec![0; 1 << 20]); 10]).await.unwrap();
    assert_eq!(bench.machine.batches(), [4, 4, 2]);
}

#[tokio::test]
async fn a_batch_that_cannot_be_applied_changes_nothing_and_ends_the_server() {
    for (command, reason) in
        [(UNKNOWN, "entry 5 cannot be applied here: unknown"), (MISTAKE, "the state machine panicked")]
    {
        let mut bench = Bench::answering(24 << 20);
        let mut commands = vec![Bytes::new(); 7];
        commands[4] = Bytes::from_static(command);
        assert!(bench.apply(commands).await.is_err());
        assert_eq!(*bench.fatal.lock(), [reason]);
        // The batch before it stands, as a whole.
        assert_eq!(bench.machine.batches(), [3]);
        assert!(!bench.machine.has(4));
        assert_eq!(bench.applier.applied_state().await.unwrap().0.map(|id| id.index), Some(3));
    }
}
