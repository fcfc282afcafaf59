//! What is checked before a request reaches its route.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::access::bearer_key;
use super::activity::HoldingBody;
use super::authentication::IsKnown;
use super::browser::is_cross_site_write;
use super::client::{Client, ClientAddress};
use super::connection::Peer;
use super::error::HttpError;
use super::handle::Handle;

/// Finds the client of a request, and refuses it while the client has too many others in progress.
pub async fn limit_client(State(handle): State<Arc<Handle>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(address)| *address);
    let address = handle.trusted_proxies.find_address(peer, request.headers());
    let client = Client::new(address);
    request.extensions_mut().insert(client);
    request.extensions_mut().insert(ClientAddress(address));
    let Some(permit) = handle.client_requests.take(client) else {
        let message = "too many requests of this address are in progress; retry after one second";
        return HttpError::new(StatusCode::TOO_MANY_REQUESTS, message).with_retry_after(1).into_response();
    };
    next.run(request).await.map(|body| Body::new(HoldingBody::new(body, permit)))
}

/// Refuses requests that another web site makes the browser of a visitor send.
pub async fn refuse_foreign_sites(State(handle): State<Arc<Handle>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if (path.starts_with("/api/") || path == "/-/reload") && is_cross_site_write(request.method(), request.headers()) {
        let message = "another web site may not change anything; use a program such as curl";
        return HttpError::new(StatusCode::FORBIDDEN, message).into_response();
    }
    let is_for_people = path != handle.telemetry_path
        && (matches!(path, "/" | "/config")
            || path.starts_with("/tasks/")
            || (path.starts_with("/api/") && matches!(*request.method(), Method::GET | Method::HEAD)));
    let is_refused = is_for_people && !handle.allowed_hosts.allow(request.uri(), request.headers());
    let is_known = request.extensions().get().is_some_and(|IsKnown(known)| *known);
    if is_refused
        && !is_known
        && !has_key(&handle, request.extensions().get().copied(), request.headers().clone()).await
    {
        let message = "the exporter does not serve this host name; start it with --web.allowed-host or \
                       --web.external-url, or use an IP address";
        return HttpError::new(StatusCode::MISDIRECTED_REQUEST, message).into_response();
    }
    next.run(request).await
}

/// Whether a request has a valid API key, which no other web site knows.
async fn has_key(handle: &Handle, client: Option<Client>, headers: HeaderMap) -> bool {
    let (Some(client), Ok(config)) = (client, handle.active_config()) else { return false };
    bearer_key(&headers).is_some() && handle.access.find_permissions(&config.api, client, &headers).await.is_ok()
}
