//! What machines do to a store: a disk that is full, a disk that fails, files that are damaged or cut, a clock that
//! jumps. The server refuses or ends and says why, and what it has acknowledged is there when it is back.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use holdfast_testkit::{copy_folder, wait_until};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    drop_in::DropIn,
    lab::SOON,
    members::drop_in,
    programs::{Etcdctl, run, run_with},
};

/// Keys of one transaction.
const KEYS: usize = 20;

/// One client, and what the server has acknowledged to it.
#[derive(Default)]
struct Client {
    acknowledged: BTreeMap<String, String>,
    transactions: usize,
}

impl Client {
    /// One transaction of values of so many bytes; false if it was not acknowledged.
    fn write(&mut self, etcdctl: &Etcdctl, bytes: usize) -> Result<bool> {
        self.transactions += 1;
        let value = |key: usize| format!("{:0bytes$}", self.transactions * KEYS + key);
        let puts: BTreeMap<_, _> =
            (0..KEYS).map(|key| (format!("k/{:06}/{key:02}", self.transactions), value(key))).collect();
        let script: String = puts.iter().map(|(key, value)| format!("put {key} {value}\n")).collect();
        let said = run_with(etcdctl.command(&["txn"]), &format!("\n{script}\n\n"))?;
        let acknowledged = said.code == Some(0);
        if acknowledged {
            ensure!(said.out.starts_with("SUCCESS\n"), "{said:?}");
            self.acknowledged.extend(puts);
        }
        Ok(acknowledged)
    }

    /// Everything that was acknowledged is there, as it was.
    fn check(&self, server: &DropIn) -> Result<()> {
        let etcdctl = etcdctl(server)?.context("it was there before")?;
        let answer: Value = serde_json::from_str(&etcdctl.says(&["get", "--prefix", "k/", "-w", "json"])?)?;
        let text = |kv: &Value, field: &str| -> Result<String> {
            Ok(String::from_utf8(BASE64_STANDARD.decode(kv[field].as_str().unwrap_or_default())?)?)
        };
        let pairs = answer["kvs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let found: BTreeMap<_, _> =
            pairs.iter().map(|kv| Ok((text(kv, "key")?, text(kv, "value")?))).collect::<Result<_>>()?;
        for (key, value) in &self.acknowledged {
            ensure!(found.get(key) == Some(value), "{key} was acknowledged and is {:?}", found.get(key));
        }
        Ok(())
    }
}

fn etcdctl(server: &DropIn) -> Result<Option<Etcdctl>> {
    Etcdctl::find(&server.address, None)
}

/// Waits for the end of a server that must not go on, and gives its last words.
fn last_words(server: &mut DropIn) -> Result<String> {
    let status = wait_until(SOON, "the server's end", || server.process.ended())?;
    let words = server.process.log_tail();
    ensure!(!status.success(), "it ended well: {words}");
    Ok(words)
}

/// A file system of so many megabytes in memory. None where that needs rights that the test does not have.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(megabytes: usize) -> Result<Option<Self>> {
        let disk = Self(tempfile::tempdir()?);
        if disk.mount_with(&format!("size={megabytes}m")).is_err() {
            eprintln!("SKIPPED: a file system in memory cannot be mounted here");
            return Ok(None);
        }
        Ok(Some(disk))
    }

    fn grow(&self, megabytes: usize) -> Result<()> {
        self.mount_with(&format!("remount,size={megabytes}m"))
    }

    fn mount_with(&self, options: &str) -> Result<()> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(self.0.path());
        run(mount)?.good().map(drop)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Where nothing was mounted there is nothing to do.
        let _ = Command::new("umount").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_loses_nothing_and_is_named() -> Result<()> {
    let Some(disk) = SmallDisk::mount(64)? else { return Ok(()) };
    let data = disk.0.path().join("data");
    let mut server = DropIn::start_on(&data, &mut drop_in())?;
    let Some(etcdctl) = etcdctl(&server)? else { return Ok(()) };
    let mut client = Client::default();
    while client.write(&etcdctl, 60_000)? {
        ensure!(client.transactions < 200, "200 MB fit into 64");
    }
    let words = last_words(&mut server)?;
    ensure!(words.contains("No space left on device"), "{words}");

    // Once there is room again, it goes on where it was.
    disk.grow(1_000)?;
    let server = DropIn::start_on(&data, &mut drop_in())?;
    client.check(&server)?;
    ensure!(client.write(&self::etcdctl(&server)?.context("it was there before")?, 10)?);
    client.check(&server)
}

/// The library that makes faults, and the file through which a test asks for them.
pub(crate) struct Faults {
    library: PathBuf,
    file: File,
    folder: TempDir,
}

/// The words of that file.
const SYNCS_FAIL: u64 = 0;
const CLOCK_OFF_BY_S: u64 = 1;
const SYNCS_HANG: u64 = 2;

fn set(file: &File, word: u64, value: i64) -> Result<()> {
    Ok(file.write_all_at(&value.to_ne_bytes(), word * 8)?)
}

impl Faults {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let library = folder.path().join("faults.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/faults.c");
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(source);
        run(compile)?.good()?;
        let file = File::create(folder.path().join("faults"))?;
        for word in [SYNCS_FAIL, CLOCK_OFF_BY_S, SYNCS_HANG] {
            set(&file, word, 0)?;
        }
        Ok(Self { library, file, folder })
    }

    fn fail_syncs(&self, fail: bool) -> Result<()> {
        set(&self.file, SYNCS_FAIL, fail.into())
    }

    fn shift_clock(&self, seconds: i64) -> Result<()> {
        set(&self.file, CLOCK_OFF_BY_S, seconds)
    }

    pub(crate) fn hang_syncs(&self, hang: bool) -> Result<()> {
        set(&self.file, SYNCS_HANG, hang.into())
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = drop_in();
        command.env("LD_PRELOAD", &self.library).env("FAULTS", self.folder.path().join("faults"));
        command
    }
}

#[test]
fn a_disk_that_does_not_sync_ends_the_server_and_loses_nothing() -> Result<()> {
    let (faults, folder) = (Faults::new()?, tempfile::tempdir()?);
    let mut server = DropIn::start_on(folder.path(), &mut faults.command())?;
    let Some(etcdctl) = etcdctl(&server)? else { return Ok(()) };
    let mut client = Client::default();
    ensure!(client.write(&etcdctl, 100)?);
    faults.fail_syncs(true)?;
    ensure!(!client.write(&etcdctl, 100)?, "acknowledged without having been synced");
    let words = last_words(&mut server)?;
    ensure!(words.contains("Input/output error"), "{words}");
    faults.fail_syncs(false)?;
    client.check(&DropIn::start_on(folder.path(), &mut faults.command())?)
}

#[test]
fn a_clock_that_jumps_ends_no_lease() -> Result<()> {
    let (faults, folder) = (Faults::new()?, tempfile::tempdir()?);
    let server = DropIn::start_on(folder.path(), &mut faults.command())?;
    let Some(etcdctl) = etcdctl(&server)? else { return Ok(()) };
    let mut client = Client::default();
    let granted = etcdctl.says(&["lease", "grant", "300"])?;
    let lease = granted.split(' ').nth(1).context("no lease")?;
    etcdctl.says(&["put", "session", "mine", &format!("--lease={lease}")])?;
    let hour = 3_600;
    for off in [hour, -hour, 0] {
        faults.shift_clock(off)?;
        ensure!(client.write(&etcdctl, 10)?);
        let left = etcdctl.says(&["lease", "timetolive", lease, "-w", "json"])?;
        let left = serde_json::from_str::<Value>(&left)?["ttl"].as_i64().context("no time")?;
        ensure!((200..=300).contains(&left), "{left} s left while the clock is off by {off} s");
        etcdctl.says(&["lease", "keep-alive", "--once", lease])?;
        ensure!(etcdctl.says(&["get", "session"])?.contains("mine"));
    }
    client.check(&server)
}

/// A data folder that has been in use, and what was acknowledged.
fn used() -> Result<Option<(TempDir, Client)>> {
    let (folder, mut client) = (tempfile::tempdir()?, Client::default());
    for _ in 0..2 {
        let mut server = DropIn::start_on(folder.path(), &mut drop_in())?;
        let Some(etcdctl) = etcdctl(&server)? else { return Ok(None) };
        for _ in 0..5 {
            ensure!(client.write(&etcdctl, 200)?);
        }
        ensure!(server.process.terminate(SOON)?.success());
    }
    Ok(Some((folder, client)))
}

/// Every file below a folder that a server reads when it starts.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else if entry.metadata()?.len() > 0 && !entry.file_name().to_string_lossy().starts_with("LOG") {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Does something to each file of a data folder in turn. Then the server must say that the folder is damaged, or answer
/// everything that was acknowledged.
fn survives(harm: impl Fn(&Path) -> Result<()>) -> Result<()> {
    let Some((folder, client)) = used()? else { return Ok(()) };
    let (mut refused, mut failures) = (0, Vec::new());
    for file in files(folder.path())? {
        let copy = tempfile::tempdir()?;
        copy_folder(folder.path(), copy.path())?;
        let name = file.strip_prefix(folder.path())?;
        harm(&copy.path().join(name))?;
        let outcome = match DropIn::start_on(copy.path(), &mut drop_in()) {
            Ok(server) => client.check(&server).or_else(|error| explained(&format!("{error:#}"))),
            Err(error) => {
                refused += 1;
                explained(&format!("{error:#}"))
            }
        };
        if let Err(failure) = outcome {
            failures.push(format!("with harm done to {}: {failure:#}", name.display()));
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    ensure!(refused > 0, "nothing was noticed");
    Ok(())
}

/// Whether an operator is told what is wrong.
fn explained(words: &str) -> Result<()> {
    // The first is for whoever starts the server, the second for a client whose key is in the damaged part.
    let known = ["restore-and-rejoin.md", "storage of this member failed"];
    ensure!(known.iter().any(|word| words.contains(word)) && !words.contains("panicked"), "{words}");
    Ok(())
}

#[test]
fn a_flipped_bit_is_noticed_or_does_no_harm() -> Result<()> {
    survives(|path| {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let middle = file.metadata()?.len() / 2;
        let mut byte = [0];
        file.seek(SeekFrom::Start(middle))?;
        file.read_exact(&mut byte)?;
        file.seek(SeekFrom::Start(middle))?;
        Ok(file.write_all(&[byte[0] ^ 0x10])?)
    })
}

#[test]
fn a_file_that_was_cut_is_noticed_or_does_no_harm() -> Result<()> {
    survives(|path| {
        let file = OpenOptions::new().write(true).open(path)?;
        Ok(file.set_len(file.metadata()?.len() / 2)?)
    })
}

#[test]
fn a_file_that_is_gone_is_noticed_or_does_no_harm() -> Result<()> {
    survives(|path| {
        // A server makes these itself.
        let own = path.file_name().is_some_and(|name| [OsStr::new("LOCK"), OsStr::new("IDENTITY")].contains(&name));
        if own { Ok(()) } else { Ok(fs::remove_file(path)?) }
    })
}
