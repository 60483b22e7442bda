//! What is said when servers are missing or not to be trusted.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod desk;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use desk::Desk;

/// A port where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn nobody_answers() {
    let desk = Desk::bare();
    let url = nobody();
    let variables = [("HOLDFAST_HTTP", url.as_str()), ("HOLDFAST_API", url.as_str()), ("HOLDFAST_TOKEN", "t")];
    for words in ["versions", "fleet", "node hub", "lock status", "audit", "iam whoami", "history query select"] {
        let said = desk.command(words, &variables).expect(7);
        assert!(said.err.contains(&url) && said.err.contains("HOLDFAST_"), "{said:?}");
        let said = desk.command(&format!("{words} -o json"), &variables).expect(7);
        let value: serde_json::Value = serde_json::from_str(&said.err).unwrap();
        assert_eq!(value["error"], "unreachable");
    }
}

/// A server that is frozen accepts connections and says nothing.
#[test]
fn a_server_that_says_nothing_is_not_waited_for_long() {
    let desk = Desk::bare();
    let frozen = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", frozen.local_addr().unwrap());
    let begun = Instant::now();
    let said = desk.command("status", &[("HOLDFAST_API", url.as_str()), ("HOLDFAST_TOKEN", "t")]).expect(7);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(said.err.contains(&url) && said.err.contains("no answer") && said.err.contains("another"), "{said:?}");
}

/// Answers every request with `body`, and says what the first one asked for.
fn answering(body: &'static str) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = thread::spawn(move || {
        let (mut caller, _) = listener.accept().unwrap();
        let mut said = Vec::new();
        while !said.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            caller.read_exact(&mut byte).unwrap();
            said.extend(byte);
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length:";
        caller.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
        String::from_utf8(said).unwrap().lines().next().unwrap().to_owned()
    });
    (url, asked)
}

#[test]
fn the_history_needs_no_sql() {
    const PAGE: &str = r#"{"events":[{"time":"2026-01-05T08:00:00Z","actor":"user/mira","action":"config.Publish",
        "resource":"config/tree","outcome":"ok","reason":null,"sequence":7}],"more":true}"#;
    let desk = Desk::bare();
    let token = ("HOLDFAST_TOKEN", "t");
    for (words, path) in [
        ("audit", "/audit?action=config.*&limit=100&local=false"),
        (
            "audit --action iam.Login --limit 7 --local --since 2026-01-05T08:00:00+02:00",
            "/audit?action=iam.Login&limit=7&local=true&since=2026-01-05T06:00:00Z",
        ),
    ] {
        let (url, asked) = answering(PAGE);
        let said = desk.command(words, &[token, ("HOLDFAST_HTTP", url.as_str())]).expect(0);
        assert_eq!(asked.join().unwrap(), format!("GET {path} HTTP/1.1"));
        assert!(
            said.out.starts_with("TIME") && said.out.contains("user/mira") && said.out.contains("--since"),
            "{said:?}"
        );
    }
    let (url, _) = answering(PAGE);
    let said = desk.command("audit -o json", &[token, ("HOLDFAST_HTTP", url.as_str())]).expect(0).json();
    assert_eq!((&said["events"][0]["sequence"], &said["more"]), (&7.into(), &true.into()));
    desk.command("audit --action %", &[token]).expect(2);
}

#[test]
fn a_token_is_needed_and_comes_from_a_file_or_a_variable() {
    let desk = Desk::bare();
    let said = desk.run("versions").expect(2);
    assert!(said.err.contains("HOLDFAST_TOKEN"), "{said:?}");
    desk.run("versions --token secret").expect(2);
    let file = desk.repo().join("token");
    fs::write(&file, "t\n").unwrap();
    desk.run(&format!("versions --token-file {} --http {}", file.display(), nobody())).expect(7);
    desk.run("versions --token-file none").expect(1);
}

#[test]
fn a_token_does_not_travel_in_the_clear() {
    let desk = Desk::bare();
    let said = desk.command("versions --http http://plane.test:8080", &[("HOLDFAST_TOKEN", "t0ps3cret")]).expect(2);
    assert!(said.err.contains("TLS") && !said.err.contains("t0ps3cret"), "{said:?}");
    desk.command("versions --http plane", &[("HOLDFAST_TOKEN", "t")]).expect(2);
    let said = desk.command("iam status --api https://127.0.0.1:1", &[("HOLDFAST_TOKEN", "t")]).expect(2);
    assert!(said.err.contains("--ca"), "{said:?}");
}

/// Whom to trust is not worth another try.
#[test]
fn wrong_words_about_tls_are_told_from_servers_that_are_away() {
    let desk = Desk::new();
    let empty = desk.repo().join("empty.pem");
    fs::write(&empty, "\n").unwrap();
    let token = ("HOLDFAST_TOKEN", "t");
    let said = desk.command("versions --http https://127.0.0.1:1 --ca empty.pem", &[token]).expect(2);
    assert!(said.err.contains("no certificate in it"), "{said:?}");

    // A port that speaks plain HTTP.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", plain.local_addr().unwrap());
    thread::spawn(move || {
        for caller in plain.incoming() {
            let (mut caller, mut said) = (caller.unwrap(), [0; 4096]);
            let _ = caller.read(&mut said);
            let _ = caller.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            // Until the caller has gone: to close before would reset what it has not read.
            let _ = caller.read(&mut said);
        }
    });
    for words in ["versions", "lock status", "iam whoami"] {
        let variables =
            [token, ("HOLDFAST_HTTP", url.as_str()), ("HOLDFAST_API", url.as_str()), ("HOLDFAST_CA", "ca.crt")];
        let said = desk.command(words, &variables).expect(2);
        assert!(said.err.contains("answers without TLS") && said.err.contains("http://"), "{said:?}");
    }
}

#[test]
fn settings_come_from_a_file_too() {
    let desk = Desk::bare();
    let url = nobody();
    let folder = desk.repo().join("../.config/florctl");
    fs::create_dir_all(&folder).unwrap();
    fs::write(desk.repo().join("token"), "t").unwrap();
    fs::write(folder.join("config.yaml"), format!("http: {url}\ntoken_file: token\n")).unwrap();
    let said = desk.run("versions").expect(7);
    assert!(said.err.contains(&url), "{said:?}");
    fs::write(folder.join("config.yaml"), "htp: x\n").unwrap();
    let said = desk.run("versions").expect(2);
    assert!(said.err.contains("htp"), "{said:?}");
}

#[test]
fn publish_looks_before_it_calls() {
    let desk = Desk::new();
    let url = nobody();
    let variables = [("HOLDFAST_HTTP", url.as_str()), ("HOLDFAST_TOKEN", "t")];
    let said = desk.command("publish --yes", &variables).expect(8);
    assert!(said.err.contains("florctl compile"), "{said:?}");
    desk.run("compile").expect(0);
    let said = desk.command("publish --yes", &variables).expect(6);
    assert!(said.err.contains("--sign-key"), "{said:?}");
    desk.run(&format!("compile --sign-key {}", desk.sign_key().display())).expect(0);
    desk.command("publish --yes", &variables).expect(7);
    desk.edit("nodes.yaml", "tier: data", "tier: archive");
    let said = desk.command("publish --yes", &variables).expect(8);
    assert!(said.err.contains("changed since"), "{said:?}");
}

/// The nearer word counts: --target, then the settings, then cluster.yaml.
#[test]
fn where_to_publish_is_said_in_three_places() {
    let desk = Desk::new();
    let (written, named, target) = (nobody(), nobody(), nobody());
    desk.edit("cluster.yaml", "via: direct", &format!("via: direct\n    publish_url: \"{written}\""));
    desk.run(&format!("compile --sign-key {}", desk.sign_key().display())).expect(0);
    let token = ("HOLDFAST_TOKEN", "t");
    for words in ["publish --yes", "plan", "diff --published", "rebase"] {
        let said = desk.command(words, &[token]).expect(7);
        assert!(said.err.contains(&written), "{said:?}");
        let said = desk.command(words, &[token, ("HOLDFAST_HTTP", named.as_str())]).expect(7);
        assert!(said.err.contains(&named), "{said:?}");
    }
    let words = format!("publish --yes --target {target}");
    let said = desk.command(&words, &[token, ("HOLDFAST_HTTP", named.as_str())]).expect(7);
    assert!(said.err.contains(&target), "{said:?}");
    desk.command("publish --yes --target http://plane.test:8080", &[token]).expect(2);
}

#[test]
fn nothing_is_asked_about_version_0() {
    let desk = Desk::bare();
    for words in ["fleet --version 0", "fleet --version x", "versions --limit 0"] {
        let said = desk.command(words, &[("HOLDFAST_HTTP", nobody().as_str()), ("HOLDFAST_TOKEN", "t")]).expect(2);
        assert!(said.err.contains('0') || said.err.contains("\"x\""), "{said:?}");
    }
}

#[test]
fn a_watch_that_reaches_nobody_says_so() {
    let desk = Desk::bare();
    let url = nobody();
    let said = desk.command(
        "fleet --watch",
        &[("HOLDFAST_HTTP", url.as_str()), ("HOLDFAST_API", url.as_str()), ("HOLDFAST_TOKEN", "t")],
    );
    assert!(said.expect(7).err.contains(&url));
}
