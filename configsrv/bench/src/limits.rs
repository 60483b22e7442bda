use anyhow::{Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a process needs besides: a server's storage, this program's results.
const OTHERS: u64 = 1_024;

/// Nodes that have room at one server: its listener takes a quarter of the open files, of which strangers keep a quarter.
fn nodes_of(files: u64) -> u64 {
    files.saturating_sub(OTHERS) * 3 / 16
}

fn files_for(nodes: u64) -> u64 {
    nodes.saturating_mul(16).div_ceil(3) + OTHERS
}

/// Room for the connections of so many nodes, here and in the servers that are started from here. Returns how many nodes
/// may have a connection to one server at a time: where the limit cannot be raised that high, it is as high as it goes.
pub(crate) fn raise(nodes: usize) -> Result<usize> {
    let nodes = u64::try_from(nodes)?;
    let needed = files_for(nodes);
    let maximum = getrlimit(Resource::Nofile).maximum;
    let most = maximum.map_or(needed, |maximum| maximum.max(needed));
    // Who has the right may raise both.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: Some(most) });
    let files = match (raised, maximum) {
        (Ok(()), _) => most,
        (Err(_), Some(maximum)) => {
            setrlimit(Resource::Nofile, Rlimit { current: Some(maximum), maximum: Some(maximum) })?;
            maximum
        }
        (Err(error), None) => return Err(error.into()),
    };
    if nodes + OTHERS > files {
        bail!("{nodes} nodes need {} open files here, {files} are allowed", nodes + OTHERS);
    }
    Ok(usize::try_from(nodes_of(files))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_whom_files_are_asked_for() {
        for nodes in [1, 100, 9_999, 10_000] {
            assert!(nodes_of(files_for(nodes)) >= nodes, "{nodes}");
        }
    }
}
