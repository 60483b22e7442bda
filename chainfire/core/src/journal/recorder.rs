use std::fmt::Write as _;

use holdfast_format::kind;
use holdfast_keyspace::Write;
use uuid::Uuid;

use super::{
    AuditLevel, AuditPolicy, JournalPosition, JournalRecord, Outcome, policy, sha256,
    store::{row_key, used},
};
use crate::{
    Envelope, Halt, LogPosition,
    cluster::State,
    effect::Effect,
    format::encode_record,
    kv::{EventKind, RevisionEvents},
    meta, table,
};

/// Bytes of a key that a record shows; a longer one is cut, and told apart by its digest.
const SHOWN: usize = 512;

/// Writes the journal records of one log entry.
pub(crate) struct Recorder<'a> {
    envelope: &'a Envelope,
    cluster: State,
    index: u64,
    policy: AuditPolicy,
    used: u64,
    sub: u32,
}

/// What a record says beside who, when and where.
#[derive(Default)]
pub(crate) struct Entry {
    pub(crate) action: String,
    pub(crate) resource: String,
    pub(crate) refused: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) revision: Option<u64>,
    pub(crate) before: Option<[u8; 32]>,
    pub(crate) after: Option<[u8; 32]>,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(
        state: &dyn holdfast_keyspace::Read,
        cluster: State,
        at: LogPosition,
        envelope: &'a Envelope,
    ) -> Result<Self, Halt> {
        let (policy, used) = if cluster.journal { (policy(state)?, used(state)?) } else { Default::default() };
        Ok(Self { envelope, cluster, index: at.index, policy, used, sub: 0 })
    }

    pub(crate) fn policy(&self) -> &AuditPolicy {
        &self.policy
    }

    /// Whether user commands that need a record have to be refused.
    pub(crate) fn is_full(&self) -> bool {
        self.cluster.journal && self.used >= self.cluster.limits.journal_bytes
    }

    /// Whether the reserve for system and cluster commands is spent too.
    pub(crate) fn is_exhausted(&self) -> bool {
        let limits = self.cluster.limits;
        self.cluster.journal && self.used >= limits.journal_bytes.saturating_add(limits.journal_reserve)
    }

    pub(crate) fn record(&mut self, state: &mut dyn Write, entry: Entry) -> Result<(), Halt> {
        if !self.cluster.journal {
            return Ok(());
        }
        let position = self.position(self.sub);
        self.sub = self.sub.checked_add(1).ok_or_else(|| Halt::damaged("an entry has 2^32 journal records"))?;
        let record = JournalRecord {
            position,
            time_ms: self.envelope.time_ms,
            origin: self.envelope.origin.clone(),
            action: entry.action,
            resource: entry.resource,
            outcome: entry.refused.map_or(Outcome::Done, Outcome::Refused),
            reason: entry.reason,
            revision: entry.revision,
            before: entry.before,
            after: entry.after,
        };
        let key = row_key(self.cluster.lineage_ordinal, position);
        let value = encode_record(kind::JOURNAL, &record)?;
        self.used = self.used.saturating_add((key.len() + value.len()) as u64);
        state.put(table::JOURNAL, key, value);
        Ok(())
    }

    /// Records the changes of user keys that the policy asks for.
    pub(crate) fn record_events(&mut self, state: &mut dyn Write, changed: &RevisionEvents) -> Result<(), Halt> {
        for event in &changed.events {
            let level = self.policy.level_of(&event.kv.key);
            if level == AuditLevel::None {
                continue;
            }
            let digest = level == AuditLevel::Digest;
            let before = event.prev_kv.as_ref().filter(|_| digest).map(|kv| sha256(&kv.value));
            let (action, after) = match event.kind {
                EventKind::Put => ("kv.Put", digest.then(|| sha256(&event.kv.value))),
                EventKind::Delete => ("kv.Delete", None),
            };
            self.record(
                state,
                Entry {
                    action: action.into(),
                    resource: key_resource(&event.kv.key),
                    revision: Some(changed.revision.0.cast_unsigned()),
                    before,
                    after,
                    ..Entry::default()
                },
            )?;
        }
        Ok(())
    }

    /// Counts what was recorded.
    pub(crate) fn finish(self, state: &mut dyn Write, effects: &mut Vec<Effect>) {
        if let Some(last) = self.sub.checked_sub(1) {
            meta::set_counter(state, meta::JOURNAL_BYTES, self.used);
            effects.push(Effect::JournalAppended { last: self.position(last) });
        }
    }

    fn position(&self, sub: u32) -> JournalPosition {
        let lineage: Uuid = self.cluster.lineage;
        JournalPosition { lineage, index: self.index, sub }
    }
}

/// `key/` and the key in printable form: text as it is, control and other bytes escaped.
fn key_resource(key: &[u8]) -> String {
    let shown = key.get(..SHOWN).unwrap_or(key);
    let mut out = String::from("key/");
    for chunk in shown.utf8_chunks() {
        for char in chunk.valid().chars() {
            if char.is_control() || char == '\\' { out.extend(char.escape_default()) } else { out.push(char) }
        }
        out.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    if shown.len() < key.len() {
        out.push_str("...sha256:");
        for byte in sha256(key) {
            // Writing to a string cannot fail.
            let _ = write!(out, "{byte:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_printable_and_distinct() {
        assert_eq!(key_resource("a/\u{fc}".as_bytes()), "key/a/\u{fc}");
        assert_eq!(key_resource(b"a\n\0\xff\\"), "key/a\\n\\u{0}\\xff\\\\");
        let long = key_resource(&[b'x'; 600]);
        assert!(long.len() < 600 && long.contains("...sha256:"), "{long}");
        assert_ne!(long, key_resource(&[b'x'; 601]));
    }
}
