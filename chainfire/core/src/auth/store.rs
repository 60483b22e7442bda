//! Rows of users and roles, by name, and the record of what holds for all.

use holdfast_format::kind::{self, Kind};
use holdfast_keyspace::{KeyRange, Order, Read, Write};
use serde::{Serialize, de::DeserializeOwned};

use super::{AuthStatus, Role, User};
use crate::{
    Halt,
    format::{decode_record, encode_record},
    meta, table,
};

const USER: u8 = 1;
const ROLE: u8 = 2;

pub fn status(read: &dyn Read) -> Result<AuthStatus, Halt> {
    match read.get(table::META, meta::AUTH_STATUS.as_bytes())? {
        Some(bytes) => decode_record(kind::AUTH_STATUS, &bytes),
        None => Ok(AuthStatus::default()),
    }
}

pub fn user(read: &dyn Read, name: &str) -> Result<Option<User>, Halt> {
    get(read, kind::AUTH_USER, &row_key(USER, name))
}

/// All users, by name.
pub fn users(read: &dyn Read) -> impl Iterator<Item = Result<User, Halt>> {
    scan(read, kind::AUTH_USER, USER)
}

pub fn role(read: &dyn Read, name: &str) -> Result<Option<Role>, Halt> {
    get(read, kind::AUTH_ROLE, &row_key(ROLE, name))
}

/// All roles, by name.
pub fn roles(read: &dyn Read) -> impl Iterator<Item = Result<Role, Halt>> {
    scan(read, kind::AUTH_ROLE, ROLE)
}

/// Takes over the users and roles of an etcd.
pub fn import(state: &mut dyn Write, status: &AuthStatus, users: &[User], roles: &[Role]) -> Result<(), Halt> {
    users.iter().try_for_each(|user| set_user(state, user))?;
    roles.iter().try_for_each(|role| set_role(state, role))?;
    set_status(state, status)
}

pub(super) fn set_status(state: &mut dyn Write, status: &AuthStatus) -> Result<(), Halt> {
    state.put(table::META, meta::AUTH_STATUS.into(), encode_record(kind::AUTH_STATUS, status)?);
    Ok(())
}

pub(super) fn set_user(state: &mut dyn Write, user: &User) -> Result<(), Halt> {
    put(state, kind::AUTH_USER, row_key(USER, &user.name), user)
}

pub(super) fn delete_user(state: &mut dyn Write, name: &str) {
    state.delete(table::AUTH, row_key(USER, name));
}

pub(super) fn set_role(state: &mut dyn Write, role: &Role) -> Result<(), Halt> {
    put(state, kind::AUTH_ROLE, row_key(ROLE, &role.name), role)
}

pub(super) fn delete_role(state: &mut dyn Write, name: &str) {
    state.delete(table::AUTH, row_key(ROLE, name));
}

fn row_key(of: u8, name: &str) -> Vec<u8> {
    [&[of], name.as_bytes()].concat()
}

fn get<T: DeserializeOwned>(read: &dyn Read, kind: Kind, key: &[u8]) -> Result<Option<T>, Halt> {
    let bytes = read.get(table::AUTH, key)?;
    bytes.map(|bytes| decode_record(kind, &bytes)).transpose()
}

fn scan<T: DeserializeOwned>(read: &dyn Read, kind: Kind, of: u8) -> impl Iterator<Item = Result<T, Halt>> {
    let rows = read.scan(table::AUTH, KeyRange::prefix([of]), Order::Ascending);
    rows.map(move |row| decode_record(kind, &row?.1))
}

fn put<T: Serialize>(state: &mut dyn Write, kind: Kind, key: Vec<u8>, record: &T) -> Result<(), Halt> {
    state.put(table::AUTH, key, encode_record(kind, record)?);
    Ok(())
}
