//! Programs of other projects: installing system packages, and the public clients that tests drive our servers with.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{layout::Layout, programs};

/// Something that a Debian package provides; the first set of names that the system's archive has is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Package {
    pub(crate) purpose: &'static str,
    pub(crate) names: &'static [&'static [&'static str]],
}

/// A client that tests and the demo use when it is there, and that CI insists on.
struct Client {
    program: &'static str,
    source: Source,
}

enum Source {
    Package(Package),
    /// A Go module with its version: not in Debian.
    Go(&'static str),
}

const CLIENTS: &[Client] = &[
    Client { program: "etcdctl", source: Source::Package(Package { purpose: "etcdctl", names: &[&["etcd-client"]] }) },
    Client { program: "psql", source: Source::Package(Package { purpose: "psql", names: &[&["postgresql-client"]] }) },
    Client { program: "curl", source: Source::Package(Package { purpose: "curl", names: &[&["curl"]] }) },
    Client { program: "grpcurl", source: Source::Go("github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3") },
];

/// Installs every client that is missing.
pub(crate) fn ensure_clients(layout: &Layout) -> Result<()> {
    let mut packages = Vec::new();
    for client in CLIENTS.iter().filter(|client| find(layout, client.program).is_none()) {
        match &client.source {
            Source::Package(package) => packages.push(*package),
            Source::Go(module) => go_install(layout, module)?,
        }
    }
    if packages.is_empty() { Ok(()) } else { install(&packages) }
}

/// A client in our own folder or in `PATH`.
pub(crate) fn find(layout: &Layout, program: &str) -> Option<PathBuf> {
    Some(layout.bin().join(program)).filter(|path| path.is_file()).or_else(|| programs::find(program))
}

fn go_install(layout: &Layout, module: &str) -> Result<()> {
    let known = Path::new("/usr/local/go/bin/go");
    let go = programs::find("go").or_else(|| known.is_file().then(|| known.to_owned()));
    let Some(go) = go else {
        bail!("{module} is missing, and so is Go to build it with; install Go or put the program into PATH");
    };
    fs::create_dir_all(layout.bin()).with_context(|| format!("cannot make {}", layout.bin().display()))?;
    println!("go install {module}");
    programs::run(Command::new(go).args(["install", module]).env("GOBIN", layout.bin()).current_dir(layout.bin()))
}

/// Installs packages as root on Debian and its kin; otherwise says what to type.
pub(crate) fn install(packages: &[Package]) -> Result<()> {
    let purposes: Vec<_> = packages.iter().map(|package| package.purpose).collect();
    let Some(apt) = programs::find("apt-get") else {
        bail!("missing: {}; install them with the system's package manager", purposes.join(", "));
    };
    let by_hand = || {
        let names: Vec<_> =
            packages.iter().filter_map(|package| package.names.first()).map(|set| set.join(" ")).collect();
        format!("missing: {}; run: sudo apt-get install -y {}", purposes.join(", "), names.join(" "))
    };
    if !is_root()? {
        bail!(by_hand());
    }
    if !packages.iter().all(|package| package.names.iter().any(|set| available(set))) {
        programs::run(apt_get(&apt).args(["update", "-q"]))?;
    }
    let mut names = BTreeSet::new();
    for package in packages {
        let set = package.names.iter().find(|set| available(set)).with_context(by_hand)?;
        names.extend(set.iter().copied());
    }
    println!("installing {}", names.iter().copied().collect::<Vec<_>>().join(" "));
    programs::run(apt_get(&apt).args(["install", "-y", "-q", "--no-install-recommends"]).args(&names))
}

fn apt_get(apt: &Path) -> Command {
    let mut command = Command::new(apt);
    command.env("DEBIAN_FRONTEND", "noninteractive").arg("-o").arg("DPkg::Lock::Timeout=120");
    command
}

/// Whether the system's package lists know all of them.
fn available(names: &[&str]) -> bool {
    names.iter().all(|name| {
        let found = programs::output(Command::new("apt-cache").args(["show", "--no-all-versions", name]));
        found.is_ok_and(|text| !text.is_empty())
    })
}

fn is_root() -> Result<bool> {
    let id = programs::output(Command::new("id").arg("-u"))?;
    Ok(id.trim_ascii() == b"0")
}
