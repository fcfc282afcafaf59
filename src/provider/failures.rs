//! Why a task failed: each provider's codes and, where it has none, texts, as one readable table a provider.

use super::{ark, dashscope, gateway, minimax_hailuo, openai_videos};
use crate::domain::FailureClass;

/// What one line of a table looks at; compared without regard to case.
#[derive(Debug, Clone, Copy)]
pub enum Sign {
    /// The whole code.
    Code(&'static str),
    /// A part of the code.
    CodeHas(&'static str),
    /// How the message begins: for failures that have no code.
    Text(&'static str),
    /// A part of the message.
    TextHas(&'static str),
}

/// A provider's table; the first line that fits decides.
pub type Failures = &'static [(Sign, FailureClass)];

/// The class of a failure that a gateway hands on with the code of whichever vendor stands behind it.
pub fn class_of_any(code: Option<&str>, message: Option<&str>) -> Option<FailureClass> {
    let tables = [
        // First, because it knows the failures that are the gateway's own, whatever code it found on the way.
        gateway::FAILURES,
        ark::FAILURES,
        dashscope::FAILURES,
        minimax_hailuo::FAILURES,
        openai_videos::FAILURES,
    ];
    tables.into_iter().find_map(|table| class(table, code, message))
}

/// The class by `table`; `None` when no line fits.
pub fn class(table: Failures, code: Option<&str>, message: Option<&str>) -> Option<FailureClass> {
    let code = code.map(str::to_lowercase);
    let message = message.map(str::to_lowercase);
    let fits = |sign: &Sign| match sign {
        Sign::Code(whole) => code.as_deref() == Some(&*whole.to_lowercase()),
        Sign::CodeHas(part) => code.as_deref().is_some_and(|code| code.contains(&*part.to_lowercase())),
        Sign::Text(start) => message.as_deref().is_some_and(|text| text.starts_with(&*start.to_lowercase())),
        Sign::TextHas(part) => message.as_deref().is_some_and(|text| text.contains(&*part.to_lowercase())),
    };
    table.iter().find(|(sign, _)| fits(sign)).map(|(_, class)| *class)
}
