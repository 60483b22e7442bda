//! YAML 1.2 as a tree in which every key and value knows its line and column, so that all mistakes of a file can be
//! reported at once and each at its place.
//!
//! Strict: no anchors, aliases, merge keys, tags or second documents; repeated keys are kept and reported by the reader
//! of the tree. `no`, `on` and `12:30` are texts, as YAML 1.2 has it.

mod fields;
mod node;

pub(crate) use fields::{Fields, Items};
pub use node::Mark;
pub(crate) use node::{Kind, Node, parse};
