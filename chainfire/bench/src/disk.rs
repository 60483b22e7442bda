use std::{
    fs::File,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::figures::Tally;

/// Appends that are synced.
const ROUNDS: u32 = 200;

/// Milliseconds that one appended page takes to be safe in `folder`: the median. No store can acknowledge a single
/// client's writes faster.
pub(crate) fn fsync_p50(folder: &Path) -> Result<f64> {
    let mut file = tempfile::tempfile_in(folder).with_context(|| format!("cannot write in {}", folder.display()))?;
    let mut tally = Tally::new();
    for _ in 0..ROUNDS {
        tally.took(append(&mut file)?);
    }
    Ok(tally.figures(Duration::from_secs(1)).p50)
}

fn append(file: &mut File) -> Result<Duration> {
    let begun = Instant::now();
    file.write_all(&[7; 4_096])?;
    file.sync_data()?;
    Ok(begun.elapsed())
}
