use anyhow::{Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A server's listener takes a quarter of the process's open files, of which strangers keep a quarter.
const FILES_PER_NODE: u64 = 6;
const OTHERS: u64 = 4_096;

/// Room for the connections of so many nodes, here and in the servers that are started from here.
pub(crate) fn raise(nodes: usize) -> Result<()> {
    let needed = OTHERS + FILES_PER_NODE * u64::try_from(nodes)?;
    let limits = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if enough(limits.current) && enough(limits.maximum) {
        return Ok(());
    }
    // Root may raise both.
    let wanted =
        Rlimit { current: Some(needed), maximum: Some(limits.maximum.map_or(needed, |most| most.max(needed))) };
    if setrlimit(Resource::Nofile, wanted).is_err() {
        bail!(
            "{nodes} nodes need {needed} open files; run as root, or raise the limit with `ulimit -n {needed}` first"
        );
    }
    Ok(())
}
