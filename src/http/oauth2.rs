//! Tokens of the client credentials grant (RFC 6749, section 4.4): fetched when needed, shared, and fetched again when they
//! expire or are refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Mutex;

use super::client::{Client, Response};
use super::error::SendError;
use super::key::{AuthorizationHeader, Key, Refused};
use super::request::{Method, Request};
use crate::clock;
use crate::domain::Reason;
use crate::secret::{Secret, SecretSource};

/// A token is not used in its last seconds, so that it does not expire on its way.
const EXPIRY_MARGIN: Duration = Duration::from_secs(10);

/// Shortest time from one fetch to the next after a failure, or after a new token was refused.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Longest wait that the `Retry-After` of the token endpoint can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);

/// The error codes of RFC 6749, section 5.2. Only these words of an answer are shown.
const ERROR_CODES: [&str; 6] = [
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "unauthorized_client",
    "unsupported_grant_type",
];

/// Gets tokens from one token endpoint.
pub struct TokenClient {
    client: Arc<Client>,
    client_id: Box<str>,
    client_secret: Arc<SecretSource>,
    /// Names and values of the form, without client id and secret.
    form: Vec<(String, String)>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    style: Option<Style>,
    last: Option<Fetch>,
}

impl State {
    /// Whether the last fetch failed with this error, which was logged then.
    fn has_failed_with(&self, error: &SendError) -> bool {
        self.last.as_ref().is_some_and(|last| last.result.as_ref().is_err_and(|failure| failure.error == *error))
    }
}

/// How id and secret are sent. Not every server accepts both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// With HTTP Basic, which every server must support.
    Header,
    /// In the body.
    Body,
}

/// The last fetch and its result.
struct Fetch {
    at: Instant,
    /// The client secret that it was made with.
    client_secret: Secret,
    result: Result<Token, Failure>,
}

#[derive(Clone)]
struct Token {
    text: Secret,
    /// When it is replaced; `None` when the endpoint told no expiry: then it is used until it is refused.
    valid_until: Option<Instant>,
    refused: Refused,
}

struct Failure {
    error: SendError,
    wait: Duration,
    /// Sending id and secret in the other style may help.
    is_refusal: bool,
}

impl TokenClient {
    /// Of the token endpoint that `client` reads. `scopes` and `params` are sent with each request for a token.
    pub fn new(
        client: Arc<Client>,
        client_id: &str,
        client_secret: Arc<SecretSource>,
        scopes: &[String],
        params: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut form = vec![("grant_type".to_owned(), "client_credentials".to_owned())];
        if !scopes.is_empty() {
            form.push(("scope".to_owned(), scopes.join(" ")));
        }
        form.extend(params);
        Self { client, client_id: client_id.into(), client_secret, form, state: Mutex::default() }
    }

    /// A header with a token. Callers that come while a token is fetched wait for it.
    ///
    /// # Errors
    /// When the token endpoint gives none; then it is not asked again for some seconds.
    pub async fn token(&self) -> Result<AuthorizationHeader, SendError> {
        let mut state = self.state.lock().await;
        // Read under the lock: a caller with the secret from before a change would fetch with it once more.
        let client_secret = self.client_secret.get().await;
        let now = clock::instant();
        if !state.last.as_ref().is_some_and(|last| last.is_current(&client_secret, now)) {
            let result = self.fetch(&mut state, &client_secret).await;
            if let Err(failure) = &result
                && !state.has_failed_with(&failure.error)
            {
                let host = self.client.options().host().unwrap_or_default();
                tracing::warn!(host, error = %failure.error, "no token from the token endpoint");
            }
            state.last = Some(Fetch { at: clock::instant(), client_secret: client_secret.clone(), result });
        }
        match state.last.as_ref().map(|last| &last.result) {
            Some(Ok(token)) => {
                Ok(AuthorizationHeader::bearer(token.text.clone(), client_secret, token.refused.clone()))
            }
            Some(Err(failure)) => Err(failure.error.clone()),
            None => Err(no_token("was not asked")),
        }
    }

    /// Fetches a token. Without a style that is known to work, HTTP Basic is tried first, then the body.
    async fn fetch(&self, state: &mut State, client_secret: &Secret) -> Result<Token, Failure> {
        if let Some(style) = state.style {
            return self.request(style, client_secret).await;
        }
        for style in [Style::Header, Style::Body] {
            let result = self.request(style, client_secret).await;
            match result {
                Err(failure) if failure.is_refusal && style == Style::Header => {}
                result => {
                    state.style = result.is_ok().then_some(style);
                    return result;
                }
            }
        }
        Err(no_token("was not asked").into())
    }

    async fn request(&self, style: Style, client_secret: &Secret) -> Result<Token, Failure> {
        let request = Request { method: Method::Post, form: self.form.clone(), ..Request::get([]) };
        let key = match style {
            Style::Header => Key::Header(AuthorizationHeader::of_client(&self.client_id, client_secret)),
            Style::Body => Key::Form(self.client_id.clone(), client_secret.clone()),
        };
        let sent = clock::instant();
        let response = self.client.send(&request, Some(&key)).await;
        read_token(response.map_err(connection_error)?, sent)
    }
}

impl Fetch {
    /// Whether its result is used at `now`.
    fn is_current(&self, client_secret: &Secret, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.at);
        self.client_secret.expose() == client_secret.expose()
            && match &self.result {
                Ok(token) if token.refused.get() => age < RETRY_AFTER,
                Ok(token) => token.valid_until.is_none_or(|until| now < until),
                Err(failure) => age < failure.wait,
            }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        Self { error, wait: RETRY_AFTER, is_refusal: false }
    }
}

/// Without a token the exporter has no access, whatever the endpoint's answer is: the reason is never one about a task.
fn no_token(cause: &str) -> SendError {
    at_endpoint(SendError::new(Reason::Unauthorized, cause))
}

fn at_endpoint(SendError { reason, cause }: SendError) -> SendError {
    SendError { reason, cause: format!("token endpoint: {cause}") }
}

/// An error of the connection keeps its reason, one of the body does not.
fn connection_error(error: SendError) -> SendError {
    match error.reason {
        Reason::Dns | Reason::Connect | Reason::Tls | Reason::Timeout | Reason::Reset => at_endpoint(error),
        _ => no_token(&error.cause),
    }
}

/// The token of a response to a request that was sent at `sent`.
fn read_token(response: Response, sent: Instant) -> Result<Token, Failure> {
    let body = response.body.map_err(connection_error)?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    let code = answer.get("error").and_then(Value::as_str);
    let code = ERROR_CODES.into_iter().find(|known| code == Some(known));
    if !(200..300).contains(&response.status) {
        let reason = match response.status {
            429 => Reason::RateLimited,
            500.. => Reason::ServerError,
            _ => Reason::Unauthorized,
        };
        let cause = format!("HTTP {}{}", response.status, code.map(|code| format!(", {code}")).unwrap_or_default());
        // With these the server knows the client, and the other style would only hide the error.
        let knows_client = matches!(code, Some("invalid_scope" | "unsupported_grant_type"));
        let wait = response.retry_after.unwrap_or_default().clamp(RETRY_AFTER, MAX_RETRY_AFTER);
        let is_refusal = matches!(response.status, 400 | 401) && !knows_client;
        return Err(Failure { error: at_endpoint(SendError::new(reason, cause)), wait, is_refusal });
    }
    let Some(text) = answer.get("access_token").and_then(Value::as_str) else {
        return Err(no_token(code.unwrap_or("the answer has no access_token")).into());
    };
    let text = Secret::new(text).map_err(|_| no_token("the access_token cannot be sent in a header"))?;
    let validity = answer.get("expires_in").and_then(validity);
    let valid_until = validity.and_then(|validity| sent.checked_add(validity));
    Ok(Token { text, valid_until, refused: Refused::default() })
}

/// How long a token is used. One that expires within seconds is used for half of them: it would be fetched for each request.
fn validity(expires_in: &Value) -> Option<Duration> {
    // Some servers write the number as a text.
    let seconds = expires_in.as_f64().or_else(|| expires_in.as_str()?.trim().parse().ok())?;
    let expires_in = Duration::try_from_secs_f64(seconds).ok().filter(|expires_in| !expires_in.is_zero())?;
    Some(expires_in.saturating_sub(EXPIRY_MARGIN).max(expires_in / 2))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn response(status: u16, body: &str) -> Response {
        let body = Ok(body.as_bytes().to_vec());
        Response { status, retry_after: None, date: None, etag: None, header: None, size: 0, body }
    }

    #[test]
    fn a_token_is_used_until_shortly_before_it_expires() {
        for (expires_in, seconds) in [
            (json!(3600), Some(3590.0)),
            (json!("3600"), Some(3590.0)),
            (json!(20), Some(10.0)),
            (json!(12), Some(6.0)),
            (json!(4), Some(2.0)),
            (json!(0), None),
            (json!(-5), None),
            (json!(1e300), None),
            (json!("soon"), None),
            (Value::Null, None),
        ] {
            assert_eq!(validity(&expires_in).map(|used| used.as_secs_f64()), seconds, "{expires_in}");
        }
    }

    #[test]
    fn what_is_wrong_at_the_endpoint_is_told_without_its_words() {
        let read = |status, body: &str| read_token(response(status, body), clock::instant());
        for (status, body, message, is_refusal) in [
            (401, r#"{"error":"invalid_client"}"#, "unauthorized: token endpoint: HTTP 401, invalid_client", true),
            (400, r#"{"error":"S3CRET"}"#, "unauthorized: token endpoint: HTTP 400", true),
            (400, r#"{"error":"invalid_scope"}"#, "unauthorized: token endpoint: HTTP 400, invalid_scope", false),
            (404, "S3CRET", "unauthorized: token endpoint: HTTP 404", false),
            (302, "", "unauthorized: token endpoint: HTTP 302", false),
            (429, "", "rate_limited: token endpoint: HTTP 429", false),
            (503, "", "server_error: token endpoint: HTTP 503", false),
            (200, "S3CRET", "unauthorized: token endpoint: the answer has no access_token", false),
            (200, r#"{"access_token":7}"#, "unauthorized: token endpoint: the answer has no access_token", false),
            (200, r#"{"error":"invalid_grant"}"#, "unauthorized: token endpoint: invalid_grant", false),
            (
                200,
                "{\"access_token\":\"S3CRET\\nx\"}",
                "unauthorized: token endpoint: the access_token cannot be sent in a header",
                false,
            ),
        ] {
            let Err(failure) = read(status, body) else { panic!("{status} {body}") };
            assert_eq!((failure.error.to_string().as_str(), failure.is_refusal), (message, is_refusal), "{body}");
            assert!(!failure.error.reason.is_about_one_task());
        }
        for (reason, expected) in [(Reason::Reset, Reason::Reset), (Reason::BodyTooLarge, Reason::Unauthorized)] {
            let body = Err(SendError::new(reason, "x"));
            let failure = read_token(Response { body, ..response(200, "") }, clock::instant()).err().unwrap();
            assert_eq!(failure.error, SendError::new(expected, "token endpoint: x"));
        }
        let token = read(201, r#"{"access_token":"t","token_type":"bearer"}"#).ok().unwrap();
        assert_eq!((token.text.expose(), token.valid_until), ("t", None));
    }

    #[test]
    fn retry_after_is_obeyed_within_limits() {
        for (asked, seconds) in [(None, 5), (Some(1), 5), (Some(60), 60), (Some(86_400), 300)] {
            let retry_after = asked.map(Duration::from_secs);
            let refused = read_token(Response { retry_after, ..response(429, "") }, clock::instant());
            assert_eq!(refused.err().unwrap().wait.as_secs(), seconds, "{asked:?}");
        }
    }
}
