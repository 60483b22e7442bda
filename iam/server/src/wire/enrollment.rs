use holdfast_proto::iam::{
    CreateJoinTokenRequest, CreateJoinTokenResponse, EnrollRequest, EnrollResponse, ListEnrollmentsRequest,
    ListEnrollmentsResponse, RenewRequest, enrollment_server::Enrollment,
};
use iam_core::{Kind, PrincipalId};
use tonic::{Request, Response, Status, async_trait};

use super::convert;
use crate::{Error, Iam, enrolment::Certified, recorder::Call};

#[async_trait]
impl Enrollment for Iam {
    async fn create_join_token(
        &self,
        request: Request<CreateJoinTokenRequest>,
    ) -> Result<Response<CreateJoinTokenResponse>, Status> {
        let by = convert::caller(&request)?;
        let CreateJoinTokenRequest { node, ttl_s } = request.into_inner();
        let node = PrincipalId::new(Kind::Node, node).map_err(Error::from)?;
        let token = self.create_join_token(&by, node, ttl_s).await?;
        Ok(Response::new(CreateJoinTokenResponse { join_token: token.text.to_string(), expires_ms: token.expires_ms }))
    }

    async fn enroll(&self, request: Request<EnrollRequest>) -> Result<Response<EnrollResponse>, Status> {
        let call = Call::public(request.extensions());
        let EnrollRequest { join_token, csr_der } = request.into_inner();
        let certified = self.enroll(call, &join_token, &csr_der).await?;
        Ok(Response::new(certified.into()))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<EnrollResponse>, Status> {
        let by = convert::caller(&request)?;
        let certified = self.renew(&by, &request.into_inner().csr_der).await?;
        Ok(Response::new(certified.into()))
    }

    async fn list_enrollments(
        &self,
        request: Request<ListEnrollmentsRequest>,
    ) -> Result<Response<ListEnrollmentsResponse>, Status> {
        let (after, size) = convert::page(request.into_inner().page)?;
        let listing = self.list_enrollments(after.as_deref(), size)?;
        let shown = listing.values.into_iter().map(|enrollment| {
            let revoked = self.revoked(&enrollment)?;
            Ok(convert::enrollment(enrollment, revoked))
        });
        Ok(Response::new(ListEnrollmentsResponse {
            enrollments: shown.collect::<Result<_, Error>>()?,
            next_page_token: convert::next_page(listing.next),
        }))
    }
}

impl From<Certified> for EnrollResponse {
    fn from(certified: Certified) -> Self {
        Self {
            certificate_chain: certified.chain.into_iter().map(Into::into).collect(),
            ca_bundle: certified.bundle.into_iter().map(Into::into).collect(),
            spiffe_id: certified.spiffe_id,
            expires_ms: certified.expires_ms,
        }
    }
}
