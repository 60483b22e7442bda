//! Bytes of the first release, frozen: newer releases must read them as they are here.

use std::fmt::Write as _;

use chainfire_core::{
    Answer, AuthenticatedBy, Command, Envelope, Origin, UserAnswer, UserCommand, UserError, UserRefusal,
    alarm::{Alarm, AlarmKind},
    auth::{AuthCommand, Login, PermissionKind},
    cluster::{ClusterAnswer, ClusterCommand},
    format::{decode_answer, decode_command, encode_answer, encode_command},
    kv::{self, PutAnswer, Revision},
    lease::{self, CheckpointedLease, LeaseCheckpoint, LeaseId},
    system, table,
};
use holdfast_keyspace::{KeyRange, Memory, Order, Read, Write};

use crate::{
    auth::{grant, grant_role, role_add, user_add},
    store::{Store, pair},
};

const FIXTURES: &str = include_str!("../fixtures/v1.txt");
const STATE: &str = include_str!("../fixtures/state-v1.txt");
const AUTH: &str = include_str!("../fixtures/auth-v1.txt");
const TIMES: &str = include_str!("../fixtures/times-v1.txt");
const BEGINS: &str = include_str!("../fixtures/begins-v1.txt");

fn fixture(name: &str) -> Vec<u8> {
    let line = FIXTURES.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    unhex(line.unwrap_or_else(|| panic!("no fixture {name}")))
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check(name: &str, bytes: &[u8]) {
    assert_eq!(fixture(name), bytes, "{name}: {}", hex(bytes));
}

#[test]
fn a_command_of_the_first_release() {
    let envelope = Envelope {
        origin: Origin {
            principal: "node/pier2".into(),
            authenticated_by: AuthenticatedBy::Certificate,
            source: Some("[::1]:9".into()),
            token_id: None,
            request_id: "r".into(),
        },
        time_ms: 1_767_225_600_000,
        command: Command::User(UserCommand::Put(kv::Put { lease: LeaseId(-5), ..pair("k", "v") })),
    };
    check("command", &encode_command(&envelope).unwrap());
    assert_eq!(decode_command(&fixture("command")).unwrap(), envelope);
}

#[test]
fn a_transaction_of_the_first_release() {
    let compare = |relation, operand| kv::Compare { keys: kv::Keys::One("a".into()), relation, operand };
    let envelope = Envelope {
        origin: Origin::system("fixture", "r"),
        time_ms: 1_767_225_600_000,
        command: Command::User(UserCommand::Txn(kv::Txn {
            compare: vec![
                compare(kv::Relation::NotEqual, kv::Operand::Lease(LeaseId(7))),
                compare(kv::Relation::Any, kv::Operand::Unknown),
            ],
            success: vec![kv::TxnOp::Put(pair("a", "1"))],
            failure: vec![kv::TxnOp::Range(kv::Range::of(kv::Keys::From("a".into())))],
        })),
    };
    check("txn", &encode_command(&envelope).unwrap());
    assert_eq!(decode_command(&fixture("txn")).unwrap(), envelope);
}

#[test]
fn answers_of_the_first_release() {
    let answer = Answer::User(Ok(UserAnswer::Put(PutAnswer { revision: Revision(300), prev_kv: None })));
    check("answer", &encode_answer(&answer).unwrap());
    assert_eq!(decode_answer(&fixture("answer")).unwrap(), answer);
    let refused = Answer::User(Err(UserRefusal { error: UserError::TooManyRequests, revision: Revision(1) }));
    check("refusal", &encode_answer(&refused).unwrap());
    assert_eq!(decode_answer(&fixture("refusal")).unwrap(), refused);
}

#[test]
fn users_and_logins_of_the_first_release() {
    let origin = Origin::etcd_user("mira", 5, None, "r");
    let envelope =
        |command| Envelope { origin: origin.clone(), time_ms: 1_767_225_600_000, command: Command::User(command) };
    let login = Login { user: "mira".into(), revision: 5, token: [7; 32] };
    for (name, command) in [
        ("auth-enable", UserCommand::Auth(AuthCommand::Enable)),
        ("auth-user", UserCommand::Auth(user_add("mira"))),
        ("auth-permission", UserCommand::Auth(grant("r", PermissionKind::ReadWrite, "a", "b"))),
        ("login", UserCommand::Login(login)),
    ] {
        let envelope = envelope(command);
        check(name, &encode_command(&envelope).unwrap());
        assert_eq!(decode_command(&fixture(name)).unwrap(), envelope);
    }
    let answer = Answer::User(Ok(UserAnswer::Login { revision: Revision(300), index: 9 }));
    check("login-answer", &encode_answer(&answer).unwrap());
    let refused = Answer::User(Err(UserRefusal { error: UserError::PermissionDenied, revision: Revision(1) }));
    check("denial", &encode_answer(&refused).unwrap());
}

#[test]
fn users_and_roles_are_stored_as_ever() {
    let commands =
        [user_add("mira"), role_add("r"), grant("r", PermissionKind::Read, "a", "b"), grant_role("mira", "r")];
    let store = Store::guarded(&commands);
    let rows = dump(&store.state);
    let rows = rows.lines().filter(|row| row.starts_with("auth ") || row.contains(&hex(b"auth.status")));
    let rows: String = rows.map(|row| format!("{row}\n")).collect();
    assert!(rows == AUTH, "the stored bytes of the first release changed:\n{rows}");
}

#[test]
fn alarms_of_the_first_release() {
    let alarm = Alarm { member: 0x8e9e_05c5_2164_694d, kind: AlarmKind::Corrupt };
    let envelope = Envelope {
        origin: Origin::system("quota", "r".to_owned()),
        time_ms: 1_767_225_600_000,
        command: Command::Cluster(ClusterCommand::AlarmRaise(alarm)),
    };
    check("alarm", &encode_command(&envelope).unwrap());
    assert_eq!(decode_command(&fixture("alarm")).unwrap(), envelope);
    let answer = Answer::Cluster(Ok(ClusterAnswer::Alarm(Some(alarm))));
    check("alarm-answer", &encode_answer(&answer).unwrap());
    assert_eq!(decode_answer(&fixture("alarm-answer")).unwrap(), answer);
    let refused = Answer::User(Err(UserRefusal { error: UserError::Corrupt, revision: Revision(1) }));
    check("corrupt", &encode_answer(&refused).unwrap());
}

#[test]
fn a_lease_checkpoint_of_the_first_release() {
    let leases = vec![
        CheckpointedLease { id: LeaseId(7), granted_at: 300, remaining: Some(60) },
        CheckpointedLease { id: LeaseId(-8), granted_at: 301, remaining: None },
    ];
    let envelope = Envelope {
        origin: Origin::system("lease-checkpoint", "r".to_owned()),
        time_ms: 1_767_225_600_000,
        command: Command::Cluster(ClusterCommand::LeaseCheckpoint(LeaseCheckpoint { term: 3, leases })),
    };
    check("lease-checkpoint", &encode_command(&envelope).unwrap());
    assert_eq!(decode_command(&fixture("lease-checkpoint")).unwrap(), envelope);
}

/// Every row as `table key value`, in hexadecimal.
fn dump(state: &Memory) -> String {
    let mut out = String::new();
    for table in table::ALL {
        for row in state.scan(*table, KeyRange::all(), Order::Ascending) {
            let (key, value) = row.unwrap();
            writeln!(out, "{} {} {}", table.name, hex(&key), hex(&value)).unwrap();
        }
    }
    out
}

fn load(dump: &str) -> Memory {
    let mut state = Memory::new();
    for line in dump.lines() {
        let mut words = line.split(' ');
        let name = words.next().unwrap();
        let table = table::ALL.iter().find(|table| table.name == name).unwrap();
        let mut column = || unhex(words.next().unwrap());
        let (key, value) = (column(), column());
        state.put(*table, key, value);
    }
    state
}

#[test]
fn a_state_of_the_first_release_is_written_as_ever() {
    let mut rows = dump(&crate::scripts::worked().state);
    let mut take = |beginning: &str| {
        let (taken, left): (Vec<&str>, Vec<&str>) =
            rows.split_inclusive('\n').partition(|row| row.starts_with(beginning));
        let taken = taken.concat();
        rows = left.concat();
        taken
    };
    let times = take("kv.times ");
    let begins =
        ["kv.times-begin", "journal.begin"].map(|name| take(&format!("meta {} ", hex(name.as_bytes())))).concat();
    assert!(rows == STATE, "the stored bytes of the first release changed:\n{rows}");
    assert!(times == TIMES, "the stored times changed:\n{times}");
    assert!(begins == BEGINS, "where tables begin is stored in another way:\n{begins}");
}

#[test]
fn a_state_of_the_first_release_is_read_and_goes_on() {
    let mut store = Store::empty();
    store.state = load(STATE);
    store.index = 20;
    assert_eq!(store.get("a").unwrap().value, "3");
    assert_eq!(store.get("b"), None);
    assert_eq!(store.get("c").unwrap().lease, LeaseId(7));
    assert_eq!(lease::lease(&store.state, LeaseId(7)).unwrap().unwrap().ttl, 60);
    assert_eq!(system::get(&store.state, b"iam/a").unwrap().unwrap().value, b"5");
    assert_eq!(system::lock_holder(&store.state, "default", "n1").unwrap().unwrap().grant, 1);
    assert_eq!(store.journal().len(), 11);
    assert_eq!(store.set("a", "4"), 7);
    store.revoke(7).unwrap();
    store.remove_compacted(100);
    assert_eq!(store.get("c"), None);
}
