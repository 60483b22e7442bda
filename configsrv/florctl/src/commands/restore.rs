use std::{
    env,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    process::Command,
};

use chainfire_backup::{Manifest, Reader};

use super::backup::{broken, passphrase, show};
use crate::{
    cli::Restore,
    failure::{Code, Failure},
    output::Format,
};

/// Checks a backup and lets `holdfast restore`, which knows how a server keeps its data, fill the folder.
pub(super) fn run(options: &Restore, output: Format) -> Result<Code, Failure> {
    if !options.from_etcd {
        let manifest = check(options)?;
        if options.check {
            show(&manifest, None, output)?;
            return Ok(Code::Done);
        }
    }
    let program = options.holdfast.clone().unwrap_or_else(beside);
    let mut command = Command::new(&program);
    command.arg("restore").arg(&options.file);
    if let Some(folder) = &options.data_dir {
        command.arg("--data-dir").arg(folder);
    }
    if options.from_etcd {
        command.arg("--from-etcd");
    }
    if let Some(file) = &options.passphrase_file {
        command.arg("--passphrase-file").arg(file);
    }
    if let Some(bump) = options.bump_revision {
        command.arg("--bump-revision").arg(bump.to_string());
    }
    let status = command.status().map_err(|error| {
        Failure::file(&program, &error).hint("--holdfast names the server's program; a restore runs on its machine")
    })?;
    if status.success() {
        return Ok(Code::Done);
    }
    Err(Failure::new(Code::State, "nothing was restored").hint("the reason is above"))
}

/// Reads all of it.
fn check(options: &Restore) -> Result<Manifest, Failure> {
    let passphrase = options.passphrase_file.as_deref().map(passphrase).transpose()?;
    let file = File::open(&options.file).map_err(|error| Failure::file(&options.file, &error))?;
    let mut reader = Reader::open(BufReader::new(file), passphrase.as_ref()).map_err(broken)?;
    while reader.next_item().map_err(broken)?.is_some() {}
    Ok(reader.manifest().clone())
}

/// The server's program of the same release, if it lies beside this one.
fn beside() -> PathBuf {
    let own = env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(|folder| folder.join("holdfast"));
    beside.filter(|program| program.is_file()).unwrap_or_else(|| "holdfast".into())
}
