use super::{
    call::{Call, End},
    order,
    register::{self, Answer, Op, Value},
    search::explain,
};

fn call(op: Op, begun: u64, at: u64, answer: Answer) -> Call {
    Call { client: 0, op, begun, end: End::Answered { at, answer, revision: 1 } }
}

fn unknown(op: Op, begun: u64) -> Call {
    Call { client: 0, op, begun, end: End::Unknown }
}

fn read(begun: u64, at: u64, found: Option<Value>) -> Call {
    call(Op::Read, begun, at, Answer::Found(found))
}

fn write(begun: u64, at: u64, value: Value) -> Call {
    call(Op::Write(value), begun, at, Answer::Written)
}

#[test]
fn calls_at_the_same_time_may_have_happened_in_any_order() {
    let (early, late) = (write(1, 10, 7), write(2, 9, 8));
    for found in [None, Some(7), Some(8)] {
        assert_eq!(explain(&[early.clone(), late.clone(), read(3, 8, found)]), Ok(()));
    }
    assert!(explain(&[early, late, read(3, 8, Some(9))]).is_err());
}

#[test]
fn a_stale_read_is_found() {
    let stale = read(5, 6, Some(7));
    let found = explain(&[write(1, 2, 7), write(3, 4, 8), stale.clone()]).unwrap_err();
    assert_eq!((found.call, found.possible), (stale, [Some(8)].into()));
}

#[test]
fn a_lost_write_is_found() {
    assert!(explain(&[write(1, 2, 7), read(3, 4, None)]).is_err());
    assert!(explain(&[write(1, 2, 7), call(Op::Delete, 3, 4, Answer::Deleted(false))]).is_err());
}

#[test]
fn a_read_may_not_go_back_behind_another() {
    let slow = write(1, 100, 7);
    assert_eq!(explain(&[slow.clone(), read(2, 3, None), read(4, 5, Some(7))]), Ok(()));
    assert!(explain(&[slow, read(2, 3, Some(7)), read(4, 5, None)]).is_err());
}

#[test]
fn two_swaps_of_the_same_value_cannot_both_succeed() {
    let swap = |begun, new, swapped| call(Op::Swap { expected: 7, new }, begun, 100, Answer::Swapped(swapped));
    let first = write(1, 2, 7);
    assert_eq!(explain(&[first.clone(), swap(3, 8, true), swap(4, 9, false)]), Ok(()));
    assert!(explain(&[first, swap(3, 8, true), swap(4, 9, true)]).is_err());
}

#[test]
fn what_was_not_answered_happens_late_or_never_but_not_before_it_began_and_not_twice() {
    let lost = unknown(Op::Write(8), 5);
    let first = write(1, 2, 7);
    assert_eq!(explain(&[first.clone(), lost.clone(), read(6, 7, Some(7)), read(8, 9, Some(8))]), Ok(()));
    assert_eq!(explain(&[first.clone(), lost.clone(), read(6, 7, Some(7)), read(8, 9, Some(7))]), Ok(()));
    assert!(explain(&[first.clone(), lost.clone(), read(3, 4, Some(8))]).is_err());
    let back = [first, lost, read(6, 7, Some(8)), write(8, 9, 10), read(10, 11, Some(8))];
    assert!(explain(&back).is_err());
}

/// Every history that a real register made, with calls that overlap and calls that were not answered, has its order.
#[test]
fn what_a_register_did_is_explained() {
    for seed in 1..200 {
        let mut random = Random(seed);
        let calls = history(&mut random, 120);
        assert_eq!(explain(&calls), Ok(()), "seed {seed}");
    }
}

/// The same histories with one answer that is not true.
#[test]
fn one_value_out_of_nowhere_is_found_anywhere() {
    for seed in 1..200 {
        let mut random = Random(seed);
        let mut calls = history(&mut random, 60);
        let place = random.below(60) as usize;
        let Call { begun, .. } = calls[place];
        calls[place] = read(begun, begun + 50, Some(u64::MAX));
        assert!(explain(&calls).is_err(), "seed {seed}");
    }
}

#[test]
fn revisions_never_go_back_and_belong_to_one_call() {
    let at = |begun, at, revision, answer| Call {
        client: 0,
        op: Op::Read,
        begun,
        end: End::Answered { at, answer, revision },
    };
    let found = Answer::Found(None);
    let (first, write) = (at(1, 4, 9, found), at(2, 3, 10, Answer::Written));
    assert!(order::backwards(&[&first, &write, &at(5, 6, 10, found)]).is_empty());
    assert_eq!(order::backwards(&[&first, &write, &at(5, 6, 9, found)]).len(), 1);
    assert_eq!(order::backwards(&[&write, &at(5, 6, 10, Answer::Deleted(true))]).len(), 1);
    assert_eq!(order::shared(&[&write, &first, &at(2, 9, 10, Answer::Written)]).len(), 1);
}

/// Calls of five clients on one register; each happens at a moment between its two ends.
fn history(random: &mut Random, length: u64) -> Vec<Call> {
    let mut planned: Vec<(u64, u64, u64)> = (0..length)
        .map(|number| {
            let begun = number * 10 + random.below(40);
            let happens = begun + 1 + random.below(30);
            (happens, begun, happens + 1 + random.below(30))
        })
        .collect();
    planned.sort_unstable();
    let mut value = None;
    let mut calls = Vec::new();
    for (number, (_, begun, at)) in planned.into_iter().enumerate() {
        let fresh = number as u64 + 1;
        let op = match random.below(8) {
            0..3 => Op::Read,
            3..5 => Op::Write(fresh),
            5..7 => Op::Swap { expected: value.filter(|_| random.below(2) == 0).unwrap_or(0), new: fresh },
            _ => Op::Delete,
        };
        let lost = op != Op::Read && random.below(12) == 0;
        let never = lost && random.below(2) == 0;
        let truths = [
            Answer::Found(value),
            Answer::Written,
            Answer::Swapped(true),
            Answer::Swapped(false),
            Answer::Deleted(true),
            Answer::Deleted(false),
        ];
        let truth = truths.into_iter().find(|truth| register::after(value, op, Some(*truth)).is_some()).unwrap();
        if !never {
            value = register::after(value, op, None).unwrap();
        }
        let end = if lost { End::Unknown } else { End::Answered { at, answer: truth, revision: 1 } };
        calls.push(Call { client: 0, op, begun, end });
    }
    calls
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
