//! Classifies failed tasks by a table of each provider's codes and messages.

use crate::domain::FailureClass;

/// The condition of a table's row; case is ignored.
#[derive(Debug, Clone, Copy)]
pub enum FailurePattern {
    /// The code is this.
    Code(&'static str),
    /// The code contains this.
    CodeContains(&'static str),
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
        FailurePattern::MessageStart(start) => {
            message.as_deref().is_some_and(|text| text.starts_with(&*start.to_lowercase()))
        }
        FailurePattern::MessageContains(part) => {
            message.as_deref().is_some_and(|text| text.contains(&*part.to_lowercase()))
        }
    };
    table.iter().find(|(pattern, _)| matches(pattern)).map(|(_, class)| *class)
}
