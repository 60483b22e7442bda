use chainfire_core::kv::Revision;
use holdfast_proto::etcdserverpb::{
    Member as WireMember, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, MemberUpdateRequest,
    MemberUpdateResponse, cluster_server::Cluster,
};
use tonic::{Request, Response, Status};

use super::Etcd;
use crate::{
    Error, Profile,
    members::{Member, MemberId},
};

/// Membership is what the servers were configured with. It can be read; every change is refused in words that clients
/// know.
#[tonic::async_trait]
impl Cluster for Etcd {
    async fn member_list(&self, request: Request<MemberListRequest>) -> Result<Response<MemberListResponse>, Status> {
        if request.into_inner().linearizable && self.profile != Profile::V3_4 {
            self.store.barrier().await.map_err(Error::from)?;
        }
        let mut members: Vec<WireMember> =
            self.directory.members().iter().map(|member| self.wire_member(member)).collect::<Result<_, _>>()?;
        members.sort_unstable_by_key(|member| member.id);
        Ok(Response::new(MemberListResponse { header: Some(self.header(Revision(0))), members }))
    }

    async fn member_add(&self, request: Request<MemberAddRequest>) -> Result<Response<MemberAddResponse>, Status> {
        check_urls(&request.into_inner().peer_ur_ls)?;
        Err(Error::MembershipFixed.into())
    }

    async fn member_remove(
        &self,
        request: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        self.known(request.into_inner().id)?;
        Err(Error::MembershipFixed.into())
    }

    async fn member_update(
        &self,
        request: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        let request = request.into_inner();
        check_urls(&request.peer_ur_ls)?;
        self.known(request.id)?;
        Err(Error::MembershipFixed.into())
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        let member = self.known(request.into_inner().id)?;
        // A learner is promoted by the leader, as soon as it can be.
        Err(if self.is_learner(member) { Error::LearnerNotReady } else { Error::NotLearner }.into())
    }
}

impl Etcd {
    fn known(&self, id: u64) -> Result<&Member, Error> {
        self.directory.members().by_id(MemberId(id)).ok_or(Error::MemberNotFound)
    }

    /// Whether the member has lost its disk and is not back yet.
    fn is_learner(&self, member: &Member) -> bool {
        self.store.status().learners.contains(&member.slot)
    }

    fn wire_member(&self, member: &Member) -> Result<WireMember, Error> {
        Ok(WireMember {
            id: member.id.0,
            name: member.name.clone(),
            peer_ur_ls: vec![member.peer_url.clone()],
            client_ur_ls: self.directory.client_urls(member.slot)?,
            is_learner: self.is_learner(member),
        })
    }
}

/// Peer URLs as etcd wants them: at least one, each with scheme, host and port, and no path.
fn check_urls(urls: &[String]) -> Result<(), Error> {
    let valid = |url: &String| {
        url.parse::<http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.port().is_some() && matches!(uri.path(), "" | "/")
        })
    };
    if urls.is_empty() || !urls.iter().all(valid) { Err(Error::BadMemberUrls) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_urls_need_scheme_and_port() {
        assert_eq!(check_urls(&["http://10.0.0.1:2380".into()]), Ok(()));
        for bad in ["10.0.0.1:2380", "http://10.0.0.1", "ftp://10.0.0.1:21", "http://10.0.0.1:2380/x", ""] {
            assert_eq!(check_urls(&[bad.to_owned()]), Err(Error::BadMemberUrls), "{bad}");
        }
        assert_eq!(check_urls(&[]), Err(Error::BadMemberUrls));
    }
}
