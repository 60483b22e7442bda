use std::{path::Path, sync::Arc};

use configsrv_fleet::{Digest, Envelope, NodeName, Sealed, Version};
use holdfast_format::{
    from_json,
    kind::{AGENT_ORIGINALS, AGENT_PENDING, AGENT_REVOCATIONS, AGENT_STATE, Kind},
    to_json,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Error,
    activate::Originals,
    disk::{Attributes, Disk, erase, save},
    home::Layout,
    lane::LaneRecord,
    machine::{AgentState, Pending, World},
};

const FORMAT: u16 = 1;

/// The world on disk, and the artifacts.
#[derive(Clone)]
pub(crate) struct Store {
    disk: Arc<dyn Disk>,
    layout: Layout,
    node: NodeName,
}

impl Store {
    pub(crate) fn new(disk: Arc<dyn Disk>, layout: Layout, node: NodeName) -> Self {
        Self { disk, layout, node }
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        self.disk.as_ref()
    }

    /// The pending change is read first, since it is what a change clears last: whoever looks without a turn while
    /// somebody else confirms sees it pending or confirmed, never neither.
    pub(crate) fn load(&self) -> Result<World, Error> {
        let (world, faults) = self.glance();
        faults.into_iter().next().map_or(Ok(world), Err)
    }

    /// The same, as far as it can be read, and why not all of it can: for a look, and for nothing that changes something.
    pub(crate) fn glance(&self) -> (World, Vec<Error>) {
        fn readable<T: Default>(read: Result<T, Error>, faults: &mut Vec<Error>) -> T {
            read.unwrap_or_else(|fault| {
                faults.push(fault);
                T::default()
            })
        }
        let mut faults = Vec::new();
        let pending = readable(self.record(&self.layout.pending(), AGENT_PENDING), &mut faults);
        let state: Option<AgentState> = readable(self.record(&self.layout.state(), AGENT_STATE), &mut faults);
        let current = readable(self.pointer(), &mut faults);
        (World { state: state.unwrap_or_default(), pending, current }, faults)
    }

    pub(crate) fn save_state(&self, state: &AgentState) -> Result<(), Error> {
        self.put(&self.layout.state(), &encode(AGENT_STATE, state)?)
    }

    pub(crate) fn save_pending(&self, pending: &Pending) -> Result<(), Error> {
        self.put(&self.layout.pending(), &encode(AGENT_PENDING, pending)?)
    }

    pub(crate) fn clear_pending(&self) -> Result<(), Error> {
        self.drop_file(&self.layout.pending())
    }

    /// Flips the pointer. A file and not a link, so that it is replaced in one step everywhere.
    pub(crate) fn point(&self, version: Option<Version>) -> Result<(), Error> {
        let path = self.layout.pointer();
        match version {
            Some(version) => self.put(&path, format!("v{version}\n").as_bytes()),
            None => self.drop_file(&path),
        }
    }

    fn pointer(&self) -> Result<Option<Version>, Error> {
        let path = self.layout.pointer();
        let Some(bytes) = self.read(&path)? else { return Ok(None) };
        let version = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim_end().strip_prefix('v')?.parse().ok());
        version.map(Some).ok_or_else(|| Error::Unexpected(format!("{} is damaged", path.display())))
    }

    /// Puts a verified artifact beside the others; nothing refers to it yet.
    pub(crate) fn stage(&self, artifact: &Sealed) -> Result<(), Error> {
        self.put(&self.layout.artifact(artifact.version(), &self.node), artifact.bytes())
    }

    /// What a staged artifact says, if it is still the one that was verified: for this node, of this version, and with
    /// the content of `digest`, where that is known.
    pub(crate) fn envelope(&self, version: Version, digest: Option<Digest>) -> Result<Envelope, Error> {
        let path = self.layout.artifact(version, &self.node);
        let bytes = self.read(&path)?.ok_or_else(|| Error::Unexpected(format!("{} is missing", path.display())))?;
        let damaged = |error| Error::Unexpected(format!("{}: {error}", path.display()));
        let sealed = Sealed::parse(&bytes).map_err(damaged)?;
        let same = sealed.version() == version
            && *sealed.node() == self.node
            && digest.is_none_or(|digest| digest == sealed.payload_digest());
        if !same {
            return Err(Error::Unexpected(format!("{} is not what was verified before", path.display())));
        }
        sealed.open().map_err(damaged)
    }

    /// Removes every staged set but `keep`.
    pub(crate) fn sweep(&self, keep: &[Version]) -> Result<(), Error> {
        let sets = self.layout.sets();
        let kept: Vec<String> = keep.iter().map(|version| format!("v{version}")).collect();
        let names = self.disk.list(&sets).map_err(|error| Error::file(&sets, &error))?;
        for name in names.iter().filter(|name| !kept.contains(name)) {
            let path = sets.join(name);
            self.disk.remove_folder(&path).map_err(|error| Error::file(&path, &error))?;
        }
        Ok(())
    }

    pub(crate) fn originals(&self) -> Result<Originals, Error> {
        Ok(self.record(&self.layout.originals(), AGENT_ORIGINALS)?.unwrap_or_default())
    }

    pub(crate) fn save_originals(&self, originals: &Originals) -> Result<(), Error> {
        self.put(&self.layout.originals(), &encode(AGENT_ORIGINALS, originals)?)
    }

    pub(crate) fn drop_originals(&self) -> Result<(), Error> {
        self.drop_file(&self.layout.originals())
    }

    pub(crate) fn lane(&self) -> Result<LaneRecord, Error> {
        Ok(self.record(&self.layout.lane(), AGENT_REVOCATIONS)?.unwrap_or_default())
    }

    pub(crate) fn save_lane(&self, lane: &LaneRecord) -> Result<(), Error> {
        self.put(&self.layout.lane(), &encode(AGENT_REVOCATIONS, lane)?)
    }

    fn record<T: DeserializeOwned>(&self, path: &Path, kind: Kind) -> Result<Option<T>, Error> {
        let Some(bytes) = self.read(path)? else { return Ok(None) };
        let damaged = |error| Error::Unexpected(format!("{}: {error}", path.display()));
        from_json(kind, FORMAT, &bytes).map(Some).map_err(damaged)
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Error> {
        self.disk.read(path).map_err(|error| Error::file(path, &error))
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        save(self.disk(), path, bytes, Attributes::PRIVATE).map_err(|error| Error::file(path, &error))
    }

    fn drop_file(&self, path: &Path) -> Result<(), Error> {
        erase(self.disk(), path).map_err(|error| Error::file(path, &error))
    }
}

fn encode<T: Serialize>(kind: Kind, value: &T) -> Result<Vec<u8>, Error> {
    to_json(kind, FORMAT, value).map_err(|error| Error::Unexpected(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Phase;

    const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

    /// Release 1 wrote these; every later release must read them.
    #[test]
    fn the_first_release_still_reads() {
        let pending = format!(
            r#"{{"from":{{"version":7,"digest":"{DIGEST}"}},"to":{{"version":8,"digest":"{DIGEST}"}},"class":"files",
                "signers":[],"guard":{{"armed_wall_ms":1,"armed_uptime_ms":2,"armed_boot":"b","remaining_ms":3,
                "deadline_wall_ms":4}},"phase":{{"is":"rolling_back","reason":"r","reject":true}}}}"#
        );
        let frame = holdfast_format::encode(AGENT_PENDING, 1, pending.as_bytes());
        let pending: Pending = from_json(AGENT_PENDING, FORMAT, &frame).unwrap();
        assert_eq!(pending.phase, Phase::RollingBack { reason: "r".into(), reject: true });

        let state = format!(
            r#"{{"confirmed":{{"version":7,"digest":"{DIGEST}"}},"signers":[],"offered":8,
                "rejected":[{{"target":{{"version":8,"digest":"{DIGEST}"}},"reason":"r","at_ms":1}}],
                "degraded":null,"last":{{"result":"confirmed","version":7,"at_ms":1}}}}"#
        );
        let frame = holdfast_format::encode(AGENT_STATE, 1, state.as_bytes());
        let state: AgentState = from_json(AGENT_STATE, FORMAT, &frame).unwrap();
        assert_eq!(state.rejected.len(), 1);
    }
}
