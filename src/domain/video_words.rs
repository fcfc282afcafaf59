//! Words of an answer about a video, in closed forms: each value of a label costs a series.

/// Service tiers that are exported under their own name.
const SERVICE_TIERS: [&str; 12] = [
    "auto",
    "batch",
    "default",
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
}
