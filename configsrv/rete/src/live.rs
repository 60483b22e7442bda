use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use configsrv_fleet::{NodeName, SpiffeId};
use parking_lot::Mutex;

use crate::quic::Code;

/// The open connections between principals.
#[derive(Debug, Default)]
pub(crate) struct Live {
    next: AtomicU64,
    open: Mutex<HashMap<u64, (Connection, quinn::Connection)>>,
}

/// Who is connected to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub initiator: SpiffeId,
    pub target: SpiffeId,
    pub side: Side,
}

/// Which end of a connection this node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// It dialled this node.
    Initiator(NodeName),
    Target,
}

/// Takes a connection off the list when it goes.
pub(crate) struct Listed {
    live: Arc<Live>,
    key: u64,
}

impl Live {
    /// Lists a connection. Whoever lists one judges it *afterwards*: then either that judgement or the sweep that follows
    /// a swap sees the new tables.
    pub(crate) fn list(self: &Arc<Self>, connection: Connection, quic: quinn::Connection) -> Listed {
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.lock().insert(key, (connection, quic));
        Listed { live: Arc::clone(self), key }
    }

    /// Closes what `allowed` does not allow, with all that it carries; says how many.
    pub(crate) fn sweep(&self, allowed: impl Fn(&Connection) -> bool) -> usize {
        let open = self.open.lock();
        let revoked: Vec<_> = open.values().filter(|(connection, _)| !allowed(connection)).collect();
        for (_, quic) in &revoked {
            quic.close(Code::Refused.into(), b"no longer allowed");
        }
        revoked.len()
    }

    pub(crate) fn connections(&self) -> Vec<Connection> {
        self.open.lock().values().map(|(connection, _)| connection.clone()).collect()
    }

    /// How many of one initiator there are at this end.
    pub(crate) fn of(&self, initiator: &SpiffeId) -> usize {
        let open = self.open.lock();
        open.values().filter(|(open, _)| open.side == Side::Target && open.initiator == *initiator).count()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.live.open.lock().remove(&self.key);
    }
}
