use serde::{Deserialize, Serialize};

/// A typed command of an in-process service. Variants are appended, never reordered; a variant that older members do
/// not know is gated by the feature level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SystemCommand {
    Txn(SystemTxn),
    LockAcquire(LockAcquire),
    LockRelease(LockRelease),
    LockPolicy(LockPolicy),
}

/// The replicated answer to a [`SystemCommand`], same variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SystemAnswer {
    Txn(TxnAnswer),
    Lock(LockAnswer),
}

/// A compare-and-set over records: all guards hold and all changes happen, or nothing does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemTxn {
    pub guards: Vec<Guard>,
    pub ops: Vec<SystemOp>,
    /// What the audit journal calls this change, e.g. `iam.SigningKeyActivate`.
    pub action: String,
    /// What it was done to, e.g. `signing-key/2026-11`.
    pub resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    pub key: Vec<u8>,
    pub expect: Expect,
}

/// What a guard demands of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    Absent,
    Present,
    /// The system revision of the record's last change.
    Revision(u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SystemOp {
    Put { key: Vec<u8>, value: Vec<u8> },
    Delete { key: Vec<u8> },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnAnswer {
    /// The revision that all changed records now carry.
    Committed { revision: u64 },
    /// The first guard that did not hold; `found` is the record's revision, if there is one.
    Conflict { key: Vec<u8>, found: Option<u64> },
    /// The system keyspace's reserved quota is spent.
    QuotaExceeded,
}

/// Most holders that a refusal names.
pub const SHOWN_HOLDERS: usize = 16;

/// Takes a slot of a group's counting semaphore; recursive: an id holds at most one slot of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockAcquire {
    pub group: String,
    pub id: String,
    pub asker: LockAsker,
    /// Slots of a group that has no stored policy.
    pub default_slots: u32,
    /// Whether the configuration names the group. Groups that nobody named have bounds of their own, so that inventing
    /// names spends nobody else's room.
    pub listed: bool,
}

/// Gives a slot back if `id` holds one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRelease {
    pub group: String,
    pub id: String,
    pub asker: LockAsker,
    /// Why, when not the holder itself but an admin releases.
    pub reason: Option<String>,
}

/// On whose behalf a slot is taken or given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockAsker {
    /// Clients prove nothing here: an id is whoever sends it.
    Anybody,
    /// Holds at most one slot of a group, and has no say over slots that other principals took.
    Principal(String),
    /// Holds as many as it takes, and may use everybody's.
    Admin(String),
}

/// Replaces a group's policy. Lowering `slots` never revokes a holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockPolicy {
    pub group: String,
    /// 0 closes the group for new grants.
    pub slots: u32,
    /// Set: no new grants, and this is why.
    pub frozen: Option<String>,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockAnswer {
    /// `new` is false for a holder that asked again.
    Granted {
        holder: LockHolder,
        new: bool,
    },
    Refused(LockRefusal),
    /// The slot is free; `held` is false if `id` held nothing, which is a success too.
    Released {
        held: bool,
    },
    PolicySet {
        revision: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockRefusal {
    /// All slots are taken; the holders (no more than [`SHOWN_HOLDERS`]), oldest grant first.
    SemaphoreFull {
        slots: u32,
        holders: Vec<LockHolder>,
    },
    Frozen {
        reason: String,
    },
    /// There are as many groups as may exist that nobody listed.
    TooManyGroups {
        limit: u32,
    },
    /// The groups that nobody listed fill their share of the system keyspace.
    UnlistedFull {
        bytes: u64,
    },
    /// Another principal took the slot of this id.
    Foreign {
        holder: LockHolder,
    },
    /// The asker holds a slot of the group already, under another id.
    HoldsAnother {
        holder: LockHolder,
    },
}

/// One held slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    pub id: String,
    /// The principal that took the slot; none where clients prove nothing.
    pub owner: Option<String>,
    /// Unix time in milliseconds, as the leader stamped the grant.
    pub granted_at_ms: u64,
    /// Numbers the grants of all groups: a fencing number, which never falls.
    pub grant: u64,
}

/// A group's semaphore as it stands: its stored policy, if it has one, and who holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockGroup {
    pub group: String,
    /// Of the stored policy; a group without one has the slots that its askers bring along.
    pub slots: Option<u32>,
    /// Why there are no new grants, if there are none.
    pub frozen: Option<String>,
    /// Oldest grant first.
    pub holders: Vec<LockHolder>,
}

impl LockAsker {
    /// Whose a slot is that this asker takes.
    pub fn owner(&self) -> Option<&str> {
        match self {
            Self::Anybody => None,
            Self::Principal(name) | Self::Admin(name) => Some(name),
        }
    }

    /// Whether the asker may repeat and release `holder`'s slot. What was taken without proof is given back without.
    pub fn may_use(&self, holder: &LockHolder) -> bool {
        match self {
            Self::Anybody | Self::Admin(_) => true,
            Self::Principal(name) => holder.owner.as_ref().is_none_or(|owner| owner == name),
        }
    }
}

impl LockGroup {
    /// What `acquire` is told as long as the group stands like this; none if a slot is free for it. Services ask it of
    /// their own reads, so that repeats and refusals need no log entry.
    pub fn answer(&self, acquire: &LockAcquire) -> Option<LockAnswer> {
        // Who holds already is told yes whatever else is true: it may be past the point of no return.
        if let Some(holder) = self.holders.iter().find(|holder| holder.id == acquire.id) {
            let holder = holder.clone();
            return Some(if acquire.asker.may_use(&holder) {
                LockAnswer::Granted { holder, new: false }
            } else {
                LockAnswer::Refused(LockRefusal::Foreign { holder })
            });
        }
        self.refusal(acquire).map(LockAnswer::Refused)
    }

    /// Why a new grant is refused, if it is.
    fn refusal(&self, acquire: &LockAcquire) -> Option<LockRefusal> {
        if let Some(reason) = &self.frozen {
            return Some(LockRefusal::Frozen { reason: reason.clone() });
        }
        if let LockAsker::Principal(name) = &acquire.asker
            && let Some(holder) = self.holders.iter().find(|holder| holder.owner.as_ref() == Some(name))
        {
            return Some(LockRefusal::HoldsAnother { holder: holder.clone() });
        }
        let slots = self.slots.unwrap_or(acquire.default_slots);
        if u32::try_from(self.holders.len()).is_ok_and(|held| held < slots) {
            return None;
        }
        let holders = self.holders.iter().take(SHOWN_HOLDERS).cloned().collect();
        Some(LockRefusal::SemaphoreFull { slots, holders })
    }
}
