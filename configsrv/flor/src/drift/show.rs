use std::{fmt::Write as _, path::Path};

use configsrv_fleet::Payload;

use super::{Drift, diff::unified};
use crate::{Error, activate::content, disk::Disk};

/// Longer texts are not compared line by line.
const LONGEST: u64 = 1 << 20;

/// How the files that drifted differ from what the active version says, in text where they are text. Read with the rights of
/// whoever asks.
pub(crate) fn show(disk: &dyn Disk, payload: &Payload, drift: &Drift) -> Result<String, Error> {
    let mut out = String::new();
    for drifted in &drift.files {
        let _ = writeln!(out, "# {drifted}");
        let Some(file) = payload.files.iter().find(|file| file.path == drifted.path) else { continue };
        let (written, _) = content(disk, file)?;
        let path = Path::new(&file.path);
        let size = disk.look(path).ok().flatten().map(|seen| seen.stamp.size);
        if size.is_some_and(|size| size > LONGEST) {
            let _ = writeln!(out, "# it is too long to be shown");
            continue;
        }
        // What is no file is told already.
        let Ok(Some((_, found))) = disk.original(path) else { continue };
        match (String::from_utf8(written), String::from_utf8(found)) {
            (Ok(written), Ok(found)) => {
                let names = (format!("a{}", file.path), format!("b{}", file.path));
                out.push_str(&unified(&names.0, &written, &names.1, &found));
            }
            _ => {
                let _ = writeln!(out, "# it is no text");
            }
        }
    }
    Ok(out)
}
