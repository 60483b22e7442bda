use std::{
    path::{Path, PathBuf},
    slice,
    sync::Arc,
};

use configsrv_fleet::{Digest, Envelope, NodeName, Sealed, Signer, Version};
use holdfast_format::{
    Error as FormatError, from_json,
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

/// What the agent writes down for itself, a file each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    State,
    Pending,
    Originals,
    Lane,
}

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

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
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
        let pending = readable(self.record(Record::Pending), &mut faults);
        let state: Option<AgentState> = readable(self.record(Record::State), &mut faults);
        let current = readable(self.pointer(), &mut faults);
        (World { state: state.unwrap_or_default(), pending, current }, faults)
    }

    pub(crate) fn save_state(&self, state: &AgentState) -> Result<(), Error> {
        self.put_record(Record::State, state)
    }

    pub(crate) fn save_pending(&self, pending: &Pending) -> Result<(), Error> {
        self.put_record(Record::Pending, pending)
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
        version.map(Some).ok_or_else(|| {
            Error::Configuration(format!(
                "{} is damaged: move it away, and it is written again from what is confirmed",
                path.display()
            ))
        })
    }

    /// Puts a verified artifact beside the others; nothing refers to it yet.
    pub(crate) fn stage(&self, artifact: &Sealed) -> Result<(), Error> {
        self.put(&self.layout.artifact(artifact.version(), &self.node), artifact.bytes())
    }

    /// What a staged artifact says, if it is still the one that was verified: for this node, of this version, with the content
    /// of `digest` and under the signature of `signer`, where those are known.
    pub(crate) fn envelope(
        &self,
        version: Version,
        digest: Option<Digest>,
        signer: Option<&Signer>,
    ) -> Result<Envelope, Error> {
        let path = self.layout.artifact(version, &self.node);
        let bytes = self.read(&path)?.ok_or_else(|| Error::Unexpected(format!("{} is missing", path.display())))?;
        let damaged = |error| Error::Unexpected(format!("{}: {error}", path.display()));
        let sealed = Sealed::parse(&bytes).map_err(damaged)?;
        let same = sealed.version() == version
            && *sealed.node() == self.node
            && digest.is_none_or(|digest| digest == sealed.payload_digest())
            && signer.is_none_or(|signer| sealed.verify(slice::from_ref(signer)).is_ok());
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
        Ok(self.record(Record::Originals)?.unwrap_or_default())
    }

    pub(crate) fn save_originals(&self, originals: &Originals) -> Result<(), Error> {
        self.put_record(Record::Originals, originals)
    }

    pub(crate) fn drop_originals(&self) -> Result<(), Error> {
        self.drop_file(&self.layout.originals())
    }

    pub(crate) fn lane(&self) -> Result<LaneRecord, Error> {
        Ok(self.record(Record::Lane)?.unwrap_or_default())
    }

    pub(crate) fn save_lane(&self, lane: &LaneRecord) -> Result<(), Error> {
        self.put_record(Record::Lane, lane)
    }

    fn record<T: DeserializeOwned>(&self, record: Record) -> Result<Option<T>, Error> {
        let path = record.path(&self.layout);
        let Some(bytes) = self.read(&path)? else { return Ok(None) };
        from_json(record.kind(), FORMAT, &bytes).map(Some).map_err(|error| record.damaged(&path, &error))
    }

    fn put_record<T: Serialize>(&self, record: Record, value: &T) -> Result<(), Error> {
        let bytes = to_json(record.kind(), FORMAT, value).map_err(|error| Error::Unexpected(error.to_string()))?;
        self.put(&record.path(&self.layout), &bytes)
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

impl Record {
    fn path(self, layout: &Layout) -> PathBuf {
        match self {
            Self::State => layout.state(),
            Self::Pending => layout.pending(),
            Self::Originals => layout.originals(),
            Self::Lane => layout.lane(),
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::State => AGENT_STATE,
            Self::Pending => AGENT_PENDING,
            Self::Originals => AGENT_ORIGINALS,
            Self::Lane => AGENT_REVOCATIONS,
        }
    }

    /// What becomes of a node without the file, for whoever decides about it.
    fn without(self) -> &'static str {
        match self {
            Self::State => {
                "this node then knows neither what it has confirmed nor whom it trusts by now: it runs nothing until the \
                 next flor sync, takes any version, also an older one, and tries again what failed here; to enrol it anew \
                 from an empty folder is as good"
            }
            Self::Pending => {
                "the change under way is forgotten, and what is confirmed counts: its files are written again by flor \
                 drift --repair, what only the other version wrote stays"
            }
            Self::Originals => {
                "what files were before the change under way is lost: the way back removes those that the confirmed \
                 version does not have"
            }
            Self::Lane => "nobody is revoked on this node until it has reached the servers",
        }
    }

    /// To start again does not help, and nobody but a person can say what may be lost.
    fn damaged(self, path: &Path, error: &FormatError) -> Error {
        let path = path.display();
        Error::Configuration(match error {
            FormatError::Newer { .. } => format!("{path}: {error}: use the newer release of this program again"),
            FormatError::Short(_)
            | FormatError::Magic
            | FormatError::WrongKind { .. }
            | FormatError::Checksum
            | FormatError::Trailing(_)
            | FormatError::Payload(_) => format!(
                "{path} is damaged ({error}): bring it back from a backup, or move it away; {}; see stuck-node.md",
                self.without()
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{disk::forgetful::ForgetfulDisk, machine::Phase};

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

    fn store(disk: &ForgetfulDisk) -> Store {
        Store::new(Arc::new(disk.clone()), Layout::at("/flor"), "pier2".parse().unwrap())
    }

    #[test]
    fn a_damaged_record_says_which_it_is_and_what_is_lost_without_it() {
        for (name, loss) in [
            ("state/agent/state", "takes any version"),
            ("state/agent/pending", "drift --repair"),
            ("state/agent/originals", "what files were"),
            ("state/agent/revocations", "nobody is revoked"),
            ("artifacts/current", "written again"),
        ] {
            let disk = ForgetfulDisk::default();
            let store = store(&disk);
            store.save_state(&AgentState::default()).unwrap();
            let path = format!("/flor/{name}");
            disk.plant(&path, b"damage");
            let failed = [store.load().map(drop), store.originals().map(drop), store.lane().map(drop)];
            let errors: Vec<Error> = failed.into_iter().filter_map(Result::err).collect();
            let [Error::Configuration(text)] = errors.as_slice() else { panic!("{name}: {errors:?}") };
            assert!(text.contains(&path) && text.contains("move it away") && text.contains(loss), "{text}");
        }
    }

    #[test]
    fn what_a_newer_release_wrote_is_not_moved_away() {
        let disk = ForgetfulDisk::default();
        let newer = holdfast_format::encode(AGENT_STATE, FORMAT + 1, b"{}");
        disk.plant("/flor/state/agent/state", &newer);
        let error = store(&disk).load().unwrap_err();
        assert!(matches!(&error, Error::Configuration(text) if text.contains("newer release")), "{error}");
    }

    #[test]
    fn a_glance_shows_what_is_whole() {
        let disk = ForgetfulDisk::default();
        let store = store(&disk);
        store.point(Some(Version::new(7).unwrap())).unwrap();
        disk.plant("/flor/state/agent/state", b"damage");
        let (world, faults) = store.glance();
        assert_eq!((world.current.map(Version::get), faults.len()), (Some(7), 1));
    }
}
