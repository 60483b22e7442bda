use std::io;

/// Why a file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("this is not a bbolt file: neither of its two first pages is valid")]
    NotBolt,
    #[error("the file is cut off: it has {found} bytes of {expected}")]
    Truncated { found: u64, expected: u64 },
    /// The file contradicts itself.
    #[error("the file is damaged at page {page}: {problem}")]
    Damaged { page: u64, problem: &'static str },
    /// Given to the writer.
    #[error("a key is empty, or not behind the one before it")]
    Unsorted,
    #[error("a pair is larger than the format allows")]
    TooLarge,
}

impl Error {
    pub(crate) fn damaged(page: u64, problem: &'static str) -> Self {
        Self::Damaged { page, problem }
    }
}
