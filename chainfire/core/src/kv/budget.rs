use super::{index::Version, live::LiveKeys};
use crate::UserError;

/// What a request may read at most.
///
/// A transaction that writes is read again by every member that applies its entry, and again after a restart. One that
/// asks for more than fits into memory, or for more than can be looked through in seconds, would end all members, and
/// none of them could start any more. So its budget is the same everywhere and part of what `apply` means.
pub(crate) struct Budget<'a> {
    /// Bytes.
    left: usize,
    /// What a row of the index counts as that is only looked at.
    row: usize,
    /// Bytes that nobody has to be asked for any more.
    agreed: usize,
    /// None in the log.
    payer: Option<Payer<'a>>,
}

/// Who has to agree to so many more bytes in the memory of this server. Nobody is asked for a short answer.
pub type Payer<'a> = &'a mut dyn FnMut(usize) -> bool;

/// Bytes of a short answer, and what a payer is asked for at least.
const STEP: usize = 16 << 10;

impl<'a> Budget<'a> {
    /// Of a transaction in the log.
    pub(crate) fn of_entry() -> Self {
        Self { left: 128 << 20, row: 32, agreed: 0, payer: None }
    }

    /// Of an answer that only this server makes: the most that a message can have.
    pub(crate) fn of_answer(payer: Payer<'a>) -> Self {
        Self { left: i32::MAX as usize, row: 0, agreed: STEP, payer: Some(payer) }
    }

    /// Pays for the rows that `keys` has gone over since it was asked last.
    pub(super) fn walked(&mut self, keys: &mut LiveKeys<'_>) -> Result<(), UserError> {
        self.pay(keys.take_walked().saturating_mul(self.row))
    }

    /// Asks for what `version` takes until all are found; its row is paid for already.
    pub(super) fn found(&mut self, version: &Version) -> Result<(), UserError> {
        self.agree(size_of::<Version>() + version.key.len())
    }

    /// Pays for a pair, or for a value that is only compared.
    pub(super) fn pay(&mut self, bytes: usize) -> Result<(), UserError> {
        self.left = self.left.checked_sub(bytes).ok_or(UserError::AnswerTooLarge)?;
        self.agree(bytes)
    }

    fn agree(&mut self, bytes: usize) -> Result<(), UserError> {
        let Some(payer) = &mut self.payer else { return Ok(()) };
        if bytes > self.agreed {
            let more = (bytes - self.agreed).max(STEP);
            if !payer(more) {
                return Err(UserError::TooManyRequests);
            }
            self.agreed += more;
        }
        self.agreed -= bytes;
        Ok(())
    }
}
