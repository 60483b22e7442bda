//! The servers' gRPC: joining, and the next certificate.

use std::{future::Future, time::Duration};

use holdfast_proto::iam::{
    AuthorizeRequest, EnrollResponse, RenewRequest, authz_client::AuthzClient, enrollment_client::EnrollmentClient,
};
use std::sync::Arc;
use tonic::{
    Code, Request, Response, Status,
    metadata::MetadataValue,
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use super::{
    Credentials, HttpServer,
    answer::plain,
    door::Door,
    route::{Route, is_loopback},
};
use crate::Error;

const CONNECT: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(30);

/// Secrets and certificates travel over TLS, or not at all.
pub(crate) fn connect(url: &str, tls: Option<ClientTlsConfig>) -> Result<Channel, Error> {
    let unusable = |error: tonic::transport::Error| Error::Usage(format!("{url}: {error}"));
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(unusable)?;
    let loopback = endpoint.uri().host().is_some_and(is_loopback);
    let endpoint = match (endpoint.uri().scheme_str(), tls) {
        (Some("https"), Some(tls)) => endpoint.tls_config(tls).map_err(unusable)?,
        (Some("https"), None) => {
            return Err(Error::Usage("--ca-file is required for https: it says which server may get the token".into()));
        }
        // The join token would be readable on the way.
        _ if !loopback => return Err(Error::Usage(format!("{url}: a join token is sent over https only"))),
        _ => endpoint,
    };
    Ok(endpoint.connect_timeout(CONNECT).timeout(REQUEST).connect_lazy())
}

pub(crate) fn refused(status: &Status) -> Error {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => {
            // The innermost cause says what a person can act on.
            let cause = std::iter::successors(std::error::Error::source(status), |error| error.source()).last();
            Error::Unreachable(cause.map_or_else(|| plain(status.message()), ToString::to_string))
        }
        _ => Error::Untrusted(format!("the server refused: {}", plain(status.message()))),
    }
}

impl HttpServer {
    /// Asks for this node's next certificate.
    pub(crate) async fn renew(&self, csr_der: Vec<u8>) -> Result<EnrollResponse, Error> {
        let (door, csr_der) = (self.door().await?, &csr_der);
        self.call(&door, |channel, request| async move {
            let renew = RenewRequest { csr_der: csr_der.clone().into() };
            EnrollmentClient::new(channel).renew(request.map(|()| renew)).await
        })
        .await
    }

    /// Shows that the servers know this node by other credentials than the ones in use.
    pub(crate) async fn try_out(&self, credentials: Credentials) -> Result<(), Error> {
        let door = Door::new(Arc::new(credentials))?;
        let node = format!("node/{}", self.cluster.node);
        let node = node.as_str();
        self.call(&door, |channel, request| async move {
            let question = AuthorizeRequest {
                principal: String::new(),
                action: "config.ReadArtifact".to_owned(),
                resource: node.to_owned(),
            };
            AuthzClient::new(channel).authorize(request.map(|()| question)).await
        })
        .await
        .map(|_| ())
    }

    /// Asks one API address after the other until one answers.
    async fn call<T, F, Answer>(&self, door: &Door, call: F) -> Result<T, Error>
    where
        F: Fn(Channel, Request<()>) -> Answer + Send + Sync,
        Answer: Future<Output = Result<Response<T>, Status>> + Send,
    {
        let mut last = Error::State("cluster.json names no API address: enrol this machine again".into());
        for url in &self.cluster.api {
            let channel = connect(url, Some(door.credentials.grpc_tls()))?;
            let outcome = async {
                let shown = self.shown(door, url).await?;
                let answer = call(channel.clone(), request(shown.as_deref())?).await;
                let void = matches!(&answer, Err(status) if status.code() == Code::Unauthenticated);
                if void && self.forget(door, shown).await {
                    let another = self.shown(door, url).await?;
                    return call(channel, request(another.as_deref())?).await.map_err(|status| refused(&status));
                }
                answer.map_err(|status| refused(&status))
            };
            match outcome.await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(error @ Error::Unreachable(_)) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// The token that stands for the certificate where there is no TLS.
    async fn shown(&self, door: &Door, url: &str) -> Result<Option<String>, Error> {
        if url.starts_with("https:") && self.token_file.is_none() {
            return Ok(None);
        }
        let mut last = Error::State("cluster.json names no server without TLS, where a token could be had".into());
        for url in &self.cluster.urls {
            match self.bearer(door, &Route::direct(url)).await {
                Ok(Some(token)) => return Ok(Some(token)),
                Ok(None) => {}
                Err(error @ (Error::Unreachable(_) | Error::Usage(_))) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}

fn request(token: Option<&str>) -> Result<Request<()>, Error> {
    let mut request = Request::new(());
    if let Some(token) = token {
        let value = MetadataValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Error::Unexpected("the token is not one line of ASCII".into()))?;
        request.metadata_mut().insert("authorization", value);
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_travel_over_tls_or_not_at_all() {
        assert!(connect("https://hub:2379", None).is_err());
        assert!(connect("http://hub:2379", None).is_err());
        assert!(connect("http://hub:2379", Some(ClientTlsConfig::new())).is_err());
    }
}
