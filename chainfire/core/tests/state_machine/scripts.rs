//! Golden scripts: `tests/scripts/*.txt` hold commands and, behind `---`, what an operator would see. After a wanted
//! change, `UPDATE_SCRIPTS=1 cargo test -p chainfire-core` writes them anew; read the difference.

use std::{fmt::Write as _, fs, path::Path};

use chainfire_core::{
    Answer, Command, Effect, UserAnswer, UserCommand,
    cluster::{ClusterAnswer, ClusterCommand},
    kv::{
        self, Compact, DeleteRange, EventKind, KeyValue, Keys, OpAnswer, Operand, Put, Range, Relation, Revision, Txn,
        TxnOp,
    },
    lease::{self, ExpiredLease, LeaseExpire, LeaseGrant, LeaseId, LeaseRevoke},
    system::{self, LockAcquire, LockAsker, LockPolicy, LockRelease, SystemCommand, SystemOp, SystemTxn},
};

use crate::store::{Store, TERM, between, bytes, compare, one};

#[test]
fn scripts_show_what_they_showed() {
    let folder = Path::new("tests/scripts");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        seen += 1;
        let script = fs::read_to_string(&path).unwrap();
        let shown = run(&script);
        if std::env::var_os("UPDATE_SCRIPTS").is_some() {
            fs::write(&path, &shown).unwrap();
            continue;
        }
        assert!(shown == script, "{}: the output is now\n{shown}", path.display());
    }
    assert!(seen > 0);
}

/// A store in which every kind of row is present, for the frozen state.
pub(crate) fn worked() -> Store {
    let mut store = Store::digesting();
    for line in [
        "put a 1",
        "grant 7 60",
        "put b 2 lease=7",
        "put a 3",
        "del b",
        "put c 4 lease=7",
        "compact 4",
        "remove 2",
        "lock default n1 2",
        "policy default 1 storm",
        "set iam/a 5",
    ] {
        let words: Vec<_> = line.split(' ').collect();
        execute(&mut store, &words, &mut String::new());
    }
    store
}

fn run(script: &str) -> String {
    let mut store = Store::digesting();
    let mut out = String::new();
    for block in script.split_inclusive("\n\n") {
        let (commands, _) = block.split_once("---\n").unwrap_or((block, ""));
        if commands.lines().all(|line| line.is_empty() || line.starts_with('#')) {
            out.push_str(block);
            continue;
        }
        out.push_str(commands.trim_end());
        out.push_str("\n---\n");
        for line in commands.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let words: Vec<_> = line.split(' ').collect();
            execute(&mut store, &words, &mut out);
        }
        if block.ends_with("\n\n") {
            out.push('\n');
        }
    }
    out
}

fn execute(store: &mut Store, words: &[&str], out: &mut String) {
    let shown = match words {
        ["get" | "range" | "count", ..] => show_range(store, words),
        ["hash"] => show_hash(store),
        ["history", from] => show_history(store, number(from)),
        ["journal"] => store.journal().iter().map(show_record).collect(),
        ["locks"] => show_locks(store),
        ["leases"] => show_leases(store),
        _ => {
            let command = command(store, words);
            let answer = store.commit(command);
            let effects = store.effects.iter().fold(String::new(), |shown, effect| shown + &show_effect(effect));
            show_answer(&answer) + &effects
        }
    };
    out.push_str(&shown);
}

fn command(store: &Store, words: &[&str]) -> Command {
    let user = match words {
        ["put", ..] => UserCommand::Put(put(&words[1..])),
        ["del", key] => UserCommand::DeleteRange(DeleteRange { keys: one(key), prev_kv: true }),
        ["del", start, end] => UserCommand::DeleteRange(DeleteRange { keys: between(start, end), prev_kv: true }),
        ["txn", "if", key, "version", expected, "then", rest @ ..] => {
            let (success, failure) = branches(rest);
            let condition = compare(one(key), Relation::Equal, Operand::Version(number(expected)));
            UserCommand::Txn(Txn { compare: vec![condition], success, failure })
        }
        ["compact", revision] => UserCommand::Compact(Compact { revision: Revision(number(revision)) }),
        ["grant", id, ttl] => {
            UserCommand::LeaseGrant(LeaseGrant { id: LeaseId(number(id)), ttl: number(ttl), min_ttl: 2 })
        }
        ["revoke", id] => UserCommand::LeaseRevoke(LeaseRevoke { id: LeaseId(number(id)) }),
        ["expire", ids @ ..] => {
            let expired = ids.iter().map(|id| {
                let id = LeaseId(number(id));
                let granted_at = lease::lease(&store.state, id).unwrap().map_or(0, |lease| lease.granted_at);
                ExpiredLease { id, granted_at }
            });
            UserCommand::LeaseExpire(LeaseExpire { term: TERM, leases: expired.collect() })
        }
        _ => return other_command(store, words),
    };
    Command::User(user)
}

fn other_command(store: &Store, words: &[&str]) -> Command {
    let system = match words {
        ["lock", group, id, slots] => SystemCommand::LockAcquire(LockAcquire {
            group: (*group).into(),
            id: (*id).into(),
            asker: LockAsker::Anybody,
            default_slots: slots.parse().unwrap(),
            listed: false,
        }),
        ["unlock", group, id] => SystemCommand::LockRelease(LockRelease {
            group: (*group).into(),
            id: (*id).into(),
            asker: LockAsker::Anybody,
            reason: None,
        }),
        ["policy", group, slots, frozen @ ..] => SystemCommand::LockPolicy(LockPolicy {
            group: (*group).into(),
            slots: slots.parse().unwrap(),
            frozen: frozen.first().map(|reason| (*reason).into()),
            reason: "maintenance".into(),
        }),
        ["set", key, value] => SystemCommand::Txn(SystemTxn {
            guards: vec![],
            ops: vec![SystemOp::Put { key: (*key).into(), value: (*value).into() }],
            action: "iam.Set".into(),
            resource: (*key).into(),
        }),
        ["remove", rows] => return Command::Cluster(ClusterCommand::CompactStep { rows: rows.parse().unwrap() }),
        ["shipped"] => {
            let upto = store.journal().pop().unwrap().position;
            return Command::Cluster(ClusterCommand::AuditShipped { upto });
        }
        _ => panic!("no such command: {}", words.join(" ")),
    };
    Command::System(system)
}

fn put(words: &[&str]) -> Put {
    let option = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
    Put {
        key: bytes(words[0]),
        value: bytes(words[1]),
        lease: LeaseId(option("lease=").map_or(0, number)),
        prev_kv: true,
        ..Put::default()
    }
}

/// `put a 1 ; del b else get a`
fn branches(words: &[&str]) -> (Vec<TxnOp>, Vec<TxnOp>) {
    let mut sides = words.split(|word| *word == "else");
    let ops =
        |side: Option<&[&str]>| side.map_or_else(Vec::new, |side| side.split(|word| *word == ";").map(op).collect());
    (ops(sides.next()), ops(sides.next()))
}

fn op(words: &[&str]) -> TxnOp {
    match words {
        ["put", ..] => TxnOp::Put(put(&words[1..])),
        ["del", key] => TxnOp::DeleteRange(DeleteRange { keys: one(key), prev_kv: true }),
        ["get", key] => TxnOp::Range(Range::of(one(key))),
        _ => panic!("no such operation: {}", words.join(" ")),
    }
}

fn number(word: &str) -> i64 {
    word.parse().unwrap()
}

fn show_range(store: &Store, words: &[&str]) -> String {
    let option = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)).map(number);
    let names: Vec<_> = words[1..].iter().filter(|word| !word.contains('=')).collect();
    let keys: Keys = if let [start, end] = names.as_slice() { between(start, end) } else { one(names[0]) };
    let request = Range {
        at: option("rev=").map(Revision),
        limit: option("limit=").unwrap_or(0).cast_unsigned(),
        count_only: words[0] == "count",
        ..Range::of(keys)
    };
    match store.range(&request) {
        Ok(answer) => show_found(&answer),
        Err(error) => format!("refused: {error}\n"),
    }
}

fn show_found(answer: &kv::RangeAnswer) -> String {
    let mut out: String = answer.kvs.iter().map(|kv| format!("{}\n", show_kv(kv))).collect();
    let more = if answer.more { ", more" } else { "" };
    writeln!(out, "count {}{more}, at revision {}", answer.count, answer.revision).unwrap();
    out
}

fn show_kv(kv: &KeyValue) -> String {
    let lease = if kv.lease == LeaseId::NONE { String::new() } else { format!(" lease {}", kv.lease.0) };
    format!(
        "{}={} (created {}, modified {}, version {}{lease})",
        kv.key.escape_ascii(),
        kv.value.escape_ascii(),
        kv.create_revision,
        kv.mod_revision,
        kv.version
    )
}

fn show_hash(store: &Store) -> String {
    let hash = kv::hash(&store.state, None).unwrap();
    let compacted = hash.compacted.map_or(-1, |revision| revision.0);
    format!("hash {} at revision {}, compacted {compacted}\n", hash.hash, hash.revision)
}

fn show_history(store: &Store, from: i64) -> String {
    match crate::store::refused(kv::history(&store.state, Revision(from), Revision::MAX, usize::MAX, false)) {
        Ok(history) => history.revisions.iter().map(show_revision).collect(),
        Err(error) => format!("refused: {error}\n"),
    }
}

fn show_revision(changed: &kv::RevisionEvents) -> String {
    let mut out = format!("  revision {}:", changed.revision);
    for event in &changed.events {
        let key = event.kv.key.escape_ascii();
        match event.kind {
            EventKind::Put => write!(out, " PUT {key}={}", event.kv.value.escape_ascii()).unwrap(),
            EventKind::Delete => write!(out, " DELETE {key}").unwrap(),
        }
        if let Some(prev) = &event.prev_kv {
            write!(out, " (was {})", prev.value.escape_ascii()).unwrap();
        }
    }
    out + "\n"
}

fn show_record(record: &chainfire_core::journal::JournalRecord) -> String {
    let revision = record.revision.map_or_else(String::new, |revision| format!(" at revision {revision}"));
    let position = record.position;
    format!(
        "{}/{} {} {} {}{revision}: {:?}\n",
        position.index, position.sub, record.origin.principal, record.action, record.resource, record.outcome
    )
}

fn show_locks(store: &Store) -> String {
    let groups = system::lock_groups(&store.state, None, usize::MAX).unwrap();
    let mut out = String::new();
    for group in groups {
        let slots = group.slots.map_or_else(|| "the asker's".into(), |slots| slots.to_string());
        let holders: Vec<_> = group.holders.iter().map(|holder| format!("{}#{}", holder.id, holder.grant)).collect();
        let frozen = group.frozen.map_or_else(String::new, |reason| format!(", frozen: {reason}"));
        writeln!(out, "{}: {slots} slots, held by [{}]{frozen}", group.group, holders.join(" ")).unwrap();
    }
    out
}

fn show_leases(store: &Store) -> String {
    let leases = lease::leases(&store.state, None, usize::MAX).unwrap();
    let mut out = String::new();
    for (id, lease) in leases {
        let keys = lease::keys(&store.state, id).unwrap();
        let keys: Vec<_> = keys.iter().map(|key| key.escape_ascii().to_string()).collect();
        writeln!(out, "{}: {} s, keys [{}]", id.0, lease.ttl, keys.join(" ")).unwrap();
    }
    out
}

fn show_answer(answer: &Answer) -> String {
    match answer {
        Answer::User(Ok(answer)) => show_user(answer),
        Answer::User(Err(refusal)) => format!("refused: {refusal}\n"),
        Answer::System(Ok(answer)) => format!("{answer:?}\n"),
        Answer::System(Err(refused)) => format!("refused: {refused}\n"),
        Answer::Cluster(Ok(ClusterAnswer::CompactStep { removed, finished })) => {
            format!("removed {removed}, finished: {finished}\n")
        }
        Answer::Cluster(Ok(answer)) => format!("{answer:?}\n"),
        Answer::Cluster(Err(refused)) => format!("refused: {refused}\n"),
        Answer::BeforeGenesis | Answer::LevelTooLow { .. } => format!("{answer:?}\n"),
    }
}

fn show_user(answer: &UserAnswer) -> String {
    match answer {
        UserAnswer::Put(answer) => {
            let prev = answer.prev_kv.as_ref().map_or_else(String::new, |kv| format!(", was {}", show_kv(kv)));
            format!("put at {}{prev}\n", answer.revision)
        }
        UserAnswer::DeleteRange(answer) => format!("deleted {} at {}\n", answer.deleted, answer.revision),
        UserAnswer::Txn(answer) => {
            let mut out = format!("{} at {}\n", if answer.succeeded { "then" } else { "else" }, answer.revision);
            for response in &answer.responses {
                out.push_str(&match response {
                    OpAnswer::Put(answer) => show_user(&UserAnswer::Put(answer.clone())),
                    OpAnswer::DeleteRange(answer) => show_user(&UserAnswer::DeleteRange(answer.clone())),
                    OpAnswer::Range(answer) => show_found(answer),
                    OpAnswer::Txn(answer) => show_user(&UserAnswer::Txn(answer.clone())),
                });
            }
            out
        }
        UserAnswer::Compact { revision } => format!("compacted, at {revision}\n"),
        UserAnswer::LeaseGrant { revision, id, ttl } => format!("lease {} for {ttl} s, at {revision}\n", id.0),
        UserAnswer::LeaseRevoke { revision } => format!("revoked, at {revision}\n"),
        UserAnswer::LeaseExpire { revision, expired } => format!("expired {expired}, at {revision}\n"),
        UserAnswer::Auth { revision } => format!("changed, at {revision}\n"),
        UserAnswer::Login { revision, index } => format!("logged in by {index}, at {revision}\n"),
    }
}

fn show_effect(effect: &Effect) -> String {
    match effect {
        Effect::Revision(changed) => show_revision(changed),
        // Every change has its record; `journal` shows them.
        Effect::JournalAppended { .. } => String::new(),
        other => format!("  {other:?}\n"),
    }
}
