//! What the writers ask for: every way in which a user key or a lease can change.

use crate::etcd::Op;

const PREFIX: &str = "proofs/leader-kill/";
/// Keys that each writer replaces and deletes again and again.
const KEYS: u64 = 8;
/// Calls after which a writer begins anew.
const ROUND: u64 = 10;

/// One call of the etcd API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// No key is touched twice.
    Write(Vec<Op>),
    /// A lease under an id of our choice, so that it is known even if the answer is lost. It is never kept alive.
    Grant(i64),
}

/// The call that a writer makes as its `sequence`-th. No other writer touches its keys; no two calls write the same
/// value; and a range that is deleted by itself is deleted by one call only. So whatever the answer, the history tells
/// whether a call was carried out.
pub(crate) fn of(writer: usize, sequence: u64) -> Call {
    let round = sequence / ROUND;
    let home = format!("{PREFIX}w{writer}");
    let put = |key: String, lease: i64| {
        let value = format!("{key} by writer {writer} in call {sequence}");
        Op::Put { key, value, lease }
    };
    let again = |offset: u64| format!("{home}/k{}", (round + offset) % KEYS);
    let once = |name: &str| format!("{home}/r{round:06}/{name}");
    let leased = |name: &str| format!("{home}/l{round:06}/{name}");
    let delete_one = |key: String| Op::Delete { to: format!("{key}\0"), from: key };
    // The character after the slash.
    let delete_all = |name: &str| Op::Delete { from: once(&format!("{name}/")), to: once(&format!("{name}0")) };
    let lease = lease(writer, round);
    match sequence % ROUND {
        0 => Call::Write(vec![put(again(0), 0)]),
        1 => Call::Write(vec![put(once("some/a"), 0)]),
        2 => Call::Write(vec![put(once("some/b"), 0)]),
        3 => Call::Write(vec![put(once("some/c"), 0), put(again(1), 0), delete_one(again(3))]),
        4 => Call::Write(vec![delete_all("some")]),
        5 => Call::Write(vec![delete_all("none")]),
        6 => Call::Grant(lease),
        7 => Call::Write(vec![put(leased("a"), lease), put(leased("b"), lease), put(leased("c"), lease)]),
        // One key is gone before its lease is, another does not hang on it any more.
        8 => Call::Write(vec![delete_one(leased("a")), put(leased("b"), 0), put(again(2), lease)]),
        _ => Call::Write(vec![put(again(4), 0)]),
    }
}

/// Unlike any other, and positive.
fn lease(writer: usize, round: u64) -> i64 {
    let writer = i64::try_from(writer).unwrap_or(i64::MAX >> 32);
    let round = i64::try_from(round).unwrap_or(i64::MAX >> 32);
    ((writer + 1) << 32) + round
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn calls_are_told_apart_by_what_they_leave() {
        let mut marks = HashSet::new();
        for (writer, sequence) in (0..3).flat_map(|writer| (0..200).map(move |sequence| (writer, sequence))) {
            match of(writer, sequence) {
                Call::Grant(lease) => assert!(marks.insert(lease.to_string())),
                Call::Write(ops) => {
                    for op in &ops {
                        match op {
                            Op::Put { value, .. } => assert!(marks.insert(value.clone())),
                            Op::Delete { from, .. } if ops.len() == 1 => assert!(marks.insert(from.clone())),
                            Op::Delete { .. } => {}
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_range_holds_the_keys_below_its_name_only() {
        let Call::Write(ops) = of(0, 4) else { panic!("no write") };
        let [Op::Delete { from, to }] = ops.as_slice() else { panic!("no range: {ops:?}") };
        let within = |key: &str| from.as_str() <= key && key < to.as_str();
        for sequence in 0..20 {
            let Call::Write(ops) = of(0, sequence) else { continue };
            for op in ops {
                if let Op::Put { key, .. } = op {
                    assert_eq!(within(&key), [1, 2, 3].contains(&sequence) && key.contains("/some/"), "{key}");
                }
            }
        }
    }
}
