//! The peer port: Raft's messages, forwarded proposals and reads, snapshots and probes, between servers that prove
//! their slot by certificate, or their host where certificates are etcd's.

mod acknowledged;
mod certificate;
mod client;
mod convert;
mod dialer;
mod lifetime;
mod reach;
mod road;
mod service;
mod wire;

pub(crate) use certificate::{check_own, peer_dns_name, slot_name};
pub(crate) use client::Connections;
pub(crate) use dialer::{CallError, Dialer};
pub(crate) use lifetime::watch_over as watch_over_certificates;
pub(crate) use service::{PeerGroup, PeerService};
#[cfg(test)]
pub(crate) use wire::{AppendAnswerV1, AppendV1, TransferAnswerV1, TransferV1, VoteAnswerV1, VoteRequestV1};
pub(crate) use wire::{
    AskAnswerV1, AskV1, FormedV1, ProbeAnswerV1, ProbeV1, ProposeAnswerV1, ProposeV1, ReadIndexAnswerV1, ReadIndexV1,
    RejoinAnswerV1, RejoinV1, decode, encode,
};
