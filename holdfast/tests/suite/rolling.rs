//! Three drop-in servers that are restarted one after the other, as for a new release, under clients that stay.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    lab::SOON,
    members::{MEMBERS, Members, drop_in},
    programs::{Etcdctl, Owned},
};

/// A client that watches one key.
struct Watch {
    _process: Owned,
    lines: Receiver<String>,
}

impl Watch {
    fn start(mut command: Command) -> Result<Self> {
        let mut process = Owned(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
        let output = BufReader::new(process.0.stdout.take().context("no output")?);
        let (told, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
        Ok(Self { _process: process, lines })
    }

    /// Waits for a put of `value`; nothing else may come before it.
    fn hears(&self, value: &str) -> Result<()> {
        let begun = Instant::now();
        for expected in ["PUT", "watched", value] {
            let line = self.lines.recv_timeout(SOON.saturating_sub(begun.elapsed()));
            let line = line.with_context(|| format!("{value:?} was not heard"))?;
            ensure!(line == expected, "{line:?} instead of {expected:?}");
        }
        Ok(())
    }
}

#[test]
fn watches_go_on_while_members_are_restarted() -> Result<()> {
    let mut members = Members::start(|_| drop_in())?;
    let Some(etcdctl) = Etcdctl::find(&members.endpoints(|_| true), None)? else { return Ok(()) };
    members.wait_healthy(&etcdctl)?;
    let watch = || Watch::start(etcdctl.command(&["watch", "--rev=1", "watched"]));
    let watches = (0..6).map(|_| watch()).collect::<Result<Vec<_>>>()?;
    let everybody_hears = |value: &str| {
        etcdctl.says(&["put", "watched", value])?;
        watches.iter().try_for_each(|watch| watch.hears(value))
    };
    everybody_hears("before")?;
    for at in 0..MEMBERS {
        let stopped = members.process(at)?.terminate(SOON)?;
        ensure!(stopped.success(), "m{at} ended with {stopped}");
        everybody_hears(&format!("without m{at}"))?;
        members.start_again(at, drop_in())?;
        members.wait_healthy(&etcdctl)?;
        everybody_hears(&format!("with m{at}"))?;
    }
    Ok(())
}
