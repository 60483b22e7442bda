use std::fmt;

use chainfire_raft::Slot;
use ring::digest;

/// How etcd's API names a member: derived from its peer URL, so that it survives a new disk and is equal everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

/// How etcd's API names the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClusterId(pub u64);

/// One member as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: MemberId,
    pub slot: Slot,
    pub name: String,
    pub peer_url: String,
}

/// The fixed membership with etcd's ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    cluster: ClusterId,
    own: Slot,
    members: Vec<Member>,
}

impl Members {
    /// `members` are (name, peer URL) by slot; `own` is this server's slot.
    pub fn new(token: &str, own: Slot, members: impl IntoIterator<Item = (String, String)>) -> Self {
        let members: Vec<Member> = members
            .into_iter()
            .zip(0..=u16::MAX)
            .map(|((name, peer_url), slot)| {
                let id = MemberId(first_eight(&[peer_url.as_bytes(), token.as_bytes()]));
                Member { id, slot: Slot(slot), name, peer_url }
            })
            .collect();
        let mut ids: Vec<u64> = members.iter().map(|member| member.id.0).collect();
        ids.sort_unstable();
        let bytes: Vec<[u8; 8]> = ids.into_iter().map(u64::to_be_bytes).collect();
        let parts: Vec<&[u8]> = bytes.iter().map(<[u8; 8]>::as_slice).collect();
        Self { cluster: ClusterId(first_eight(&parts)), own, members }
    }

    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    pub fn own(&self) -> Slot {
        self.own
    }

    /// This server's id; 0, etcd's "none", if it is not in its own configuration.
    pub fn own_id(&self) -> MemberId {
        self.by_slot(self.own).map_or(MemberId(0), |member| member.id)
    }

    pub fn by_slot(&self, slot: Slot) -> Option<&Member> {
        self.members.get(usize::from(slot.0))
    }

    pub fn by_id(&self, id: MemberId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:x}", self.0)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:x}", self.0)
    }
}

/// The first eight bytes of SHA-1, which is how etcd makes ids; nothing here depends on its strength.
fn first_eight(parts: &[&[u8]]) -> u64 {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    for part in parts {
        context.update(part);
    }
    let hash = context.finish();
    hash.as_ref().iter().take(8).fold(0, |id, byte| (id << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §2.1.
    #[test]
    fn a_default_etcd_has_the_id_everybody_knows() {
        // What an etcd started without any flag reports.
        let members = Members::new("etcd-cluster", Slot(0), [("default".into(), "http://localhost:2380".into())]);
        assert_eq!(members.own_id().to_string(), "8e9e05c52164694d");
        assert_eq!(members.cluster().to_string(), "cdf818194e3a8c32");
    }

    /// §2.1: "SHA-1(sorted peer URLs joined + cluster token)", "cluster_id = same of the concatenated sorted member IDs".
    #[test]
    fn three_members_have_the_ids_that_etcd_gives_them() {
        // As etcd 3.6 tells them for the same flags.
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let three = [("a".into(), url(42381)), ("b".into(), url(42382)), ("c".into(), url(42383))];
        let members = Members::new("quay", Slot(1), three);
        let ids: Vec<_> = members.iter().map(|member| member.id.to_string()).collect();
        assert_eq!(ids, ["af138a14d1ab4916", "c3048c8e570bcce4", "60e7d20edaa4bc17"]);
        assert_eq!(members.own_id().to_string(), ids[1]);
        assert_eq!(members.cluster().to_string(), "d3d921a6963520f7");
    }

    #[test]
    fn the_cluster_id_does_not_depend_on_order() {
        let a = ("a".to_owned(), "http://a:2380".to_owned());
        let b = ("b".to_owned(), "http://b:2380".to_owned());
        let one = Members::new("t", Slot(0), [a.clone(), b.clone()]);
        let other = Members::new("t", Slot(0), [b, a]);
        assert_eq!(one.cluster(), other.cluster());
        assert_ne!(one.own_id(), other.own_id());
    }
}
