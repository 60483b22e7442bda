use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{HttpConnector, proxy::SocksV5};
use tonic::{
    Code as GrpcCode, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use super::{fault::failed, tunnel};
use crate::{
    failure::{Code, Failure},
    settings::{Settings, in_plane},
};

const CONNECT: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(60);

/// A connection to the API that says who calls.
pub(crate) type Channel = InterceptedService<tonic::transport::Channel, Authorization>;

#[derive(Clone)]
pub(crate) struct Authorization(Option<MetadataValue<Ascii>>);

impl Interceptor for Authorization {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

pub(crate) async fn connect(settings: &Settings) -> Result<Channel, Failure> {
    settings.token()?;
    connect_if_known(settings, &settings.api).await
}

/// The same for calls that a store which stands alone answers to anybody, at the API of any of the servers.
pub(crate) async fn connect_if_known(settings: &Settings, api: &str) -> Result<Channel, Failure> {
    settings.check(api)?;
    if settings.tunnel.user.is_some() && !in_plane(api) {
        return Err(Failure::usage(format!("{api}: only services can be dialled in the data plane"))
            .hint("--api (or HOLDFAST_API) names the service that is the API: http://SERVICE.CLUSTER.rete"));
    }
    let authorization = match settings.token {
        None => None,
        Some(_) => {
            let value: Result<MetadataValue<Ascii>, _> = settings.authorization()?.parse();
            let mut value = value.map_err(|_| Failure::usage("the token has characters that no token has"))?;
            value.set_sensitive(true);
            Some(value)
        }
    };
    let wrong = |error: tonic::transport::Error| Failure::usage(format!("{api}: {error}"));
    let mut endpoint = Endpoint::from_shared(api.to_owned()).map_err(wrong)?;
    endpoint = endpoint.connect_timeout(CONNECT).timeout(REQUEST);
    if api.starts_with("https://") {
        let pem = settings.ca.as_ref().ok_or_else(|| {
            Failure::usage("the API has TLS, and no authority is known to check it against")
                .hint("--ca (or HOLDFAST_CA) names the certificates")
        })?;
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
        endpoint = endpoint.tls_config(tls).map_err(wrong)?;
    }
    let channel = match tunnel::entry(&settings.tunnel, None)? {
        None => endpoint.connect().await,
        Some(entry) => {
            let port: Uri = format!("http://{}", entry.port).parse().map_err(Failure::unexpected)?;
            endpoint.connect_with_connector(SocksV5::new(port, HttpConnector::new())).await
        }
    };
    let channel = channel.map_err(|error| failed(api, &error, "--api (or HOLDFAST_API) says where the servers are"))?;
    Ok(InterceptedService::new(channel, Authorization(authorization)))
}

/// What a refusal means for the caller of this program.
#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(crate) fn refused(status: Status) -> Failure {
    let message = status.message().to_owned();
    match status.code() {
        GrpcCode::Unavailable | GrpcCode::DeadlineExceeded | GrpcCode::ResourceExhausted => {
            Failure::new(Code::Unreachable, message)
        }
        GrpcCode::Aborted | GrpcCode::AlreadyExists => Failure::new(Code::Conflict, message),
        GrpcCode::FailedPrecondition => Failure::new(Code::State, message),
        GrpcCode::Unauthenticated => {
            Failure::unexpected(message).hint("the token is wrong or has ended: HOLDFAST_TOKEN or --token-file")
        }
        GrpcCode::PermissionDenied => Failure::unexpected(message).hint("florctl iam whoami says who you are here"),
        GrpcCode::Unimplemented => {
            Failure::unexpected(message).hint("the servers are of another release, or this is not their API")
        }
        GrpcCode::Ok
        | GrpcCode::Cancelled
        | GrpcCode::Unknown
        | GrpcCode::InvalidArgument
        | GrpcCode::NotFound
        | GrpcCode::OutOfRange
        | GrpcCode::Internal
        | GrpcCode::DataLoss => Failure::unexpected(message),
    }
}
