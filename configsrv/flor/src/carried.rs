//! An artifact that a person carries to a node, past the servers.

use std::{fs::File, io::Read as _, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use configsrv_fleet::{NodeName, Sealed, artifact::MAX_ARTIFACT};

use crate::Error;

/// A file of a compiled tree, in base64: without the end of its only line it is the artifact. The rights to read it are those
/// of whoever types the command. A file that is another node's, or no artifact at all, was named by mistake; whether this
/// one counts is judged by the agent.
pub(crate) fn read(path: &Path, node: &NodeName) -> Result<String, Error> {
    let broken = |error| Error::Usage(format!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    // One more than an artifact may have shows that it is too long.
    let most = u64::try_from(MAX_ARTIFACT).unwrap_or(u64::MAX).saturating_add(2);
    File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(broken)?;
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let artifact = Sealed::parse(bytes).map_err(|error| Error::Untrusted(format!("{}: {error}", path.display())))?;
    if artifact.node() != node {
        let whose = artifact.node();
        return Err(Error::Untrusted(format!("{}: it is for node {whose}, this is {node}", path.display())));
    }
    Ok(STANDARD.encode(bytes))
}

pub(crate) fn decode(artifact: &str) -> Result<Vec<u8>, Error> {
    STANDARD.decode(artifact).map_err(|error| Error::Unexpected(format!("the artifact came damaged: {error}")))
}
