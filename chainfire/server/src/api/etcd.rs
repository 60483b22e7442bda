use std::{sync::Arc, time::Duration};

use chainfire_core::{
    auth::{Judge, KeyAccess},
    kv::{Keys, Revision},
};
use holdfast_keyspace::{KeyRange, Read};
use holdfast_proto::{
    chainfire::{admin_server::AdminServer, history_server::HistoryServer},
    etcdserverpb::{
        ResponseHeader, auth_server::AuthServer, cluster_server::ClusterServer, kv_server::KvServer,
        lease_server::LeaseServer, maintenance_server::MaintenanceServer, watch_server::WatchServer,
    },
    v3electionpb::election_server::ElectionServer,
    v3lockpb::lock_server::LockServer,
};
use iam_client::{DisclosureLog, KeyAuthority, PasswordLogin};
use tonic::service::Routes;

use super::{
    caller::Caller,
    copies::Copies,
    demands::Demands,
    front::{Front, Fronted},
};
use crate::{
    Error, Profile,
    directory::Directory,
    lease::Keeper,
    memory::Memory,
    metrics::{Grpc, Metrics},
    permit::Permit,
    store::Store,
    users::{Gate, Users},
    watch::Hub,
    wire::Headers,
};

/// How callers are judged: IAM in the suite, [`Doors::open`] in the drop-in server.
#[derive(Clone)]
pub struct Doors {
    pub keys: Arc<dyn KeyAuthority>,
    /// None where there is no authentication.
    pub login: Option<Arc<dyn PasswordLogin>>,
    /// Who is told when somebody gets a copy of everything; none where nobody is known.
    pub disclosures: Option<Arc<dyn DisclosureLog>>,
}

/// Everything that the handlers need.
pub(crate) struct Parts {
    pub(crate) store: Arc<Store>,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) doors: Doors,
    /// etcd's own authentication; none where IAM has taken its place.
    pub(crate) users: Option<Arc<Users>>,
    pub(crate) metrics: Metrics,
    pub(crate) grpc: Arc<Grpc>,
    pub(crate) memory: Memory,
    pub(crate) copies: Copies,
    /// Between two progress notifications of an idle watcher.
    pub(crate) progress_interval: Duration,
    /// The shortest lease, in seconds.
    pub(crate) min_ttl: i64,
    pub(crate) profile: Profile,
    /// A unary call that takes longer is worth a line in the log.
    pub(crate) slow_call: Duration,
}

/// The handlers of all services.
#[derive(Clone)]
pub(crate) struct Etcd(Arc<Parts>);

impl std::ops::Deref for Etcd {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Answers may be large: clients take up to two gigabytes.
const SEND_BYTES: usize = i32::MAX as usize;

impl Etcd {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// All services as routes of one router.
    pub(crate) fn routes(self) -> Routes {
        let receive = self.store.limits().receive_bytes();
        let front = Arc::new(Front {
            grpc: self.grpc.clone(),
            requests: self.memory.requests.clone(),
            largest: receive,
            profile: self.profile,
            slow: self.slow_call,
            store: self.store.clone(),
            demands: Demands::new(self.store.clone(), self.metrics.clone()),
            gate: self.users.clone().map(Gate::new),
        });
        macro_rules! fronted {
            ($server:ident) => {{
                let service = $server::new(self.clone());
                let service = service.max_decoding_message_size(receive).max_encoding_message_size(SEND_BYTES);
                Fronted { front: front.clone(), service }
            }};
        }
        Routes::new(fronted!(KvServer))
            .add_service(fronted!(WatchServer))
            .add_service(fronted!(LeaseServer))
            .add_service(fronted!(ClusterServer))
            .add_service(fronted!(MaintenanceServer))
            .add_service(fronted!(AuthServer))
            .add_service(fronted!(LockServer))
            .add_service(fronted!(ElectionServer))
            .add_service(fronted!(HistoryServer))
            .add_service(fronted!(AdminServer))
    }

    pub(super) fn header(&self, revision: Revision) -> ResponseHeader {
        self.headers().at(revision, self.store.status().term)
    }

    /// The header of an answer that belongs to no write: the revision is the one of now.
    pub(super) fn current_header(&self) -> Result<ResponseHeader, Error> {
        Ok(self.header(self.store.revision()?))
    }

    pub(super) fn headers(&self) -> Headers {
        Headers { cluster: self.directory.members().cluster(), member: self.directory.members().own_id() }
    }

    /// The same caller as of now, for streams, which may outlive what established it.
    pub(super) fn again(&self, caller: &Caller) -> Result<Caller, Error> {
        self.doors.keys.still_holds(&caller.identity)?;
        let Some(users) = &self.users else { return Ok(caller.clone()) };
        Ok(Caller { user: users.identify(&caller.credentials)?, ..caller.clone() })
    }

    /// The same caller for a stream that goes on. A token that nobody uses may run out while its stream lives; what its
    /// user may see is asked as of now.
    pub(super) fn as_of_now(&self, caller: &Caller) -> Result<Caller, Error> {
        self.doors.keys.still_holds(&caller.identity)?;
        let user = self.users.as_ref().zip(caller.user.as_ref());
        let user = user.map(|(users, user)| users.now(user)).transpose()?;
        Ok(Caller { user, ..caller.clone() })
    }

    /// Whether `caller` may do `access` to `keys`.
    pub(super) fn permit_keys(&self, caller: &Caller, access: KeyAccess, keys: &Keys) -> Result<(), Error> {
        self.permit(caller, |permit| permit.keys(access, keys))
    }

    pub(super) fn permit(
        &self,
        caller: &Caller,
        ask: impl FnOnce(Permit<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.permit_in(self.store.group().state(), caller, ask)
    }

    /// The same by users, roles and the keys of leases as `read` has them: the view that the answer is made of, so that
    /// nothing comes between the two.
    pub(super) fn permit_in(
        &self,
        read: &dyn Read,
        caller: &Caller,
        ask: impl FnOnce(Permit<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let judge = Some(Judge::new(read, &caller.origin())?);
        ask(Permit { keys: self.doors.keys.as_ref(), identity: &caller.identity, judge, read })
    }

    /// The same for a command, of which etcd's own authentication is no part: it judges where the command is applied. If
    /// the command names a lease, the caller's right depends on what hangs on that lease, also on what another server has
    /// hung there, so that this one catches up first; not for somebody who may write everything anyway.
    pub(super) async fn permit_change(
        &self,
        caller: &Caller,
        names_lease: bool,
        ask: impl FnOnce(Permit<'_>) -> Result<(), Error> + Send,
    ) -> Result<(), Error> {
        let (keys, identity) = (self.doors.keys.as_ref(), &caller.identity);
        if names_lease && !keys.may_access_keys(identity, KeyAccess::Write, &KeyRange::all())? {
            self.store.barrier().await?;
        }
        ask(Permit { keys, identity, judge: None, read: self.store.group().state() })
    }
}

impl Doors {
    /// Everybody may do everything; there is no login.
    pub fn open() -> Self {
        Self { keys: Arc::new(crate::Open), login: None, disclosures: None }
    }
}
