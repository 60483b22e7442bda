use base64::{Engine as _, engine::general_purpose::STANDARD};
use chainfire_core::auth::{Permission, PermissionKind};
use holdfast_proto::authpb::{self, permission::Type};

use crate::Error;

/// What a role is granted. A kind that does not exist is no permission at all.
pub(crate) fn granted(permission: authpb::Permission) -> Result<Permission, Error> {
    let kind = match Type::try_from(permission.perm_type).map_err(|_| Error::InvalidAuthManagement)? {
        Type::Read => PermissionKind::Read,
        Type::Write => PermissionKind::Write,
        Type::Readwrite => PermissionKind::ReadWrite,
    };
    Ok(Permission { kind, key: permission.key, range_end: permission.range_end })
}

pub(crate) fn permission(permission: Permission) -> authpb::Permission {
    let kind = match permission.kind {
        PermissionKind::Read => Type::Read,
        PermissionKind::Write => Type::Write,
        PermissionKind::ReadWrite => Type::Readwrite,
    };
    authpb::Permission { perm_type: kind.into(), key: permission.key, range_end: permission.range_end }
}

/// A hash that a client has made: bcrypt's text in base64, or nothing.
pub(crate) fn password_hash(text: &str) -> Result<Vec<u8>, Error> {
    let hash = STANDARD.decode(text).map_err(|_| Error::InvalidAuthManagement)?;
    let is_hash = |text: &str| text.parse::<bcrypt::HashParts>().is_ok();
    let valid = hash.is_empty() || std::str::from_utf8(&hash).is_ok_and(is_hash);
    if valid { Ok(hash) } else { Err(Error::InvalidAuthManagement) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_come_back_as_they_were_granted() {
        for (kind, number) in [(PermissionKind::Read, 0), (PermissionKind::Write, 1), (PermissionKind::ReadWrite, 2)] {
            let wire = authpb::Permission { perm_type: number, key: "a".into(), range_end: "b".into() };
            let granted = granted(wire.clone()).unwrap();
            assert_eq!(granted.kind, kind);
            assert_eq!(permission(granted), wire);
        }
        let unknown = authpb::Permission { perm_type: 3, key: "a".into(), range_end: "b".into() };
        assert_eq!(granted(unknown), Err(Error::InvalidAuthManagement));
    }

    #[test]
    fn only_hashes_of_bcrypt_are_taken() {
        let hash = "$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga";
        assert_eq!(password_hash(&STANDARD.encode(hash)), Ok(hash.as_bytes().to_vec()));
        assert_eq!(password_hash(""), Ok(Vec::new()));
        for bad in ["?", &STANDARD.encode("secret")] {
            assert_eq!(password_hash(bad), Err(Error::InvalidAuthManagement));
        }
    }
}
