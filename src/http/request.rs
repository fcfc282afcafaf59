//! A request as data.

use std::borrow::Cow;
use std::fmt;

/// What to ask; where and with which key is the client's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// GET, or a POST that reads.
    pub method: Method,
    /// Path segments, each one escaped as a whole: an id such as `../keys?all=1` stays one segment.
    pub segments: Vec<String>,
    /// Names and values of the query, escaped.
    pub query: Vec<(String, String)>,
    /// Headers beside the key's.
    pub headers: Vec<(String, String)>,
    /// A JSON body.
    pub body: Option<String>,
    /// Where the key goes.
    pub key: KeyHeader,
}

/// The two methods that read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// Nearly always.
    #[default]
    Get,
    /// Where the name of what is read stands in the body.
    Post,
}

impl Method {
    /// As it is sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// The header that carries the key, and what stands around the key in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHeader {
    /// Its name.
    pub name: Cow<'static, str>,
    /// What stands before the key.
    pub before: Cow<'static, str>,
    /// What stands after it.
    pub after: Cow<'static, str>,
}

impl KeyHeader {
    /// `Authorization: Bearer KEY` (RFC 6750).
    pub const BEARER: Self =
        Self { name: Cow::Borrowed("Authorization"), before: Cow::Borrowed("Bearer "), after: Cow::Borrowed("") };

    /// The key alone in a header of this name.
    pub const fn alone(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), before: Cow::Borrowed(""), after: Cow::Borrowed("") }
    }
}

impl Request {
    /// A GET of these segments below the base URL, with a bearer key.
    pub fn get<'a>(segments: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            method: Method::Get,
            segments: segments.into_iter().map(str::to_owned).collect(),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            key: KeyHeader::BEARER,
        }
    }
}

impl fmt::Display for KeyHeader {
    /// As a person may see it: without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}<redacted>{}", self.name, self.before, self.after)
    }
}
