//! One key as its clients see it: a register with a value or none.

/// Every write has a value of its own.
pub(super) type Value = u64;

/// What a client asks of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Read,
    Write(Value),
    /// Writes `new` if the key has the value `expected`.
    Swap {
        expected: Value,
        new: Value,
    },
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Found(Option<Value>),
    Written,
    Swapped(bool),
    /// Whether there was something to delete.
    Deleted(bool),
}

/// What the key has after `op`; none if `answer` cannot be the truth. Without an answer, everything can.
pub(super) fn after(value: Option<Value>, op: Op, answer: Option<Answer>) -> Option<Option<Value>> {
    let (next, truth) = match op {
        Op::Read => (value, Answer::Found(value)),
        Op::Write(new) => (Some(new), Answer::Written),
        Op::Swap { expected, new } if value == Some(expected) => (Some(new), Answer::Swapped(true)),
        Op::Swap { .. } => (value, Answer::Swapped(false)),
        Op::Delete => (None, Answer::Deleted(value.is_some())),
    };
    (answer.is_none_or(|answer| answer == truth)).then_some(next)
}
