//! Between etcd's messages and the state machine's types. Requests are checked here and in
//! [`chainfire_core::kv`]'s `check_*`; nothing past this module sees a wire type.

mod alarm;
mod answer;
mod audit;
mod auth;
mod code;
mod header;
mod history;
mod request;
mod watch;

pub(crate) use alarm::{alarm_kind, alarm_member, alarm_name, alarm_text};
pub(crate) use answer::{delete_response, key_value, pairs, put_response, range_response, txn_response};
pub(crate) use audit::audit_policy;
pub(crate) use auth::{granted, password_hash, permission};
pub(crate) use code::{code_name, status_text};
pub(crate) use header::Headers;
pub(crate) use history::{time, version, versions_of};
pub(crate) use request::{compact, delete_range, put, range, range_stream, txn};
pub(crate) use watch::{WatchCall, watch_call, watch_responses};
