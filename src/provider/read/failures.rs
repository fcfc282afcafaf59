//! Classifies failed tasks by a table of each provider's codes and messages.

use crate::domain::{Answer, FailureClass};

/// The condition of a table's row; case is ignored.
#[derive(Debug, Clone, Copy)]
pub enum FailurePattern {
    /// The code is this.
    Code(&'static str),
    /// The code contains this.
    CodeContains(&'static str),
    /// The code begins with this.
    CodeStart(&'static str),
    /// The code begins with this, and has so many digits.
    CodeDigits(&'static str, usize),
    /// The message begins with this.
    MessageStart(&'static str),
    /// The message contains this.
    MessageContains(&'static str),
}

/// A provider's table; the first matching row decides.
pub type FailureTable = &'static [(FailurePattern, FailureClass)];

/// The class of a failure; `None` when no row matches.
pub fn classify(table: FailureTable, code: Option<&str>, message: Option<&str>) -> Option<FailureClass> {
    if code.is_none() && message.is_none() {
        return None;
    }
    let code = code.map(str::to_lowercase);
    let message = message.map(str::to_lowercase);
    let matches = |pattern: &FailurePattern| match pattern {
        FailurePattern::Code(code_text) => code.as_deref() == Some(&*code_text.to_lowercase()),
        FailurePattern::CodeContains(part) => code.as_deref().is_some_and(|code| code.contains(&*part.to_lowercase())),
        FailurePattern::CodeDigits(start, digits) => code.as_deref().is_some_and(|code| {
            code.starts_with(start) && code.len() == *digits && code.bytes().all(|byte| byte.is_ascii_digit())
        }),
        FailurePattern::CodeStart(start) => {
            code.as_deref().is_some_and(|code| code.starts_with(&*start.to_lowercase()))
        }
        FailurePattern::MessageStart(start) => {
            message.as_deref().is_some_and(|text| text.starts_with(&*start.to_lowercase()))
        }
        FailurePattern::MessageContains(part) => {
            message.as_deref().is_some_and(|text| text.contains(&*part.to_lowercase()))
        }
    };
    table.iter().find(|(pattern, _)| matches(pattern)).map(|(_, class)| *class)
}

/// Error code of the exporter for an end without the result that the API promises, and without an error (docs/upstreams.md 1.6).
pub const EMPTY_RESPONSE: &str = "empty_response";

/// Code of the exporter for an end whose videos were filtered.
pub const FILTERED: &str = "rai_filtered";

/// Code of the exporter for a video that was made, and withheld by moderation.
pub const WITHHELD: &str = "respect_moderation";

/// Whether a code of the exporter means an end without a result: a gateway may take it for a success.
pub fn is_without_result(code: Option<&str>) -> bool {
    code.is_some_and(|code| [EMPTY_RESPONSE, FILTERED, WITHHELD].contains(&code))
}

/// Texts of refusals, for providers without a code for them (docs/upstreams.md 1.6).
pub const REFUSAL_TEXTS: FailureTable = &[
    (FailurePattern::MessageContains("content policy"), FailureClass::ContentPolicy),
    (FailurePattern::MessageContains("content_policy"), FailureClass::ContentPolicy),
    (FailurePattern::MessageContains("moderation"), FailureClass::ContentPolicy),
    (FailurePattern::MessageContains("moderated"), FailureClass::ContentPolicy),
    (FailurePattern::MessageContains("safety"), FailureClass::ContentPolicy),
    (FailurePattern::MessageContains("harmful"), FailureClass::ContentPolicy),
    (FailurePattern::MessageContains("sensitive"), FailureClass::ContentPolicy),
    (FailurePattern::MessageContains("flagged"), FailureClass::ContentPolicy),
    (FailurePattern::MessageContains("risk not pass"), FailureClass::ContentPolicy),
    (FailurePattern::MessageContains("prohibited"), FailureClass::ContentPolicy),
    (FailurePattern::MessageContains("real person"), FailureClass::ContentPolicy),
];

/// Texts of other failures, which are looked at after those.
pub const OTHER_TEXTS: FailureTable = &[
    (FailurePattern::MessageContains("insufficient"), FailureClass::Quota),
    (FailurePattern::MessageContains("balance"), FailureClass::Quota),
    (FailurePattern::MessageContains("credits"), FailureClass::Quota),
    (FailurePattern::MessageContains("quota"), FailureClass::Quota),
    (FailurePattern::MessageContains("rate limit"), FailureClass::RateLimit),
    (FailurePattern::MessageContains("too many"), FailureClass::RateLimit),
    (FailurePattern::MessageContains("timed out"), FailureClass::Timeout),
    (FailurePattern::MessageContains("timeout"), FailureClass::Timeout),
    (FailurePattern::MessageContains("took too long"), FailureClass::Timeout),
    (FailurePattern::MessageContains("invalid"), FailureClass::InvalidInput),
    (FailurePattern::MessageContains("unsupported"), FailureClass::InvalidInput),
    (FailurePattern::MessageContains("must be"), FailureClass::InvalidInput),
    (FailurePattern::MessageContains("must lie"), FailureClass::InvalidInput),
    (FailurePattern::MessageContains("too long"), FailureClass::InvalidInput),
    (FailurePattern::MessageContains("too small"), FailureClass::InvalidInput),
    (FailurePattern::MessageContains("pixel"), FailureClass::InvalidInput),
    (FailurePattern::MessageContains("internal"), FailureClass::ProviderError),
    (FailurePattern::MessageContains("provider"), FailureClass::ProviderError),
    (FailurePattern::MessageContains("upstream"), FailureClass::ProviderError),
    (FailurePattern::MessageContains("out of memory"), FailureClass::ProviderError),
    (FailurePattern::MessageContains("unavailable"), FailureClass::ProviderError),
];

/// The class of an answer's failure by several tables, the first of which has priority.
pub fn classify_answer(tables: &[FailureTable], answer: &Answer) -> Option<FailureClass> {
    let (code, message) = (answer.error_code.as_deref(), answer.error_message.as_deref());
    tables.iter().find_map(|table| classify(table, code, message))
}
