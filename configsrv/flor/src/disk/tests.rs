//! What somebody who may write into a folder could prepare there for an agent that is root. Without root's rights, a
//! folder that everybody may write into stands for theirs.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::PathBuf,
};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::*;

const SHADOW: &str = "root's own";
const NOBODY: u32 = 65534;

/// A file that must not change, and a folder of somebody else's.
struct Machine {
    folder: TempDir,
    theirs: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let theirs = folder.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        if chown(&theirs, Some(NOBODY), Some(NOBODY)).is_err() {
            fs::set_permissions(&theirs, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let machine = Self { folder, theirs };
        machine.file("etc/shadow", SHADOW);
        machine
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = self.at(path);
        replace(&RealDisk, &path, text.as_bytes(), Attributes::PRIVATE).unwrap();
        path
    }

    fn link(&self, from: &str, to: &str) -> PathBuf {
        std::os::unix::fs::symlink(to, self.at(from)).unwrap();
        self.at(from)
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.at(path)).ok()
    }

    #[track_caller]
    fn is_untouched(&self) {
        assert_eq!(self.text("etc/shadow").as_deref(), Some(SHADOW));
        assert_eq!(mode(&self.at("etc/shadow")), 0o600);
        assert_eq!(fs::read_dir(self.at("etc")).unwrap().count(), 1);
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_new_file_is_never_written_through_a_link() {
    let machine = Machine::new();
    let planted = machine.link("theirs/.app.conf.flor-new-0", "../etc/shadow");
    let error = RealDisk.write(&planted, b"x", Attributes::PUBLIC).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    // And whoever prepares names that a killed agent could have left has only made work, and may keep some of it.
    fs::create_dir(machine.at("theirs/.app.conf.flor-new-1")).unwrap();
    let metadata = fs::metadata(&machine.theirs).unwrap();
    let attributes = Attributes { mode: 0o640, owner: Some((metadata.uid(), metadata.gid())) };
    replace(&RealDisk, &machine.at("theirs/app.conf"), b"x", attributes).unwrap();
    assert_eq!(RealDisk.list(&machine.theirs).unwrap(), [".app.conf.flor-new-1", "app.conf"]);
    assert_eq!(RealDisk.original(&machine.at("theirs/app.conf")).unwrap(), Some((attributes, b"x".to_vec())));
    machine.is_untouched();
}

#[test]
fn names_of_new_files_cannot_be_guessed() {
    let disk = forgetful::ForgetfulDisk::default();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2 {
        disk.stop_after(1);
        assert!(replace(&disk, Path::new("/etc/shop"), b"x", Attributes::PUBLIC).is_err());
        seen.extend(disk.list(Path::new("/etc")).unwrap());
        disk.stop_after(2);
        disk.remove(&Path::new("/etc").join(seen.last().unwrap())).unwrap();
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
}

#[test]
fn a_file_that_is_a_link_is_replaced_and_not_followed() {
    let machine = Machine::new();
    let target = machine.link("theirs/app.conf", "../etc/shadow");
    let error = RealDisk.original(&target).unwrap_err();
    assert!(error.to_string().contains("app.conf is a link"), "{error}");
    assert!(RealDisk.read(&target).is_err(), "nor is it read");
    replace(&RealDisk, &target, b"x", Attributes::PUBLIC).unwrap();
    assert_eq!((machine.text("theirs/app.conf").as_deref(), mode(&target)), (Some("x"), 0o644));
    fs::remove_file(&target).unwrap();
    machine.link("theirs/app.conf", "../etc/shadow");
    erase(&RealDisk, &target).unwrap();
    assert!(!target.is_symlink());
    machine.is_untouched();
}

#[test]
fn a_folder_that_is_somebody_s_link_leads_nowhere() {
    let machine = Machine::new();
    machine.link("theirs/conf", "../etc");
    for path in ["theirs/conf/shadow", "theirs/conf/new", "theirs/conf/deeper/new"] {
        let path = machine.at(path);
        let error = replace(&RealDisk, &path, b"x", Attributes::PUBLIC).unwrap_err();
        assert!(error.to_string().contains("conf is a link"), "{error}");
        assert!(erase(&RealDisk, &path).is_err() && RealDisk.original(&path).is_err());
    }
    machine.is_untouched();
}

#[test]
fn links_that_only_root_can_have_made_are_followed() {
    let machine = Machine::new();
    machine.file("usr/lib/app/keep", "kept");
    machine.link("lib", "usr/lib");
    machine.link("usr/lib/back", "../../etc");
    replace(&RealDisk, &machine.at("lib/app/conf"), b"x", Attributes::PUBLIC).unwrap();
    assert_eq!(machine.text("usr/lib/app/conf").as_deref(), Some("x"));
    assert_eq!(RealDisk.read(&machine.at("lib/back/shadow")).unwrap().as_deref(), Some(SHADOW.as_bytes()));
    let ca = machine.link("etc/ca.crt", "../lib/app/keep");
    assert_eq!(RealDisk.read(&ca).unwrap().as_deref(), Some(&b"kept"[..]));
    machine.link("round", "round");
    assert!(RealDisk.read(&machine.at("round/x")).is_err() && RealDisk.read(&machine.at("round")).is_err());
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let machine = Machine::new();
    let pipe = machine.at("theirs/app.conf");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
    for path in [&pipe, &machine.theirs] {
        let error = RealDisk.original(path).unwrap_err();
        assert!(error.to_string().contains("no regular file"), "{error}");
    }
    assert_eq!(RealDisk.original(&machine.at("theirs/none")).unwrap(), None);
    assert_eq!(RealDisk.original(&machine.at("none/none")).unwrap(), None);
    erase(&RealDisk, &machine.at("none/none")).unwrap();
}

/// A file without content takes no room on a disk, however long it is.
#[test]
fn what_is_too_large_to_be_kept_is_refused_at_once() {
    let machine = Machine::new();
    let path = machine.at("theirs/app.conf");
    let file = fs::File::create(&path).unwrap();
    file.set_len(1 << 36).unwrap();
    let error = RealDisk.original(&path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    assert!(error.to_string().contains("larger than 16 MiB") && error.to_string().contains("move it away"), "{error}");
    file.set_len(LARGEST_ORIGINAL).unwrap();
    let (_, bytes) = RealDisk.original(&path).unwrap().unwrap();
    assert_eq!(u64::try_from(bytes.len()), Ok(LARGEST_ORIGINAL));
}

#[test]
fn new_folders_are_as_open_as_their_files_readers_need() {
    let machine = Machine::new();
    with_umask(0o077, || {
        replace(&RealDisk, &machine.at("srv/app/conf"), b"x", Attributes::PUBLIC).unwrap();
        save(&RealDisk, &machine.at("home/state/agent"), b"x", Attributes::PRIVATE).unwrap();
    });
    let modes = ["srv", "srv/app", "srv/app/conf", "home", "home/state"].map(|path| mode(&machine.at(path)));
    assert_eq!(modes, [0o755, 0o755, 0o644, 0o700, 0o700]);
}
