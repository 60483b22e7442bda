//! Users, roles, and what they may do with keys.

use bytes::Bytes;
use holdfast_proto::{
    authpb::Permission,
    etcdserverpb::{
        AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGetRequest, AuthRoleGrantPermissionRequest,
        AuthRoleRevokePermissionRequest, AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest,
        AuthUserGetRequest, AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest, TxnRequest, request_op::Request,
    },
};

use super::{Horizon, compaction, delete, leases, put, range, txns};
use crate::{
    operation::{AuthCall, Operation, Who},
    random::Random,
};

const ROOT: &str = "root";
const USERS: &[&str] = &["a", "b"];
const ROLES: &[&str] = &["r", "s"];
const PASSWORDS: &[&str] = &["1", "2"];

/// Keys and ranges of permissions, neighbours among them, and three that are none. No two have the same key: in etcd a
/// second permission from that key on, with another end, hides from later grants and revocations of the first.
const PERMITTED: &[(&[u8], &[u8])] = &[
    (b"\0", b"\0"),
    (b"a", b"a\0"),
    (b"a\0", b"a/"),
    (b"a/", b"a0"),
    (b"a0", b"b"),
    (b"b", b""),
    (b"b\x01", b"k"),
    (b"k", b"k\0"),
    (b"k\0", b"\0"),
    (b"\xff", b""),
    (b"\xff\xff", b"\xff"),
    (b"", b"\0"),
    (b"", b""),
];

type Make = fn(&mut Random, Horizon) -> Operation;

/// By users, and sometimes by nobody.
const KINDS: &[(u32, Make)] = &[
    (25, |random, horizon| {
        let mut range = range(random, horizon);
        forwards(&range.key, &mut range.range_end);
        Operation::Range(range)
    }),
    (25, |random, _| Operation::Put(put(random))),
    (10, |random, _| {
        let mut delete = delete(random);
        forwards(&delete.key, &mut delete.range_end);
        Operation::DeleteRange(delete)
    }),
    (20, |random, horizon| Operation::Txn(txn(random, horizon))),
    (20, |random, _| Operation::Auth(call(random))),
];

/// By root: what everybody, or only root, may do depends on the release.
const OF_ROOT: &[(u32, Make)] = &[
    (30, |random, _| Operation::Auth(call(random))),
    (6, |random, _| leases::lease(random)),
    (5, |random, _| Operation::Put(put(random))),
    (1, |random, horizon| Operation::Compact(compaction(random, horizon))),
];

/// Root with its role, two users with a role each, switched on, and everybody logged in.
pub(super) fn beginning() -> Vec<Operation> {
    let mut calls = vec![
        AuthCall::UserAdd(user_add(ROOT, "1")),
        AuthCall::UserGrantRole(AuthUserGrantRoleRequest { user: ROOT.into(), role: ROOT.into() }),
    ];
    for (user, role) in USERS.iter().zip(ROLES) {
        calls.push(AuthCall::UserAdd(user_add(user, "1")));
        calls.push(AuthCall::RoleAdd(AuthRoleAddRequest { name: (*role).into() }));
        calls.push(AuthCall::UserGrantRole(AuthUserGrantRoleRequest { user: (*user).into(), role: (*role).into() }));
    }
    calls.push(AuthCall::Enable);
    calls.extend([ROOT].iter().chain(USERS).map(|user| AuthCall::LogIn { user, password: "1" }));
    calls.into_iter().map(Operation::Auth).collect()
}

pub(super) fn any(random: &mut Random, horizon: Horizon) -> Operation {
    match random.below(100) {
        0..=39 => by(random, OF_ROOT, horizon, Some(Who::User(ROOT))),
        40..=89 => {
            let user = random.pick(USERS);
            by(random, KINDS, horizon, Some(Who::User(user)))
        }
        90..=93 => by(random, KINDS, horizon, None),
        94..=95 => by(random, KINDS, horizon, Some(Who::Stranger)),
        // Root's password never changes: everything else depends on it.
        96..=97 => Operation::Auth(AuthCall::LogIn { user: ROOT, password: "1" }),
        _ => Operation::Auth(AuthCall::LogIn { user: random.pick(USERS), password: random.pick(PASSWORDS) }),
    }
}

fn by(random: &mut Random, kinds: &[(u32, Make)], horizon: Horizon, who: Option<Who>) -> Operation {
    let operation = random.weighted(kinds)(random, horizon);
    match who {
        Some(who) => Operation::As(who, Box::new(operation)),
        None => operation,
    }
}

/// Within a transaction etcd does not look at leases and at what `prev_kv` shows; see [`crate::allowed::LEFT_OUT`].
fn txn(random: &mut Random, horizon: Horizon) -> TxnRequest {
    let mut txn = txns::txn(random, horizon);
    plain(&mut txn);
    txn
}

fn plain(txn: &mut TxnRequest) {
    for compare in &mut txn.compare {
        forwards(&compare.key, &mut compare.range_end);
    }
    for op in txn.success.iter_mut().chain(&mut txn.failure).filter_map(|op| op.request.as_mut()) {
        match op {
            Request::RequestPut(put) => (put.lease, put.prev_kv) = (0, false),
            Request::RequestTxn(inner) => plain(inner),
            Request::RequestRange(range) => forwards(&range.key, &mut range.range_end),
            Request::RequestDeleteRange(delete) => forwards(&delete.key, &mut delete.range_end),
        }
    }
}

/// A range that ends before it begins, which nobody has a right to in etcd, becomes one key.
fn forwards(key: &Bytes, range_end: &mut Bytes) {
    if range_end != &b"\0"[..] && *range_end <= *key {
        range_end.clear();
    }
}

fn call(random: &mut Random) -> AuthCall {
    let user = |random: &mut Random| if random.once_in(12) { name(random) } else { random.pick(USERS).to_owned() };
    let role = |random: &mut Random| if random.once_in(12) { name(random) } else { random.pick(ROLES).to_owned() };
    match random.below(60) {
        0..=1 => AuthCall::Enable,
        2 => AuthCall::Disable,
        3..=6 => AuthCall::UserAdd(user_add(&user(random), random.pick(PASSWORDS))),
        7..=9 => AuthCall::UserGet(AuthUserGetRequest { name: user(random) }),
        10 => AuthCall::UserList,
        11 => AuthCall::UserDelete(AuthUserDeleteRequest { name: user(random) }),
        12 => {
            let (name, password) = (random.pick(USERS).to_owned(), random.pick(PASSWORDS).to_owned());
            AuthCall::UserChangePassword(AuthUserChangePasswordRequest { name, password, ..Default::default() })
        }
        13..=20 => AuthCall::UserGrantRole(AuthUserGrantRoleRequest { user: user(random), role: role(random) }),
        21..=22 => AuthCall::UserRevokeRole(AuthUserRevokeRoleRequest { name: user(random), role: role(random) }),
        23..=25 => AuthCall::RoleAdd(AuthRoleAddRequest { name: role(random) }),
        26..=29 => AuthCall::RoleGet(AuthRoleGetRequest { role: role(random) }),
        30 => AuthCall::RoleList,
        31 => AuthCall::RoleDelete(AuthRoleDeleteRequest { role: role(random) }),
        32..=53 => {
            let (key, range_end) = permitted(random);
            let perm = Permission { perm_type: random.pick(&[0, 1, 2]), key, range_end };
            let name = role(random);
            AuthCall::RoleGrantPermission(AuthRoleGrantPermissionRequest { name, perm: Some(perm) })
        }
        _ => {
            let (key, range_end) = permitted(random);
            let role = role(random);
            AuthCall::RoleRevokePermission(AuthRoleRevokePermissionRequest { role, key, range_end })
        }
    }
}

fn name(random: &mut Random) -> String {
    random.pick(&["", ROOT, "nobody"]).to_owned()
}

fn permitted(random: &mut Random) -> (Bytes, Bytes) {
    let (key, range_end) = random.pick(PERMITTED);
    (Bytes::from_static(key), Bytes::from_static(range_end))
}

fn user_add(name: &str, password: &str) -> AuthUserAddRequest {
    AuthUserAddRequest { name: name.to_owned(), password: password.to_owned(), ..Default::default() }
}
