//! Commands where the servers are reached only through the data plane.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod desk;
mod lab;

use std::{
    fs,
    io::{self, Read as _, Write as _},
    mem,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    sync::{Arc, Mutex},
    thread,
};

use desk::Said;
use lab::{Lab, support::OPERATOR};

const PUBLISHER: &str = "config-publisher.quay.test.rete";

/// A SOCKS5 port behind which every name is the same server.
struct Plane {
    port: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Plane {
    fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let plane = Self { port: listener.local_addr().unwrap(), asked: Arc::default() };
        let asked = Arc::clone(&plane.asked);
        thread::spawn(move || {
            for program in listener.incoming() {
                let asked = Arc::clone(&asked);
                thread::spawn(move || carry(program.unwrap(), server, &asked));
            }
        });
        plane
    }

    /// Which names were dialled since the last time.
    fn asked(&self) -> Vec<String> {
        mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn carry(mut program: TcpStream, server: SocketAddr, asked: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut greeting = [0; 2];
    program.read_exact(&mut greeting)?;
    program.read_exact(&mut vec![0; greeting[1].into()])?;
    program.write_all(&[5, 0])?;
    let mut request = [0; 5];
    program.read_exact(&mut request)?;
    assert_eq!(request[..4], [5, 1, 0, 3], "a name is dialled");
    let mut name = vec![0; request[4].into()];
    program.read_exact(&mut name)?;
    program.read_exact(&mut [0; 2])?;
    asked.lock().unwrap().push(String::from_utf8(name).unwrap());
    let mut there = TcpStream::connect(server)?;
    program.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    let (mut from, mut to) = (program.try_clone()?, there.try_clone()?);
    thread::spawn(move || io::copy(&mut from, &mut to));
    io::copy(&mut there, &mut program)?;
    Ok(())
}

/// An agent that says where the port of mira is; the folder that it is in.
fn agent(lab: &Lab, port: SocketAddr) -> String {
    let folder = lab.desk.repo().join("../bin");
    fs::create_dir(&folder).unwrap();
    let said =
        format!(r#"{{"plane":{{"inbound":[{{"principal":"spiffe://quay.test/user/mira","socks5":"{port}"}}]}}}}"#);
    let program = folder.join("flor");
    fs::write(&program, format!("#!/bin/sh\necho '{said}'\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    folder.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_that_talks_to_the_servers_goes_through_the_data_plane() {
    let lab = Lab::new().await;
    let plane = Plane::before(lab.address);
    let (path, key) = (agent(&lab, plane.port), lab.desk.sign_key().display().to_string());
    let run = |words: &str| -> Said {
        let variables = [("HOLDFAST_TOKEN", OPERATOR), ("FLORCTL_SIGN_KEY", key.as_str()), ("PATH", path.as_str())];
        lab.desk.command(words, &variables)
    };
    let port = plane.port;

    for page in ["rebase", "fleet", "iam whoami"] {
        let help = run(&format!("{page} --help")).expect(0).out;
        assert!(help.contains("--as <USER>") && help.contains("--socks5 <HOST:PORT>"), "{help}");
    }

    // The repository says which cluster it is.
    lab.desk.edit("nodes.yaml", "tier: data", "tier: archive");
    run("rebase --as mira").expect(0);
    assert!(plane.asked().contains(&PUBLISHER.to_owned()));
    let said = run("rebase --as tomas").expect(7);
    assert!(said.err.contains("user/tomas has no port on this machine"), "{said:?}");
    for words in ["rebase", "plan", "diff --published", "publish --yes", "revoke user/tomas --reason stolen --yes"] {
        run(&format!("{words} --socks5 {port}")).expect(0);
        let asked = plane.asked();
        assert!(!asked.is_empty() && asked.iter().all(|name| name == PUBLISHER), "{words}: {asked:?}");
    }
    assert_eq!(lab.run("versions -o json").expect(0).json()["current"], 2);

    // Elsewhere the agent does, or whoever types it.
    for words in ["versions", "versions diff 1 2", "fleet", "node hub", "why hub", "revocations", "lock status"] {
        let said = run(&format!("{words} --socks5 {port}")).expect(2);
        assert!(said.err.contains("http://config-publisher.CLUSTER.rete"), "{said:?}");
        assert_eq!(plane.asked(), [""; 0], "{words}");
        run(&format!("--as mira {words}")).expect(0);
        run(&format!("{words} --socks5 {port} --http http://plane.quay.test.rete")).expect(0);
        let mut asked = plane.asked();
        asked.dedup();
        assert_eq!(asked, [PUBLISHER, "plane.quay.test.rete"], "{words}");
    }

    // The API is a service like others, with a name that the fleet gave it.
    let said = run("iam whoami --as mira").expect(2);
    assert!(said.err.contains("--api"), "{said:?}");
    assert_ne!(run("iam whoami --as mira --api http://api.quay.test.rete").code, 2);
    assert_eq!(plane.asked(), ["api.quay.test.rete"]);
}
