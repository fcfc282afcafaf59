//! Words of an answer about a video, in closed forms: each value of a label costs a series.

use crate::domain::enum_words::enum_words;

/// Service tiers that are exported under their own name.
const SERVICE_TIERS: [&str; 13] = [
    "auto",
    "batch",
    "default",
    "deferred",
    "economy",
    "flex",
    "free",
    "offline",
    "on_demand",
    "online",
    "priority",
    "scale",
    "standard",
];

/// Resolutions without a number.
const RESOLUTIONS: [&str; 8] = ["fhd", "fullhd", "hd", "high", "qhd", "sd", "standard", "uhd"];

/// Any other value.
const OTHER: &str = "other";

/// A resolution as it is exported: `720p`, `1280x720` (also with `*`), `2K` or a word; anything else is `other`. `None` for a
/// blank text.
pub fn resolution(text: &str) -> Option<&str> {
    let text = text.trim();
    let is_number = |text: &str| matches!(text.len(), 1..=5) && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_size = || {
        let sides = text.split_once(['x', 'X', '*', '×']);
        sides.is_some_and(|(width, height)| is_number(width) && is_number(height))
    };
    let is_known = is_number(text.strip_suffix(['p', 'P', 'k', 'K']).unwrap_or(text))
        || is_size()
        || RESOLUTIONS.iter().any(|word| text.eq_ignore_ascii_case(word));
    (!text.is_empty()).then_some(if is_known { text } else { OTHER })
}

/// A service tier as it is exported; one that is not known is `other`. `None` for a blank text.
pub fn service_tier(text: &str) -> Option<&'static str> {
    let text = text.trim();
    let known = SERVICE_TIERS.into_iter().find(|word| text.eq_ignore_ascii_case(word));
    (!text.is_empty()).then_some(known.unwrap_or(OTHER))
}

enum_words! {
    /// The classes of resolution that counters have.
    ResolutionClass {
        /// 480 lines.
        P480 = "480p",
        /// 540 lines.
        P540 = "540p",
        /// 720 lines.
        P720 = "720p",
        /// 1080 lines.
        P1080 = "1080p",
        /// 1440 lines, also written 2K.
        P1440 = "1440p",
        /// 2160 lines, also written 4K.
        P2160 = "2160p",
        /// Some other size.
        Other = "other",
        /// The upstream does not say.
        Unknown = "unknown",
    }
}

impl ResolutionClass {
    /// Parses `720p`, `1280x720`, `1280*720`, `2K`, `4K`.
    pub fn from_text(text: Option<&str>) -> Self {
        let Some(text) = text.map(|t| t.trim().to_ascii_lowercase()).filter(|t| !t.is_empty()) else {
            return Self::Unknown;
        };
        let lines = match text.split_once(['x', '*', '×']) {
            Some((width, height)) => match (width.trim().parse::<u32>(), height.trim().parse::<u32>()) {
                (Ok(width), Ok(height)) => Some(width.min(height)),
                _ => None,
            },
            None => match text.as_str() {
                "2k" => Some(1440),
                "4k" | "uhd" => Some(2160),
                _ => text.trim_end_matches('p').parse().ok(),
            },
        };
        match lines {
            Some(480) => Self::P480,
            Some(540) => Self::P540,
            Some(720) => Self::P720,
            Some(1080) => Self::P1080,
            Some(1440) => Self::P1440,
            Some(2160) => Self::P2160,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_closed_forms_are_exported() {
        for text in ["720p", "1080P", "720", "2K", "4k", "1280x720", "1280*720", "720×1280", "1366x768", "HD"] {
            assert_eq!(resolution(&format!(" {text} ")), Some(text));
        }
        for text in ["a cat", "16:9", "p", "123456p", "1x2x3", "1280x", "-1x5", "7２0p", "720pp"] {
            assert_eq!(resolution(text), Some("other"), "{text}");
        }
        assert_eq!(
            [service_tier("Default"), service_tier("flex"), service_tier("a cat")].map(Option::unwrap),
            ["default", "flex", "other"]
        );
        assert_eq!((resolution(" "), service_tier("")), (None, None));
    }

    #[test]
    fn resolutions_have_a_class() {
        for (text, class) in [
            (Some("720p"), ResolutionClass::P720),
            (Some("1280x720"), ResolutionClass::P720),
            (Some("720*1280"), ResolutionClass::P720),
            (Some("2K"), ResolutionClass::P1440),
            (Some("4K"), ResolutionClass::P2160),
            (Some("1366x768"), ResolutionClass::Other),
            (Some("huge"), ResolutionClass::Other),
            (Some(" "), ResolutionClass::Unknown),
            (None, ResolutionClass::Unknown),
        ] {
            assert_eq!(ResolutionClass::from_text(text), class, "{text:?}");
        }
    }
}
