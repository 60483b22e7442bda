//! A fleet's repository as it is written: every file read, every value with its place, nothing decided yet.

mod decode;
mod discover;
mod file;
mod load;
mod model;
mod source;

pub use discover::Selection;
pub use load::{load, load_from};
pub use model::{
    Address, CheckSpec, Cluster, ConfigServer, Device, FileSpec, Named, NodeSpec, ProbeSpec, Repo, RoleSpec, Scope,
    ServiceSpec, SignerSpec, UserSpec,
};
pub use source::{Folder, Memory, Source, SourceError};
