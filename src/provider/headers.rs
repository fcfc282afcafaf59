//! Headers that the configuration adds to requests: which are fine, and which of them carries the key.

use std::borrow::Cow;

use crate::domain::labels::looks_secret;
use crate::http::KeyHeader;

/// Why a part of a request cannot be used: the key below `request:`, where there is one, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// `path`, `body` or `headers`.
    pub key: &'static str,
    /// In words.
    pub message: String,
}

/// What stands for the key in a header's value.
const CREDENTIALS: &str = "{credentials}";

/// Parts of names that nobody gives to what is no secret.
const SECRET_NAMES: [&str; 9] = ["auth", "key", "token", "secret", "pass", "cookie", "sign", "session", "credential"];

/// Headers that are the connection's business: another value of theirs would break it, or lead it elsewhere.
const FRAMING: [&str; 12] = [
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
    /// Those that are sent as they are.
    pub plain: Vec<(String, String)>,
    /// The one that carries the key.
    pub key: Option<KeyHeader>,
}

/// True for a name, of a header or a parameter, that nobody uses without a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

impl Headers {
    /// Checks all of them.
    ///
    /// # Errors
    /// With the first that will not do; its value is not repeated.
    pub fn new(given: &[(String, String)]) -> Result<Self, TemplateError> {
        let wrong = |message: &str| Err(TemplateError { key: "headers", message: message.to_owned() });
        let mut headers = Self::default();
        for (n, (name, value)) in given.iter().enumerate() {
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if !is_name || !value.bytes().all(|b| (b' '..=b'~').contains(&b)) {
                return wrong("a header has a name of letters, digits and -, and a printable value");
            }
            if given[..n].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
                return wrong("two headers have one name");
            }
            if FRAMING.iter().any(|framing| name.eq_ignore_ascii_case(framing)) {
                return wrong("one of these headers is the connection's own business and cannot be set");
            }
            match value.split_once(CREDENTIALS) {
                Some((before, after)) if headers.key.is_none() && !after.contains(CREDENTIALS) => {
                    let owned = |text: &str| Cow::Owned(text.to_owned());
                    headers.key = Some(KeyHeader { name: owned(name), before: owned(before), after: owned(after) });
                }
                Some(_) => return wrong("{credentials} stands in one header, and in that once"),
                None if is_secret_name(name) || looks_secret(value) => {
                    return wrong(
                        "a header that carries a key takes it from authorization, by {credentials}; no key is written here",
                    );
                }
                None => headers.plain.push((name.to_owned(), value.to_owned())),
            }
        }
        Ok(headers)
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
    fn one_header_carries_the_key_and_none_is_a_secret_or_a_trap() {
        let fine = check(&[("X-Region", "eu"), ("X-Api-Key", "Key {credentials}!")]).unwrap();
        assert_eq!(fine.plain, [("X-Region".to_owned(), "eu".to_owned())]);
        let key = fine.key.unwrap();
        assert_eq!((&*key.name, &*key.before, &*key.after), ("X-Api-Key", "Key ", "!"));
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
            let told = check(bad).unwrap_err();
            assert!(!told.contains("S3CRET"), "{told}");
        }
    }
}
