//! What measurements share.
//!
//! - [`Plane`]: real servers with TLS, and the ways in; [`Certified`]: a node of theirs.
//! - [`memory`], [`busy`]: what a process occupies, and for how long it has computed.
//! - [`Machine`]: where and when, and the files that results go to; [`bars`]: the picture.

mod bars;
mod certified;
mod machine;
mod plane;
mod process;

pub use bars::{Bar, bars};
pub use certified::Certified;
pub use machine::Machine;
pub use plane::{Bearer, Plane, Wire};
pub use process::{busy, memory};
