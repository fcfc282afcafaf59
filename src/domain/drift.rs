//! Schema drift: fields of an answer that are not as its provider documents them. The other fields are still used.

use crate::domain::enum_words::enum_words;

enum_words! {
    /// The fields of an answer, by the names that `decode` prints.
    Field {
        /// The id in the body.
        TaskId = "task_id",
        /// The status word.
        Status = "status",
        /// The status word of the provider behind a gateway, or its body.
        UpstreamStatus = "upstream_status",
        /// Progress.
        Progress = "progress",
        /// Submit time.
        Submit = "submit",
        /// Start time.
        Start = "start",
        /// Finish time.
        Finish = "finish",
        /// The model that ran.
        ModelUpstream = "model_upstream",
        /// The model that was requested.
        ModelOrigin = "model_origin",
        /// Length of the video.
        Duration = "duration",
        /// Size of the video.
        Resolution = "resolution",
        /// Tokens of the prompt.
        TokensPrompt = "tokens_prompt",
        /// Tokens of the result.
        TokensCompletion = "tokens_completion",
        /// All tokens.
        TokensTotal = "tokens_total",
        /// The upstream's own units.
        Credits = "credits",
        /// Error code.
        ErrorCode = "error_code",
        /// Error message.
        ErrorMessage = "error_message",
        /// URL of the result.
        ResultUrl = "result_url",
        /// When the result expires.
        ExpiresAt = "expires_at",
        /// When the provider gives up the task.
        Deadline = "deadline",
        /// Service tier.
        ServiceTier = "service_tier",
        /// What the task cost.
        Cost = "cost",
    }
}

enum_words! {
    /// A problem with a field.
    FieldProblem {
        /// The field is documented, but absent or null.
        Missing = "missing",
        /// Its type is not the documented one.
        WrongType = "wrong_type",
        /// Its type is right, but its value is not valid.
        Unreadable = "unreadable",
    }
}

/// A set of field problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drift(u128);

impl Drift {
    /// No problem.
    pub const NONE: Self = Self(0);

    /// Adds a problem.
    pub const fn add(&mut self, field: Field, problem: FieldProblem) {
        self.0 |= 1 << Self::bit(field, problem);
    }

    /// The problems of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The problems of fields that are present.
    #[must_use]
    pub fn without_missing(self) -> Self {
        let mut rest = Self::NONE;
        let present = self.iter().filter(|(_, problem)| *problem != FieldProblem::Missing);
        present.for_each(|(field, problem)| rest.add(field, problem));
        rest
    }

    /// Whether there is no problem.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Every problem in it.
    pub fn iter(self) -> impl Iterator<Item = (Field, FieldProblem)> {
        let all = Field::ALL.iter().flat_map(|field| FieldProblem::ALL.iter().map(|problem| (*field, *problem)));
        all.filter(move |(field, problem)| self.0 & (1 << Self::bit(*field, *problem)) != 0)
    }

    const fn bit(field: Field, problem: FieldProblem) -> usize {
        field as usize * FieldProblem::ALL.len() + problem as usize
    }
}

const _: () = assert!(Field::ALL.len() * FieldProblem::ALL.len() <= 128, "every problem has a bit");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_its_own_bit() {
        let mut drift = Drift::NONE;
        let mut added = Vec::new();
        for field in Field::ALL {
            for problem in FieldProblem::ALL {
                drift.add(*field, *problem);
                added.push((*field, *problem));
                assert_eq!(drift.iter().collect::<Vec<_>>(), added);
            }
        }
        assert!(Drift::NONE.is_none() && Drift::NONE.union(drift) == drift && !drift.is_none());
    }
}
