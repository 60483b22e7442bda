//! Ports for servers that must be told their port before they start.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    process,
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, bail};

/// Below the range from which Linux takes the ports of outgoing connections, so that none of those lands on a port
/// between our looking and the server's listening.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Handed out by this process already.
static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Ports on 127.0.0.1 that nobody listens on, and that this process gets only once. Use port 0 wherever a server can
/// say afterwards which port it got.
///
/// # Errors
/// When there are not as many left.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Processes that start together begin to look in different places.
    let start = (u64::from(process::id()) * 7919 + u64::from(clock.subsec_micros())) % u64::from(COUNT);
    let mut ports = [0; N];
    let mut found = 0;
    for step in 0..u64::from(COUNT) {
        let offset = (start + step) % u64::from(COUNT);
        let port = FIRST + u16::try_from(offset)?;
        let Some(free) = ports.get_mut(found) else { return Ok(ports) };
        if !taken.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            taken.insert(port);
            *free = port;
            found += 1;
        }
    }
    if found == N { Ok(ports) } else { bail!("only {found} of {N} ports are free") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_handed_out_once() {
        let first: [u16; 20] = free_ports().unwrap();
        let second: [u16; 20] = free_ports().unwrap();
        let all: BTreeSet<_> = first.iter().chain(&second).collect();
        assert_eq!(all.len(), 40);
    }
}
