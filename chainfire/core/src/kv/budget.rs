use super::live::LiveKeys;
use crate::UserError;

/// What a request may read at most.
///
/// A transaction that writes is read again by every member that applies its entry, and again after a restart. One that
/// asks for more than fits into memory, or for more than can be looked through in seconds, would end all members, and
/// none of them could start any more. So its budget is the same everywhere and part of what `apply` means.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Bytes.
    left: usize,
    /// What a row of the index counts as that is only looked at.
    row: usize,
}

impl Budget {
    /// Of a transaction in the log.
    pub(crate) fn of_entry() -> Self {
        Self { left: 128 << 20, row: 32 }
    }

    /// Of an answer that only this server makes: the most that a message can have.
    pub(crate) fn of_answer() -> Self {
        Self { left: i32::MAX as usize, row: 0 }
    }

    /// Pays for the rows that `keys` has gone over since it was asked last.
    pub(super) fn walked(&mut self, keys: &mut LiveKeys<'_>) -> Result<(), UserError> {
        self.pay(keys.take_walked().saturating_mul(self.row))
    }

    /// Pays for a pair, or for a value that is only compared.
    pub(super) fn pay(&mut self, bytes: usize) -> Result<(), UserError> {
        self.left = self.left.checked_sub(bytes).ok_or(UserError::AnswerTooLarge)?;
        Ok(())
    }
}
