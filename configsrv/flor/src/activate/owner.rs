use std::path::Path;

use crate::{Error, disk::Disk};

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// The numbers behind `user` or `user:group`; names or numbers. Without a group it is the user's own.
pub(super) fn resolve(disk: &dyn Disk, owner: &str) -> Result<(u32, u32), Error> {
    let (user, group) = match owner.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (owner, None),
    };
    let users = table(disk, USERS)?;
    let row = row(&users, user);
    let number = |fields: &[String], at: usize| fields.get(at).and_then(|field| field.parse().ok());
    let user_id = match &row {
        Some(fields) => number(fields, 2),
        None => user.parse().ok(),
    };
    let group_id = match group {
        Some(group) => match self::row(&table(disk, GROUPS)?, group) {
            Some(fields) => number(&fields, 2),
            None => group.parse().ok(),
        },
        None => row.as_ref().and_then(|fields| number(fields, 3)).or(user_id),
    };
    user_id.zip(group_id).ok_or_else(|| Error::State(format!("there is no owner {owner} on this machine")))
}

fn table(disk: &dyn Disk, path: &str) -> Result<String, Error> {
    let bytes = disk.read(Path::new(path)).map_err(|error| Error::file(Path::new(path), &error))?;
    Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
}

fn row(table: &str, name: &str) -> Option<Vec<String>> {
    table
        .lines()
        .map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>())
        .find(|fields| fields.first().is_some_and(|first| first == name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::forgetful::ForgetfulDisk;

    #[test]
    fn names_and_numbers() {
        let disk = ForgetfulDisk::default();
        disk.plant(USERS, b"root:x:0:0::/root:/bin/sh\nshop:x:990:980::/:/bin/false\n");
        disk.plant(GROUPS, b"root:x:0:\nweb:x:33:\n");
        let resolved = |owner| resolve(&disk, owner);
        assert_eq!(resolved("shop"), Ok((990, 980)));
        assert_eq!(resolved("shop:web"), Ok((990, 33)));
        assert_eq!(resolved("1000:1001"), Ok((1000, 1001)));
        assert_eq!(resolved("1000"), Ok((1000, 1000)));
        assert!(resolved("nobody-here").is_err());
    }
}
