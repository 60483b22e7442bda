//! bbolt files: the format in which etcd keeps its data and sends its snapshots.
//!
//! A file is a row of pages. Pages 0 and 1 hold the two newest [`meta`](self) records, of which the valid one with the
//! higher transaction number counts; it names the root, a B+ tree of buckets, and each bucket is a B+ tree of pairs.
//! Integers are little-endian, as on every machine that etcd supports.
//!
//! [`Writer`] loads sorted buckets in one pass and holds one page for each level of a tree. [`Reader`] believes
//! nothing: damage, truncation, circles and pages that do not exist are errors.

mod error;
mod meta;
mod page;
mod read;
mod source;
mod tree;
mod walk;
mod write;

pub use error::Error;
pub use read::{Bucket, Reader};
pub use source::Source;
pub use walk::Pairs;
pub use write::Writer;

/// Key and value of a bucket.
pub type Pair = (Vec<u8>, Vec<u8>);

/// What [`Writer`] writes, and what etcd writes on most machines.
pub const PAGE_SIZE: usize = 4096;
