//! Logging set-up and the process's metrics registry.

mod logging;
mod metrics;
mod outputs;
mod zap;

pub use logging::{Format, LoggingError, init};
pub use metrics::Metrics;
pub use outputs::Output;
