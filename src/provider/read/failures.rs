//! Why a task failed: each provider's codes and, where it has none, texts, as one readable table a provider.

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

/// The class by `table`; `None` when no line fits.
pub fn class(table: Failures, code: Option<&str>, message: Option<&str>) -> Option<FailureClass> {
    if code.is_none() && message.is_none() {
        return None;
    }
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
