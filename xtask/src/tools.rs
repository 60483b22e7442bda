//! Programs of other projects: installing system packages, and the public clients that tests drive our servers with.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
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
    /// A Go program of the release that a module file in this tree names, with the checksums of all that is in it.
    GoTool {
        folder: &'static str,
        package: &'static str,
    },
    /// A Python with the libraries that a file lists, each with its version.
    Python {
        requirements: &'static str,
    },
    /// One file of a Debian package that must not be installed, since its service would start.
    Unpacked {
        package: &'static str,
        file: &'static str,
    },
}

const CLIENTS: &[Client] = &[
    Client { program: "etcdctl", source: Source::Package(Package { purpose: "etcdctl", names: &[&["etcd-client"]] }) },
    Client { program: "psql", source: Source::Package(Package { purpose: "psql", names: &[&["postgresql-client"]] }) },
    Client { program: "curl", source: Source::Package(Package { purpose: "curl", names: &[&["curl"]] }) },
    Client { program: "grpcurl", source: Source::Go("github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3") },
    Client {
        program: "protoc",
        source: Source::Package(Package {
            purpose: "protoc (the tests of the crate etcd-client)",
            names: &[&["protobuf-compiler", "libprotobuf-dev"]],
        }),
    },
    Client {
        program: "holdfast-python",
        source: Source::Python { requirements: "holdfast/tests/python/requirements.txt" },
    },
    // What chainfire is held against. Not clients, but as optional and as required as those.
    Client {
        program: "etcd-3.6",
        source: Source::GoTool { folder: "chainfire/reference", package: "go.etcd.io/etcd/server/v3" },
    },
    Client { program: "etcd-3.4", source: Source::Unpacked { package: "etcd-server", file: "usr/bin/etcd" } },
];

/// Installs every client that is missing.
pub(crate) fn ensure_clients(layout: &Layout) -> Result<()> {
    let mut packages = Vec::new();
    for client in CLIENTS.iter().filter(|client| find(layout, client.program).is_none()) {
        match &client.source {
            Source::Package(package) => packages.push(*package),
            Source::Go(module) => go_install(layout, module)?,
            Source::GoTool { folder, package } => go_build(layout, client.program, folder, package)?,
            Source::Python { requirements } => python(layout, client.program, requirements)?,
            Source::Unpacked { package, file } => unpack(layout, client.program, package, file)?,
        }
    }
    if packages.is_empty() { Ok(()) } else { install(&packages) }
}

/// A client in our own folder or in `PATH`.
pub(crate) fn find(layout: &Layout, program: &str) -> Option<PathBuf> {
    Some(layout.bin().join(program)).filter(|path| path.is_file()).or_else(|| programs::find(program))
}

fn go_install(layout: &Layout, module: &str) -> Result<()> {
    let go = go(module)?;
    println!("go install {module}");
    programs::run(Command::new(go).args(["install", module]).env("GOBIN", bin(layout)?).current_dir(layout.bin()))
}

/// Builds with exactly what the module file and its checksums say.
fn go_build(layout: &Layout, program: &str, folder: &str, package: &str) -> Result<()> {
    let go = go(package)?;
    println!("go build {package}");
    let mut command = Command::new(go);
    command.args(["build", "-mod=readonly", "-trimpath", "-o"]).arg(bin(layout)?.join(program)).arg(package);
    programs::run(command.env("CGO_ENABLED", "0").current_dir(layout.root().join(folder)))
}

fn go(purpose: &str) -> Result<PathBuf> {
    let known = Path::new("/usr/local/go/bin/go");
    programs::find("go").or_else(|| known.is_file().then(|| known.to_owned())).with_context(|| {
        format!("{purpose} is missing, and so is Go to build it with; install Go or put the program into PATH")
    })
}

/// Makes an environment of its own with the libraries, and a program that starts its interpreter.
fn python(layout: &Layout, program: &str, requirements: &str) -> Result<()> {
    if programs::output(Command::new("python3").args(["-c", "import ensurepip"])).is_err() {
        install(&[Package { purpose: "Python", names: &[&["python3", "python3-venv"]] }])?;
    }
    let folder = layout.python();
    println!("installing {requirements}");
    programs::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--requirement"]).arg(layout.root().join(requirements));
    programs::run(&mut pip)?;
    let script = format!("#!/bin/sh\nexec '{}' \"$@\"\n", folder.join("bin/python").display());
    let path = bin(layout)?.join(program);
    fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(&path, Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} a program", path.display()))
}

/// Fetches a package and takes one program out of it.
fn unpack(layout: &Layout, program: &str, package: &str, file: &str) -> Result<()> {
    let Some(apt) = programs::find("apt-get") else {
        bail!("{program} is missing: it is {file} of Debian's {package}; put it into PATH under that name");
    };
    if !available(&[package]) && is_root()? {
        programs::run(apt_get(&apt).args(["update", "-q"]))?;
    }
    println!("unpacking {package}");
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    programs::run(apt_get(&apt).args(["download", "-q", package]).current_dir(folder.path()))?;
    let archive = fs::read_dir(folder.path())?.next().with_context(|| format!("apt-get fetched no {package}"))??;
    let content = folder.path().join("content");
    programs::run(Command::new("dpkg-deb").arg("-x").arg(archive.path()).arg(&content))?;
    let target = bin(layout)?.join(program);
    fs::copy(content.join(file), &target).with_context(|| format!("cannot make {}", target.display()))?;
    Ok(())
}

/// The folder of programs that are built for tests; it exists afterwards.
fn bin(layout: &Layout) -> Result<PathBuf> {
    let folder = layout.bin();
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
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
