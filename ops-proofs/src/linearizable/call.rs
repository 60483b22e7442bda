use super::register::{Answer, Op};

/// One call of one client. Times are counted: each beginning and each end of a call has a number of its own, in the
/// order in which they happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) client: usize,
    pub(super) op: Op,
    pub(super) begun: u64,
    pub(super) end: End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Answered {
        at: u64,
        answer: Answer,
        /// The store's, as the answer says.
        revision: i64,
    },
    /// It may have been carried out at any time since, or not at all.
    Unknown,
}

impl Call {
    pub(super) fn answer(&self) -> Option<Answer> {
        match self.end {
            End::Answered { answer, .. } => Some(answer),
            End::Unknown => None,
        }
    }

    /// Whether it is known to have made a revision.
    pub(super) fn changed(&self) -> bool {
        matches!(self.answer(), Some(Answer::Written | Answer::Swapped(true) | Answer::Deleted(true)))
    }
}
