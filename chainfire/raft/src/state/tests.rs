//! Snapshots arrive whole or not at all.

use bytes::Bytes;
use holdfast_keyspace::{Change, KeyRange, Order, Read as _, Residence, Table};
use rocksdb::WriteBatch;
use tempfile::TempDir;

use super::{Incoming, Meta, Outgoing, Progress, StateDb, incoming};
use crate::types::LogId;

const ONE: Table = Table::new("one");
const TWO: Table = Table::new("two");
const TABLES: &[Table] = &[ONE, TWO];

fn empty() -> (TempDir, StateDb) {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path().join("state"), TABLES).unwrap();
    (dir, state)
}

/// A state of several chunks.
fn filled() -> (TempDir, StateDb) {
    let (dir, state) = empty();
    let generation = state.generation();
    let mut batch = WriteBatch::default();
    for number in 0..20_u32 {
        batch.put_cf(&generation.table(ONE).unwrap(), number.to_be_bytes(), vec![7; 50_000]);
        batch.put_cf(&generation.table(TWO).unwrap(), number.to_be_bytes(), b"two");
    }
    let meta = Meta { applied: Some(LogId::new_term_index(2, 40)), first_command: Some(1), ..Meta::default() };
    meta.write(&generation, &mut batch).unwrap();
    generation.write(batch).unwrap();
    (dir, state)
}

fn frames(state: &StateDb) -> Vec<Bytes> {
    let mut outgoing = Outgoing::new(state.snapshot()).unwrap();
    std::iter::from_fn(|| outgoing.next_frame().unwrap()).collect()
}

fn receive(state: &StateDb, frames: &[Bytes]) -> Result<Progress, incoming::Error> {
    let mut incoming: Box<Incoming> = state.receive().unwrap();
    for frame in frames {
        match incoming.accept(frame)? {
            Progress::More(more) => incoming = more,
            complete @ Progress::Complete(_) => return Ok(complete),
        }
    }
    Ok(Progress::More(incoming))
}

fn content(state: &StateDb, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    state.scan(table, KeyRange::all(), Order::Ascending).map(Result::unwrap).collect()
}

fn generations(dir: &TempDir) -> usize {
    let entries = std::fs::read_dir(dir.path().join("state")).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().file_name() != "active").count()
}

#[test]
fn a_whole_snapshot_replaces_the_state_for_good() {
    let ((_source_dir, source), (dir, target)) = (filled(), empty());
    let frames = frames(&source);
    assert!(frames.len() > 4, "{}", frames.len());
    let Ok(Progress::Complete(verified)) = receive(&target, &frames) else { panic!("not complete") };
    // Until it is installed, nothing has changed.
    assert!(content(&target, ONE).is_empty());
    target.install(*verified).unwrap();
    assert_eq!(target.durable(), 41);
    for table in [ONE, TWO] {
        assert_eq!(content(&target, table), content(&source, table));
    }
    assert_eq!(generations(&dir), 1, "the old state is gone");
    drop(target);
    let reopened = StateDb::open(dir.path().join("state"), TABLES).unwrap();
    assert_eq!(content(&reopened, ONE), content(&source, ONE));
    assert_eq!(reopened.applied(), 40);
}

#[test]
fn a_received_state_survives_a_pointer_that_cannot_be_moved() {
    let ((_source_dir, source), (dir, target)) = (filled(), empty());
    let Ok(Progress::Complete(verified)) = receive(&target, &frames(&source)) else { panic!("not complete") };
    // The pointer's new content is written here first.
    std::fs::create_dir(dir.path().join("state/active.new")).unwrap();
    assert!(target.install(*verified).is_err());
    assert!(dir.path().join("state/generation-2/CURRENT").exists(), "the pointer may name it after all");
}

#[test]
fn only_the_first_state_begins_empty() {
    let ((_source_dir, source), (dir, target)) = (filled(), empty());
    let Ok(Progress::Complete(verified)) = receive(&target, &frames(&source)) else { panic!("not complete") };
    target.install(*verified).unwrap();
    drop(target);
    std::fs::remove_dir_all(dir.path().join("state/generation-2")).unwrap();
    let error = StateDb::open(dir.path().join("state"), TABLES).err().unwrap();
    assert!(error.to_string().contains("the state was deleted"), "{error}");
}

#[test]
fn a_damaged_or_partial_snapshot_leaves_nothing() {
    let ((_source_dir, source), (dir, target)) = (filled(), empty());
    let whole = frames(&source);
    let end = whole.len() - 1;
    let mut flipped = whole.clone();
    let mut bytes = flipped[2].to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    flipped[2] = bytes.into();
    let mut swapped = whole.clone();
    swapped.swap(1, 2);
    let without_one = [&whole[..1], &whole[2..]].concat();
    let two_headers = [&whole[..1], &whole[..]].concat();
    for wrong in [&flipped[..], &swapped, &without_one, &two_headers, &whole[1..], &whole[end..]] {
        assert!(receive(&target, wrong).is_err());
    }
    // Cut short: it is never complete.
    assert!(matches!(receive(&target, &whole[..end]), Ok(Progress::More(_))));
    assert_eq!(generations(&dir), 1, "what was received is removed");
    assert!(content(&target, ONE).is_empty());
}

#[test]
fn a_crash_while_receiving_leaves_the_old_state() {
    let (dir, state) = filled();
    state.flush().unwrap();
    drop(state);
    std::fs::create_dir(dir.path().join("state/generation-7")).unwrap();
    let state = StateDb::open(dir.path().join("state"), TABLES).unwrap();
    assert_eq!(content(&state, TWO).len(), 20);
    assert_eq!(generations(&dir), 1);
}

#[test]
fn a_view_does_not_move() {
    let (_dir, state) = filled();
    let view = state.snapshot();
    let generation = state.generation();
    let mut batch = WriteBatch::default();
    batch.delete_cf(&generation.table(TWO).unwrap(), 3_u32.to_be_bytes());
    generation.write(batch).unwrap();
    assert_eq!(state.get(TWO, &3_u32.to_be_bytes()).unwrap(), None);
    assert_eq!(view.get(TWO, &3_u32.to_be_bytes()).unwrap().as_deref(), Some(&b"two"[..]));
    let keys = |order| -> Vec<u32> {
        let range = KeyRange::between(2_u32.to_be_bytes(), 6_u32.to_be_bytes());
        let scan = view.clone().into_scan(TWO, range.clone(), order);
        let owned: Vec<_> = scan.map(|pair| u32::from_be_bytes(pair.unwrap().0.try_into().unwrap())).collect();
        let borrowed = view.scan(TWO, range, order);
        assert!(borrowed.map(|pair| u32::from_be_bytes(pair.unwrap().0.try_into().unwrap())).eq(owned.clone()));
        owned
    };
    assert_eq!(keys(Order::Ascending), [2, 3, 4, 5]);
    assert_eq!(keys(Order::Descending), [5, 4, 3, 2]);
    // Larger than a page, in both directions.
    for order in [Order::Ascending, Order::Descending] {
        assert_eq!(view.clone().into_scan(ONE, KeyRange::all(), order).count(), 20);
    }
}

const WHOLE: Table = Table::residing("whole", Residence::Whole);
const RECENT: Table = Table::residing("recent", Residence::Recent);

fn set(state: &StateDb, table: Table, key: &str, value: Option<&str>) {
    let change = Change { table, key: key.into(), value: value.map(Into::into) };
    state.generation().commit(&[change], None).unwrap();
}

#[test]
fn a_table_in_memory_reads_like_the_one_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path().join("state"), &[WHOLE]).unwrap();
    set(&state, WHOLE, "before", Some("the first read"));
    assert_eq!(state.get(WHOLE, b"before").unwrap(), Some(b"the first read".to_vec()));
    set(&state, WHOLE, "before", Some("other"));
    set(&state, WHOLE, "new", Some("value"));
    let view = state.snapshot();
    assert_eq!(state.get(WHOLE, b"new").unwrap(), Some(b"value".to_vec()));
    set(&state, WHOLE, "before", None);
    set(&state, WHOLE, "new", Some("newer"));
    assert_eq!(state.get(WHOLE, b"before").unwrap(), None);
    assert_eq!(content(&state, WHOLE), [(b"new".to_vec(), b"newer".to_vec())]);
    assert_eq!(view.get(WHOLE, b"before").unwrap(), Some(b"other".to_vec()), "a view is of its time");
    assert_eq!(view.get(WHOLE, b"new").unwrap(), Some(b"value".to_vec()));
}

#[test]
fn many_values_are_the_same_whether_they_were_read_before_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path().join("state"), &[RECENT, ONE]).unwrap();
    for table in [RECENT, ONE] {
        for key in ["a", "b", "c"] {
            set(&state, table, key, Some(key));
        }
        let keys = ["c", "missing", "a", "b", "a"].map(|key| key.as_bytes().to_vec());
        let expected = ["c", "", "a", "b", "a"].map(|key| (!key.is_empty()).then(|| Bytes::from(key)));
        for _ in 0..2 {
            assert_eq!(state.snapshot().get_all(table, &keys).unwrap(), expected);
            assert_eq!(state.get_all(table, &keys).unwrap(), expected);
        }
        set(&state, table, "a", None);
        assert_eq!(state.snapshot().get_all(table, &keys[2..3]).unwrap(), [None]);
    }
}
