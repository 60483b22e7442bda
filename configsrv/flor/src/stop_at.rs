//! A hook for tests: with `FLOR_STOP_AT` in its environment the agent ends, as if killed, right after the step of that
//! name. A name that is none stops nowhere; `FLOR_LOG=flor::step=trace` lists the names.

use std::{env, process, sync::Arc, time::Duration};

use crate::{
    activate::{Commands, Hooks, SteppedHooks},
    disk::{Disk, RealDisk, SteppedDisk, Steps},
    home::Layout,
};

const STOP_AT: &str = "FLOR_STOP_AT";

/// The machine that the agent works on, with the time for which units have to stay up.
pub(crate) fn machine(layout: &Layout, liveness: Duration) -> (Arc<dyn Disk>, Arc<dyn Hooks>) {
    let commands = Commands { liveness };
    let Some(name) = env::var_os(STOP_AT) else { return (Arc::new(RealDisk), Arc::new(commands)) };
    let name = name.to_string_lossy().into_owned();
    let steps = Arc::new(Steps::new(layout.clone(), move |step| {
        if step == name {
            process::abort();
        }
    }));
    (Arc::new(SteppedDisk::new(RealDisk, Arc::clone(&steps))), Arc::new(SteppedHooks::new(commands, steps)))
}
