//! A request as data.

use std::borrow::Cow;
use std::fmt;

use super::signature::Signature;

/// A request; the client adds the base URL and the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path segments. Each is escaped, so an id such as `../keys?all=1` stays one segment.
    pub segments: Vec<String>,
    /// Names and values of the query; the client escapes them.
    pub query: Vec<(String, String)>,
    /// Headers, without that of the key.
    pub headers: Vec<(String, String)>,
    /// A JSON body.
    pub body: Option<String>,
    /// Names and values of a form, which is the body of a POST unless it is empty; the client encodes them.
    pub form: Vec<(String, String)>,
    /// The header of the key.
    pub key: KeyHeader,
    /// The service that the request is signed for; then there is no header of the key.
    pub signature: Option<Signature>,
    /// The response may be compressed.
    pub accepts_gzip: bool,
    /// A header of the response that is wanted.
    pub wanted_header: Option<&'static str>,
}

/// Methods of requests that only read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// GET.
    #[default]
    Get,
    /// POST, for APIs that take the task id in the body.
    Post,
}

impl Method {
    /// The name of the method.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// The header that carries the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHeader {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Text before the key.
    pub prefix: Cow<'static, str>,
    /// Text after the key.
    pub suffix: Cow<'static, str>,
}

impl KeyHeader {
    /// `Authorization: Bearer KEY` (RFC 6750).
    pub const BEARER: Self =
        Self { name: Cow::Borrowed("Authorization"), prefix: Cow::Borrowed("Bearer "), suffix: Cow::Borrowed("") };
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
            form: Vec::new(),
            key: KeyHeader::BEARER,
            signature: None,
            accepts_gzip: false,
            wanted_header: None,
        }
    }
}

impl fmt::Display for KeyHeader {
    /// The header without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}<redacted>{}", self.name, self.prefix, self.suffix)
    }
}
