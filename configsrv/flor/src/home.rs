use std::{
    env, fs,
    path::{Path, PathBuf},
};

use configsrv_fleet::{NodeName, Version};

use crate::Error;

/// The home of a machine's own agent, and where its sockets are.
const SYSTEM: &str = "/var/lib/flor";
const SYSTEM_SOCKETS: &str = "/run/flor";

/// Where the agent keeps what: one folder a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    root: PathBuf,
}

/// The files of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    folder: PathBuf,
    runtime: PathBuf,
}

impl Home {
    /// `$FLOR_HOME`, else `/var/lib/flor` if there is one, else `~/.flor`.
    pub(crate) fn find(chosen: Option<PathBuf>) -> Result<Self, Error> {
        if let Some(root) = chosen {
            return Ok(Self { root });
        }
        let system = PathBuf::from(SYSTEM);
        if system.is_dir() {
            return Ok(Self { root: system });
        }
        let user = env::var_os("HOME").ok_or_else(|| Error::Usage("neither FLOR_HOME nor HOME is set".into()))?;
        Ok(Self { root: PathBuf::from(user).join(".flor") })
    }

    /// The named cluster, or the only one.
    pub(crate) fn cluster(&self, name: Option<&str>) -> Result<Layout, Error> {
        match name {
            Some(name) => Ok(self.layout(name)),
            None => self.only_cluster(),
        }
    }

    /// A folder without `cluster.json` is no cluster: an enrolment may have begun there, and was never finished.
    fn only_cluster(&self) -> Result<Layout, Error> {
        let entries = fs::read_dir(self.root.join("clusters")).map_err(|_| self.not_enrolled())?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut layouts = names.map(|name| self.layout(&name)).filter(|layout| layout.cluster().is_file());
        match (layouts.next(), layouts.next()) {
            (Some(layout), None) => Ok(layout),
            (None, _) => Err(self.not_enrolled()),
            (Some(_), Some(_)) => {
                Err(Error::Usage("this machine is enrolled in several clusters: name one with --cluster".into()))
            }
        }
    }

    /// The key of an enrolment that is not finished. It lies outside of the clusters: an enrolment that fails leaves
    /// them as they were.
    pub(crate) fn waiting_key(&self, name: &str) -> PathBuf {
        self.root.join("enrolling").join(format!("{name}.key"))
    }

    /// Keys that were made here and wait for their certificates.
    pub(crate) fn waiting_identity(&self, node: &NodeName, stem: &str) -> PathBuf {
        self.root.join("enrolling").join(node.as_str()).join(format!("{stem}.key"))
    }

    fn not_enrolled(&self) -> Error {
        Error::State(format!("this machine is not enrolled: nothing in {}; use flor enroll", self.root.display()))
    }

    /// One place for the socket, whoever asks and however the home was named: a command that looked elsewhere would take
    /// a running daemon for none.
    fn layout(&self, name: &str) -> Layout {
        let folder = self.root.join("clusters").join(name);
        let runtime = if self.is_system() { Path::new(SYSTEM_SOCKETS).join(name) } else { folder.join("run") };
        Layout { folder, runtime }
    }

    fn is_system(&self) -> bool {
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        real(&self.root) == real(Path::new(SYSTEM))
    }
}

impl Layout {
    #[cfg(test)]
    pub(crate) fn at(folder: &str) -> Self {
        Self { folder: PathBuf::from(folder), runtime: PathBuf::from(folder).join("run") }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Cluster, node and servers; enrolment writes it.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.folder.join("cluster.json")
    }

    /// The authorities that this node trusts.
    pub(crate) fn authorities(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Those of them that came with the servers' bundle.
    pub(crate) fn brought(&self) -> PathBuf {
        self.folder.join("bundle.crt")
    }

    pub(crate) fn certificate(&self, leaf: &str) -> PathBuf {
        self.folder.join("certs").join(format!("{leaf}.crt"))
    }

    pub(crate) fn key(&self, leaf: &str) -> PathBuf {
        self.folder.join("certs").join(format!("{leaf}.key"))
    }

    /// Everybody on this node, for the data plane.
    pub(crate) fn identities(&self) -> PathBuf {
        self.folder.join("identities")
    }

    /// One line: the version that runs.
    pub(crate) fn pointer(&self) -> PathBuf {
        self.folder.join("artifacts/current")
    }

    pub(crate) fn sets(&self) -> PathBuf {
        self.folder.join("artifacts/sets")
    }

    pub(crate) fn set(&self, version: Version) -> PathBuf {
        self.sets().join(format!("v{version}"))
    }

    pub(crate) fn artifact(&self, version: Version, node: &NodeName) -> PathBuf {
        self.set(version).join(format!("{node}.json"))
    }

    fn agent(&self) -> PathBuf {
        self.folder.join("state/agent")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.agent().join("state")
    }

    pub(crate) fn pending(&self) -> PathBuf {
        self.agent().join("pending")
    }

    /// What files were before the change under way touched them.
    pub(crate) fn originals(&self) -> PathBuf {
        self.agent().join("originals")
    }

    /// Who is revoked.
    pub(crate) fn lane(&self) -> PathBuf {
        self.agent().join("revocations")
    }

    /// Held by whoever takes revocations; never for long.
    pub(crate) fn lane_lock(&self) -> PathBuf {
        self.agent().join("revocations.lock")
    }

    /// Held by whoever changes something.
    pub(crate) fn lock(&self) -> PathBuf {
        self.agent().join("lock")
    }

    /// Held by the daemon for as long as it runs.
    pub(crate) fn daemon_lock(&self) -> PathBuf {
        self.agent().join("daemon.lock")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.runtime.join("agent.sock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_cluster_is_not_taken_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::find(Some(folder.path().to_owned())).unwrap();
        assert!(matches!(home.cluster(None), Err(Error::State(_))));
        fs::create_dir_all(folder.path().join("clusters/begun/certs")).unwrap();
        assert!(matches!(home.cluster(None), Err(Error::State(_))));
        let enrol = |name: &str| {
            let layout = home.cluster(Some(name)).unwrap();
            fs::create_dir_all(layout.folder()).unwrap();
            fs::write(layout.cluster(), "{}").unwrap();
            layout
        };
        assert_eq!(enrol("quay.test"), home.cluster(None).unwrap());
        enrol("dock.test");
        assert!(matches!(home.cluster(None), Err(Error::Usage(_))));
    }

    #[test]
    fn a_home_has_one_socket_whoever_asks() {
        let socket = |root: &str| Home { root: root.into() }.layout("quay.test").socket();
        for root in [SYSTEM, "/var/lib/flor/", "/var/lib/./flor"] {
            assert_eq!(socket(root), Path::new("/run/flor/quay.test/agent.sock"), "{root}");
        }
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("clusters/quay.test/run/agent.sock");
        assert_eq!(socket(&folder.path().display().to_string()), inside);
    }
}
