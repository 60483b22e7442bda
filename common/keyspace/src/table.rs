/// A named table (in RocksDB: a column family). Names are part of the stored format; where it resides is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table {
    pub name: &'static str,
    pub residence: Residence,
}

/// What of a table is kept in memory beside the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Residence {
    /// Nothing in particular.
    Disk,
    /// All of it: for tables of a few rows that every command reads.
    Whole,
    /// What was read lately: for tables whose pairs never change while they exist, and of which nobody asks for a
    /// pair without having found it elsewhere in the same state.
    Recent,
    /// The first pair of keys that were written or read lately: for tables whose keys end in `suffix` bytes that say
    /// which version a pair is, the newest first. Without the suffix no key may be a prefix of another.
    Versions { suffix: usize },
}

impl Table {
    /// A table on disk.
    pub const fn new(name: &'static str) -> Self {
        Self::residing(name, Residence::Disk)
    }

    pub const fn residing(name: &'static str, residence: Residence) -> Self {
        Self { name, residence }
    }
}
