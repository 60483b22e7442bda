//! The life of a service: a stop signal that reaches every task, and tasks that say what their failure means.

mod stop;
mod tasks;

pub use stop::{Stop, on_signal};
pub use tasks::{Failure, Tasks};
