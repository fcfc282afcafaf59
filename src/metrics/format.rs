//! Content negotiation by q-values: the format and compression of a page (RFC 9110, section 12.5).

/// An exposition format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Delimited `io.prometheus.client.MetricFamily` messages.
    Protobuf,
}

/// A compression of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// None.
    Identity,
    /// gzip (RFC 1952).
    Gzip,
}

impl Format {
    /// Every format, in order of preference.
    pub const ALL: [Self; 3] = [Self::Text, Self::OpenMetrics, Self::Protobuf];

    /// Its `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// Its label value in `videogen_exporter_exposition_bytes`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::OpenMetrics => "openmetrics",
            Self::Protobuf => "protobuf",
        }
    }

    /// The format that an `Accept` header prefers; text when it accepts none.
    pub fn from_accept(accept: &str) -> Self {
        let ranges: Vec<AcceptRange<'_>> = accept.split(',').map(AcceptRange::parse).collect();
        let matches = |format| ranges.iter().filter_map(move |range| Some((range.specificity(format)?, range.q)));
        most_preferred(&Self::ALL, matches).unwrap_or(Self::Text)
    }

    const fn media_type(self) -> (&'static str, &'static str) {
        match self {
            Self::Text => ("text", "plain"),
            Self::OpenMetrics => ("application", "openmetrics-text"),
            Self::Protobuf => ("application", "vnd.google.protobuf"),
        }
    }
}

impl Coding {
    /// Every coding, in order of preference.
    pub const ALL: [Self; 2] = [Self::Gzip, Self::Identity];

    /// Its token in `Content-Encoding`; `None` for no header.
    pub const fn token(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
        }
    }

    /// The coding that an `Accept-Encoding` header prefers; identity when it accepts none.
    pub fn from_accept(accept: &str) -> Self {
        let codings: Vec<AcceptRange<'_>> = accept.split(',').map(AcceptRange::parse).collect();
        let matches = |coding: Self| {
            let token = coding.token().unwrap_or("identity");
            let named = codings.iter().filter_map(move |range| match range.name {
                // The old name of gzip (RFC 9110, 8.4.1.3).
                name if coding == Self::Gzip && name.eq_ignore_ascii_case("x-gzip") => Some((2, range.q)),
                name if name.eq_ignore_ascii_case(token) => Some((2, range.q)),
                "*" => Some((1, range.q)),
                _ => None,
            });
            // Identity is acceptable unless the header excludes it.
            named.chain((coding == Self::Identity).then_some((0, 0.001)))
        };
        most_preferred(&Self::ALL, matches).unwrap_or(Self::Identity)
    }
}

/// The candidate with the highest q-value, or of equal ones the first. The most specific range of each candidate decides.
fn most_preferred<T: Copy, I: Iterator<Item = (u8, f32)>>(candidates: &[T], ranges: impl Fn(T) -> I) -> Option<T> {
    let mut found: Option<(T, f32)> = None;
    for candidate in candidates {
        let specific = ranges(*candidate).fold(None, |best: Option<(u8, f32)>, range| match best {
            Some(best) if best.0 > range.0 || (best.0 == range.0 && best.1 >= range.1) => Some(best),
            _ => Some(range),
        });
        let q = specific.map_or(0.0, |(_, q)| q);
        if q > 0.0 && found.is_none_or(|(_, best)| q > best) {
            found = Some((*candidate, q));
        }
    }
    found.map(|(candidate, _)| candidate)
}

/// One element of an `Accept` header: a name with parameters and a weight `q`.
struct AcceptRange<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    q: f32,
}

impl<'a> AcceptRange<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let pairs = parts.filter_map(|part| part.split_once('='));
        let pairs: Vec<_> = pairs.map(|(key, value)| (key.trim(), value.trim().trim_matches('"'))).collect();
        let q = pairs.iter().find(|(key, _)| key.eq_ignore_ascii_case("q"));
        // An invalid weight counts as 0.
        let q = q.map_or(1.0, |(_, q)| q.parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0));
        let parameters = pairs.into_iter().filter(|(key, _)| !key.eq_ignore_ascii_case("q")).collect();
        Self { name, parameters, q }
    }

    /// How specifically it matches a format; `None` when it does not match.
    fn specificity(&self, format: Format) -> Option<u8> {
        let (kind, subtype) = self.name.split_once('/')?;
        let (own_kind, own_subtype) = format.media_type();
        match (kind, subtype) {
            // A wildcard means text, which every tool can read.
            ("*", "*") => return (format == Format::Text).then_some(1),
            (kind, "*") => return (format == Format::Text && kind.eq_ignore_ascii_case(own_kind)).then_some(2),
            _ if !kind.eq_ignore_ascii_case(own_kind) || !subtype.eq_ignore_ascii_case(own_subtype) => return None,
            _ => {}
        }
        let is = |key: &str, expected: &[&str]| {
            let value = self.parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
            value.is_none_or(|(_, value)| expected.iter().any(|word| word.eq_ignore_ascii_case(value)))
        };
        let is_match = match format {
            Format::Text => is("version", &["0.0.4"]),
            Format::OpenMetrics => is("version", &["1.0.0", "0.0.1"]),
            Format::Protobuf => is("proto", &["io.prometheus.client.MetricFamily"]) && is("encoding", &["delimited"]),
        };
        is_match.then_some(3)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The `Accept` header of Prometheus 3.5, from its source and as captured.
    const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
        application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
        text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    const NATIVE: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,\
        application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

    #[test]
    fn the_preferred_format_is_used() {
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text),
            (PROMETHEUS, Format::OpenMetrics),
            (NATIVE, Format::Protobuf),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\" ; Q=0.9 , text/plain", Format::Text),
            ("application/openmetrics-text;version=2.0.0", Format::Text),
            ("application/openmetrics-text;q=0,text/plain;q=0.1", Format::Text),
            ("application/openmetrics-text;q=2", Format::Text),
            ("application/*", Format::Text),
            ("text/*;q=0.1,application/openmetrics-text;q=0.2", Format::OpenMetrics),
            ("text/plain;q=0,*/*", Format::Text),
            ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", Format::Text),
            ("application/json", Format::Text),
        ] {
            assert_eq!(Format::from_accept(accept), format, "{accept}");
        }
    }

    #[test]
    fn the_preferred_coding_is_used() {
        for (accept, coding) in [
            ("", Coding::Identity),
            ("gzip", Coding::Gzip),
            ("GZIP", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("zstd", Coding::Identity),
            ("gzip;q=0.5, zstd", Coding::Gzip),
            ("gzip;q=0", Coding::Identity),
            ("identity, gzip;q=0.5", Coding::Identity),
            ("*", Coding::Gzip),
            ("*;q=0.1, identity;q=0", Coding::Gzip),
            ("deflate, br", Coding::Identity),
            ("identity;q=0, br", Coding::Identity),
        ] {
            assert_eq!(Coding::from_accept(accept), coding, "{accept}");
        }
    }

    proptest! {
        #[test]
        fn any_header_gives_a_format_and_a_coding(accept in ".{0,200}") {
            let _ = (Format::from_accept(&accept), Coding::from_accept(&accept));
        }
    }
}
