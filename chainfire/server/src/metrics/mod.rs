//! Metrics under etcd's names, where there is a real value behind them.

mod counts;
mod grpc;
mod peers;
mod process;
mod sampled;

pub(crate) use counts::Metrics;
pub(crate) use grpc::{Grpc, Method};
pub(crate) use process::Process;
pub(crate) use sampled::Sampled;
