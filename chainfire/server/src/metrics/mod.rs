//! Metrics under etcd's names, where there is a real value behind them.

mod counts;
mod grpc;
mod sampled;

pub(crate) use counts::Metrics;
pub(crate) use grpc::{Grpc, Method};
pub(crate) use sampled::Sampled;
