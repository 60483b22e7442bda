use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Read},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use bytes::{Buf as _, Bytes};
use chainfire_backup::{Error, Manifest, Passphrase, Reader, Writer};
use holdfast_proto::chainfire::{BackupRequest, admin_client::AdminClient};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    cli::Backup,
    failure::{Code, Failure},
    output::{self, Format, Table},
    progress,
    remote::{connect_if_known, refused},
    settings::Settings,
};

/// Messages that wait for the disk.
const WAITING: usize = 4;

pub(super) async fn run(options: &Backup, settings: &Settings, output: Format) -> Result<Code, Failure> {
    let passphrase = options.passphrase_file.as_deref().map(passphrase).transpose()?;
    let out = options.out.clone();
    if out.exists() {
        return Err(Failure::usage(format!("{}: the file exists; a backup never replaces one", out.display())));
    }
    let mut client = AdminClient::new(connect_if_known(settings, &settings.api).await?);
    let request = BackupRequest { local: options.local };
    let mut stream = client.backup(request).await.map_err(refused)?.into_inner();
    let (sender, receiver) = mpsc::channel(WAITING);
    let kept = tokio::task::spawn_blocking(move || keep(receiver, &out, passphrase.as_ref()));
    let spinner = progress::spinner("receiving");
    let received = loop {
        match stream.message().await {
            Ok(Some(part)) => {
                spinner.inc(1);
                // Whoever does not take it says why below.
                if sender.send(part.data).await.is_err() {
                    break Ok(());
                }
            }
            Ok(None) => break Ok(()),
            Err(status) => break Err(refused(status)),
        }
    };
    drop(sender);
    spinner.finish_and_clear();
    let kept = kept.await.map_err(Failure::unexpected)?;
    received?;
    let (manifest, bytes) = kept?;
    show(&manifest, Some((&options.out, bytes)), output)?;
    Ok(Code::Done)
}

/// The passphrase that a file holds.
pub(super) fn passphrase(path: &Path) -> Result<Passphrase, Failure> {
    let text = fs::read(path).map_err(|error| Failure::file(path, &error))?;
    Passphrase::new(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// What is in a backup.
pub(super) fn show(manifest: &Manifest, file: Option<(&PathBuf, u64)>, output: Format) -> Result<(), Failure> {
    let value = json!({
        "file": file.map(|(path, _)| path),
        "bytes": file.map(|(_, bytes)| bytes),
        "manifest": manifest,
    });
    output.print(&value, || {
        let mut table = Table::new(&["BACKUP", ""]);
        let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
        if let Some((path, bytes)) = file {
            row("file", format!("{} ({bytes} bytes)", path.display()));
        }
        row("made", output::moment(Some(manifest.created_ms)));
        row("release", manifest.release.clone());
        row("cluster", manifest.cluster.to_string());
        row("lineage", format!("{} ({} restores before it)", manifest.lineage, manifest.lineage_ordinal));
        let members: Vec<&str> = manifest.members.iter().map(|member| member.name.as_str()).collect();
        row("members", members.join(", "));
        row("revision", manifest.revision.to_string());
        for group in &manifest.groups {
            row(&group.name, format!("entry {} of term {}", group.index, group.term));
        }
        row("encrypted", if manifest.encryption.is_some() { "yes" } else { "no" }.to_owned());
        table.to_string()
    })
}

/// Checks what arrives while it is written. The file has its name once it is whole and on disk.
fn keep(
    receiver: mpsc::Receiver<Bytes>,
    out: &Path,
    passphrase: Option<&Passphrase>,
) -> Result<(Manifest, u64), Failure> {
    let mut partial = out.as_os_str().to_owned();
    partial.push(".part");
    let partial = PathBuf::from(partial);
    let written = write(receiver, &partial, passphrase).and_then(|manifest| {
        let failed = |error: io::Error| Failure::file(out, &error);
        // Never over a file that came into being meanwhile.
        fs::hard_link(&partial, out).map_err(failed)?;
        let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok((manifest, fs::metadata(out).map_err(failed)?.len()))
    });
    // Without its name it is nothing, and with it the name is twice.
    let _ = fs::remove_file(&partial);
    written
}

fn write(receiver: mpsc::Receiver<Bytes>, path: &Path, passphrase: Option<&Passphrase>) -> Result<Manifest, Failure> {
    let failed = |error: io::Error| Failure::file(path, &error);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let mut reader = Reader::open(Received { receiver, rest: Bytes::new() }, None).map_err(broken)?;
    let mut writer = Writer::begin(BufWriter::new(file), reader.manifest().clone(), passphrase).map_err(broken)?;
    while let Some(item) = reader.next_item().map_err(broken)? {
        writer.item(item).map_err(broken)?;
    }
    let file = writer.finish().map_err(broken)?.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    File::open(path).map_err(failed).and_then(|file| Reader::manifest_of(file).map_err(broken))
}

/// A backup that is not whole, or could not be written.
#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(super) fn broken(error: Error) -> Failure {
    match error {
        Error::Encrypted | Error::NotEncrypted | Error::WrongPassphrase => {
            Failure::usage(error.to_string()).hint("--passphrase-file names the file with the passphrase")
        }
        Error::NotBackup(_) | Error::Damaged { .. } | Error::Truncated(_) => {
            Failure::new(Code::NotTrusted, error.to_string())
        }
        Error::Io(_) | Error::Passphrase(_) | Error::Format(_) => Failure::unexpected(error),
    }
}

/// What has arrived, for somebody who reads and waits.
struct Received {
    receiver: mpsc::Receiver<Bytes>,
    rest: Bytes,
}

impl Read for Received {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            let Some(next) = self.receiver.blocking_recv() else { return Ok(0) };
            self.rest = next;
        }
        let count = into.len().min(self.rest.len());
        into[..count].copy_from_slice(&self.rest[..count]);
        self.rest.advance(count);
        Ok(count)
    }
}
