//! Checks the headers that the configuration adds to requests.

use std::borrow::Cow;

use crate::domain::labels::is_secret_like;
use crate::http::KeyHeader;

/// An invalid part of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// Its key below `request:`: `path`, `body` or `headers`.
    pub key: &'static str,
    /// What is wrong, and what to do.
    pub message: String,
}

/// The placeholder of the key in a header's value.
const CREDENTIALS: &str = "{credentials}";

/// Parts of the names of headers and parameters that contain secrets.
const SECRET_NAMES: [&str; 9] = ["auth", "key", "token", "secret", "pass", "cookie", "sign", "session", "credential"];

/// Headers of the connection: another value would break it, or send the request to another host.
const CONNECTION_HEADERS: [&str; 12] = [
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Checked headers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers {
    /// Headers that are sent as they are.
    pub plain: Vec<(String, String)>,
    /// The header with the key.
    pub key: Option<KeyHeader>,
}

/// Whether the name of a header or parameter means that it contains a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

impl Headers {
    /// Checks headers.
    ///
    /// # Errors
    /// For the first invalid header. The message does not contain its value.
    pub fn new(given: &[(String, String)]) -> Result<Self, TemplateError> {
        let invalid = |message: &str| Err(TemplateError { key: "headers", message: message.to_owned() });
        let mut headers = Self::default();
        for (n, (name, value)) in given.iter().enumerate() {
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if !is_name || !value.bytes().all(|b| (b' '..=b'~').contains(&b)) {
                return invalid(
                    "a header name must consist of letters, digits, `-`, `_` and `.`, and its value of printable ASCII",
                );
            }
            if given[..n].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
                return invalid("two headers have the same name; remove one");
            }
            if CONNECTION_HEADERS.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
                return invalid("a header of the connection, such as Host or Content-Length, cannot be set; remove it");
            }
            match value.split_once(CREDENTIALS) {
                Some((before, after)) if headers.key.is_none() && !after.contains(CREDENTIALS) => {
                    let owned = |text: &str| Cow::Owned(text.to_owned());
                    headers.key = Some(KeyHeader { name: owned(name), prefix: owned(before), suffix: owned(after) });
                }
                Some(_) => return invalid("{credentials} may appear only once, in one header"),
                None if is_secret_name(name) || is_secret_like(value) => {
                    return invalid(
                        "a header must not contain a key; configure authorization and write {credentials} in its place",
                    );
                }
                None => headers.plain.push((name.to_owned(), value.to_owned())),
            }
        }
        Ok(headers)
    }

    /// Adds headers that are not configured.
    pub fn with_defaults(mut self, defaults: &[(&str, &str)]) -> Self {
        for (name, value) in defaults {
            if !self.plain.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                self.plain.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &[(&str, &str)]) -> Result<Headers, String> {
        let given: Vec<_> = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Headers::new(&given).map_err(|error| error.message)
    }

    #[test]
    fn one_header_has_the_key_and_unsafe_headers_are_rejected() {
        let headers = check(&[("X-Region", "eu"), ("X-Api-Key", "Key {credentials}!")]).unwrap();
        assert_eq!(headers.plain, [("X-Region".to_owned(), "eu".to_owned())]);
        let key = headers.key.unwrap();
        assert_eq!((&*key.name, &*key.prefix, &*key.suffix), ("X-Api-Key", "Key ", "!"));
        for bad in [
            &[("X-Api-Key", "S3CRET")] as &[_],
            &[("X-Password", "S3CRET")],
            &[("X-Anything", "sk-S3CRET7890abcdefghij")],
            &[("bad name", "x")],
            &[("X", "a\nb")],
            &[("X", "{credentials}{credentials}")],
            &[("X", "{credentials}"), ("Y", "{credentials}")],
            &[("X", "{credentials}"), ("x", "y")],
            &[("content-length", "3")],
            &[("Host", "elsewhere")],
        ] {
            let error = check(bad).unwrap_err();
            assert!(!error.contains("S3CRET"), "{error}");
        }
    }
}
