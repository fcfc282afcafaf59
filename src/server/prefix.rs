//! `--web.route-prefix`: every path is below a prefix, as a proxy passes it on.

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Redirect, Response};
use tower_service::Service as _;

use super::error::HttpError;

/// Serves `inner` below the prefix, which begins with a slash and does not end with one; its links are below another one.
pub fn below((prefix, link): (String, String), inner: Router) -> Router {
    Router::new().fallback(move |mut request: Request| {
        let (prefix, link, mut inner) = (prefix.clone(), link.clone(), inner.clone());
        async move {
            match strip(request.uri(), &prefix) {
                Stripped::Uri(uri) => {
                    *request.uri_mut() = uri;
                    let Ok(response) = inner.call(request).await;
                    response
                }
                Stripped::Start => Redirect::to(&format!("{link}/")).into_response(),
                Stripped::Other => outside(&prefix),
            }
        }
    })
}

enum Stripped {
    /// It is below the prefix.
    Uri(Uri),
    /// It is what people type: the prefix without its slash, or nothing.
    Start,
    Other,
}

fn outside(prefix: &str) -> Response {
    let message = format!("unknown path; every path begins with {prefix} (--web.route-prefix)");
    HttpError::new(StatusCode::NOT_FOUND, message).into_response()
}

fn strip(uri: &Uri, prefix: &str) -> Stripped {
    let Some(path_and_query) = uri.path_and_query() else { return Stripped::Other };
    if matches!(path_and_query.path(), "" | "/") || path_and_query.path() == prefix {
        return Stripped::Start;
    }
    let rest = path_and_query.as_str().strip_prefix(prefix).filter(|rest| rest.starts_with('/'));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = rest.and_then(|rest| rest.parse().ok());
    if parts.path_and_query.is_none() {
        return Stripped::Other;
    }
    Uri::from_parts(parts).map_or(Stripped::Other, Stripped::Uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_the_prefix_is_served() {
        for (uri, expected) in [
            ("/video/gen/metrics", Some("/metrics")),
            ("/video/gen/", Some("/")),
            ("/video/gen/?a=/video/gen/", Some("/?a=/video/gen/")),
            ("https://x.example/video/gen/config", Some("https://x.example/config")),
            ("/video/gen", Some("start")),
            ("/", Some("start")),
            ("/video/generator", None),
            ("/metrics", None),
        ] {
            let stripped = match strip(&uri.parse().unwrap(), "/video/gen") {
                Stripped::Uri(uri) => Some(uri.to_string()),
                Stripped::Start => Some("start".to_owned()),
                Stripped::Other => None,
            };
            assert_eq!(stripped.as_deref(), expected, "{uri}");
        }
    }
}
