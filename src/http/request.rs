//! A request as data.

use std::fmt;

/// What to ask; where and with which key is the client's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Path segments, each one escaped as a whole: an id such as `../keys?all=1` stays one segment.
    pub segments: Vec<String>,
}

impl Request {
    /// A GET of these segments below the base URL.
    pub fn get<'a>(segments: impl IntoIterator<Item = &'a str>) -> Self {
        Self { segments: segments.into_iter().map(str::to_owned).collect() }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GET /{}", self.segments.join("/"))
    }
}
