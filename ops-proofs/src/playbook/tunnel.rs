//! Services that answer, and the way to them that a program of the fleet takes: SOCKS5 (RFC 1928) at its own machine.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

const CALL: Duration = Duration::from_secs(20);
/// The reply field where the machine of the service refuses.
const NOT_ALLOWED: u8 = 2;
/// The reply field where one's own machine does not know the name: its rules have no way there.
const NO_WAY: u8 = 4;

/// A service that sends back what it gets; it ends with the process. Returns its port.
pub(super) fn serve() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || echo(stream));
        }
    });
    Ok(port)
}

fn echo(mut stream: TcpStream) {
    let mut piece = [0; 1024];
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        if stream.write_all(piece.get(..read).unwrap_or_default()).is_err() {
            return;
        }
    }
}

/// A connection to a service.
pub(super) struct Tunnel(TcpStream);

/// Through the proxy at this port; none where the rules do not allow it.
pub(super) fn dial(proxy: u16, name: &str) -> Result<Option<Tunnel>> {
    let mut stream = TcpStream::connect(("127.0.0.1", proxy)).context("nobody listens at the proxy's port")?;
    stream.set_read_timeout(Some(CALL))?;
    stream.set_write_timeout(Some(CALL))?;
    let mut request = vec![5, 1, 0, 5, 1, 0, 3, u8::try_from(name.len())?];
    request.extend_from_slice(name.as_bytes());
    request.extend_from_slice(&80_u16.to_be_bytes());
    stream.write_all(&request)?;
    // The choice of no authentication, then the reply with an IPv4 address.
    let mut reply = [0; 12];
    stream.read_exact(&mut reply).context("no reply of the proxy")?;
    match reply[3] {
        0 => Ok(Some(Tunnel(stream))),
        NOT_ALLOWED | NO_WAY => Ok(None),
        other => bail!("the proxy replies {other}"),
    }
}

impl Tunnel {
    /// That the service is at the other end.
    pub(super) fn ping(&mut self) -> Result<()> {
        self.0.write_all(b"hello")?;
        let mut back = [0; 5];
        self.0.read_exact(&mut back)?;
        ensure!(&back == b"hello", "the service sends back {back:?}");
        Ok(())
    }
}
