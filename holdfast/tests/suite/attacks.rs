//! What attackers try, against three servers as operators run them: each attack is refused, and is in the history with who
//! tried what. Each comes from an address of its own, so that its row is its own.

mod headers;
mod keys;
mod rights;
mod scene;
mod secrets;
mod tokens;

use std::{cell::RefCell, collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tonic::Code;

use crate::{
    http::{Answer, Request},
    lab::{Caller, eventually},
    node::{self, Node, channel},
    plane::Plane,
};
use scene::Scene;

const NOBODY: &str = "anonymous";
const AUTHENTICATE: &str = "iam.Authenticate";

/// One line of the table.
struct Attack {
    what: &'static str,
    door: Door,
    /// Sent one after the other; the last is the one that is judged.
    requests: Vec<Request<'static>>,
    /// From where they come.
    from: Addresses,
    shown: Option<Arc<Node>>,
    refused: Refused,
    row: Row,
}

#[derive(Clone, Copy)]
enum Door {
    Api,
    Http,
}

#[derive(Clone, Copy, PartialEq)]
enum Addresses {
    One,
    /// Each request from another one.
    Many,
}

/// What the attacker hears.
enum Refused {
    Grpc(Code),
    /// Status, and a part of the body.
    Http(u16, &'static str),
    /// A watch that is made and cancelled at once, as etcd does it.
    Cancelled,
    /// A stream without an answer; its status is a trailer, which HTTP/1 leaves out.
    Ended,
}

/// What the history has of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    actor: String,
    action: String,
    resource: String,
    reason: String,
}

/// An attack through the API door.
fn grpc(what: &'static str, request: Request<'static>, code: Code, row: Row) -> Attack {
    attack(what, Door::Api, request, Refused::Grpc(code), row)
}

fn http(what: &'static str, request: Request<'static>, status: u16, word: &'static str, row: Row) -> Attack {
    attack(what, Door::Http, request, Refused::Http(status, word), row)
}

fn attack(what: &'static str, door: Door, request: Request<'static>, refused: Refused, row: Row) -> Attack {
    Attack { what, door, requests: vec![request], from: Addresses::One, shown: None, refused, row }
}

fn row(actor: &str, action: &str, resource: &str, reason: &str) -> Row {
    let [actor, action, resource, reason] = [actor, action, resource, reason].map(str::to_owned);
    Row { actor, action, resource, reason }
}

impl Attack {
    /// On a connection with the certificate of `node`.
    fn by(self, node: &Arc<Node>) -> Self {
        Self { shown: Some(Arc::clone(node)), ..self }
    }

    /// From where the request with this number comes.
    fn source(&self, number: u8, request: usize) -> Result<Ipv4Addr> {
        let last = if self.from == Addresses::Many { request } else { 0 };
        Ok(Ipv4Addr::new(127, 1, number, u8::try_from(last + 1)?))
    }

    /// From where the one comes that is judged.
    fn judged(&self, number: u8) -> Result<Ipv4Addr> {
        self.source(number, self.requests.len() - 1)
    }

    async fn make(&self, plane: &Plane, at: usize, number: u8) -> Result<()> {
        let endpoints = plane.endpoints(at)?;
        let door = match self.door {
            Door::Api => &endpoints.api,
            Door::Http => &endpoints.http,
        };
        let mut last = None;
        for (sent, request) in self.requests.iter().enumerate() {
            let stream = node::connect(plane, door, self.shown.as_deref(), self.source(number, sent)?).await?;
            last = Some(request.exchange(door, stream)?);
        }
        self.refused.check(&last.context("nothing is sent")?)
    }
}

impl Refused {
    fn check(&self, answer: &Answer) -> Result<()> {
        let right = match self {
            Self::Grpc(code) => {
                let code = (*code as i32).to_string();
                // An error after the first message of a stream comes at its end.
                answer.header("grpc-status") == Some(&code) || answer.body.contains(&format!("grpc-status: {code}\r\n"))
            }
            Self::Http(status, word) => answer.status == *status && answer.body.contains(word),
            Self::Ended => answer.status == 200 && answer.body == "0\r\n\r\n",
            Self::Cancelled => answer.body.contains("etcdserver: permission denied"),
        };
        ensure!(right, "{answer:?}");
        Ok(())
    }
}

/// What each address was denied, as far as the history has it.
async fn denied(history: &Caller) -> Result<BTreeMap<String, Vec<Row>>> {
    let sql = "SELECT source, actor, action, resource, reason FROM audit.events \
               WHERE outcome = 'denied' AND source LIKE '127.1.%'";
    let mut found = BTreeMap::<String, Vec<Row>>::new();
    for denied in history.rows(sql).await? {
        let text = |at: usize| denied[at].as_str().unwrap_or_default().to_owned();
        let row = Row { actor: text(1), action: text(2), resource: text(3), reason: text(4) };
        found.entry(text(0)).or_default().push(row);
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attack_is_refused_and_leaves_its_row() -> Result<()> {
    let Some(plane) = Plane::start(3, &[])? else { return Ok(()) };
    let scene = Scene::set(&plane).await?;
    let tables = [
        tokens::table(&scene)?,
        headers::table(&scene),
        keys::table(&scene),
        rights::table(&scene),
        secrets::table(&scene),
    ];
    let attacks: Vec<_> = tables.into_iter().flatten().collect();

    let mut wrong = Vec::new();
    for (number, attack) in (1..).zip(&attacks) {
        if let Err(answer) = attack.make(&plane, usize::from(number) % 3, number).await {
            wrong.push(format!("{}: not refused as it should be: {answer:#}", attack.what));
        }
    }
    let history = Caller::on(channel(&plane, &plane.endpoints(0)?, None)?, plane.administrator());
    let last = RefCell::new(Vec::new());
    let complete = eventually("every attack in the history", || async {
        let found = denied(&history).await?;
        let mut missing = Vec::new();
        for (number, attack) in (1..).zip(&attacks) {
            let rows = found.get(&attack.judged(number)?.to_string());
            if !rows.is_some_and(|rows| rows.contains(&attack.row)) {
                missing.push(format!("{}: not {:?} but {rows:?}", attack.what, attack.row));
            }
        }
        let complete = missing.is_empty();
        last.replace(missing);
        Ok(complete.then_some(()))
    })
    .await;
    if complete.is_err() {
        wrong.append(&mut last.into_inner());
    }
    ensure!(wrong.is_empty(), "{} attacks:\n{}", wrong.len(), wrong.join("\n"));

    // Nobody's secret is in what is kept of them.
    let everything = format!("{:?}", history.rows("SELECT * FROM audit.events").await?);
    for secret in scene.secrets() {
        ensure!(!everything.contains(secret), "a secret is in the history");
    }
    scene.unharmed(&plane).await
}

/// The one field of a JSON answer.
fn text(answer: &Value, name: &str) -> Result<String> {
    answer[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {answer}"))
}
