//! What holds for the process as a whole, before it reads or opens anything.

use std::io;

use rustix::{
    fs::Mode,
    process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask},
};

/// Files are for this user alone, and as many may be open as the system grants.
pub(crate) fn prepare() -> io::Result<()> {
    umask(Mode::RWXG | Mode::RWXO);
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum })?;
    Ok(())
}

/// Keys are in memory from here on: a crash leaves no image of it, and no other process of this user may look into it.
pub(crate) fn protect_memory() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}
