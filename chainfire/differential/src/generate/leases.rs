use holdfast_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
};

use crate::{operation::Operation, random::Random};

/// Those that are granted and revoked.
const IDS: &[i64] = &[1, 2, 3, 77, -5, i64::MAX];

/// Never granted.
const UNKNOWN: i64 = 404;

/// Times that outlast the longest run.
const LONG: &[i64] = &[100_000, 200_000, 9_000_000_000];

type Make = fn(&mut Random) -> Operation;

const KINDS: &[(u32, Make)] = &[
    (5, |random| Operation::LeaseGrant(LeaseGrantRequest { id: random.pick(IDS), ttl: random.pick(LONG) })),
    (2, |random| Operation::LeasePasses(passing(random))),
    (3, |random| Operation::LeaseRevoke(LeaseRevokeRequest { id: any(random) })),
    (3, |random| Operation::LeaseKeepAlive(LeaseKeepAliveRequest { id: any(random) })),
    (5, |random| {
        let keys = random.once_in(2);
        Operation::LeaseTimeToLive(LeaseTimeToLiveRequest { id: any(random), keys })
    }),
    (2, |_| Operation::LeaseLeases),
];

pub(crate) fn lease(random: &mut Random) -> Operation {
    let make = random.weighted(KINDS);
    make(random)
}

pub(crate) fn of_a_put(random: &mut Random) -> i64 {
    if random.once_in(2) { 0 } else { any(random) }
}

fn any(random: &mut Random) -> i64 {
    match random.below(20) {
        0 => UNKNOWN,
        1 => 0,
        _ => random.pick(IDS),
    }
}

/// Either the server chooses the id, or it is one that nothing else uses.
fn passing(random: &mut Random) -> LeaseGrantRequest {
    let ttl = random.pick(&[i64::MIN, -1, 0, 1, 2, 3, 60, 9_000_000_000, 9_000_000_001, i64::MAX]);
    LeaseGrantRequest { id: random.pick(&[0, 0, 500, -500]), ttl }
}
