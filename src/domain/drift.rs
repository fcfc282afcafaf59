//! Where an answer is not what its provider documents: noted, counted, and never a reason to lose the rest of it.

use crate::domain::enum_words::enum_words;

enum_words! {
    /// The fields of the normalised task that are read, by the names that `decode` prints.
    Field {
        /// The id in the body.
        TaskId = "task_id",
        /// The status word.
        Status = "status",
        /// The status word of the provider behind a gateway, or the body that holds it.
        UpstreamStatus = "upstream_status",
        /// Progress.
        Progress = "progress",
        /// When it was submitted.
        Submit = "submit",
        /// When work began.
        Start = "start",
        /// When it ended.
        Finish = "finish",
        /// The model that ran.
        ModelUpstream = "model_upstream",
        /// The model that was asked for.
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
        /// Code of what went wrong.
        ErrorCode = "error_code",
        /// Text of what went wrong.
        ErrorMessage = "error_message",
        /// Where the result is.
        ResultUrl = "result_url",
        /// When the result goes.
        ExpiresAt = "expires_at",
        /// When the task is given up by its provider.
        Deadline = "deadline",
        /// Service tier.
        ServiceTier = "service_tier",
    }
}

enum_words! {
    /// What is wrong with a field.
    FieldProblem {
        /// Documented to be there, and not there, or null.
        Missing = "missing",
        /// There, and not of the documented type.
        WrongType = "wrong_type",
        /// Of the documented type, and no value that makes sense.
        Unreadable = "unreadable",
    }
}

/// A set of problems with fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drift(u64);

impl Drift {
    /// Nothing is wrong.
    pub const NONE: Self = Self(0);

    /// Notes one.
    pub const fn note(&mut self, field: Field, problem: FieldProblem) {
        self.0 |= 1 << Self::place(field, problem);
    }

    /// The same and what is in `other`.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is there and not as documented, without what is not there.
    #[must_use]
    pub fn without_missing(self) -> Self {
        let mut rest = Self::NONE;
        let there = self.iter().filter(|(_, problem)| *problem != FieldProblem::Missing);
        there.for_each(|(field, problem)| rest.note(field, problem));
        rest
    }

    /// True when nothing is wrong.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Every problem in it.
    pub fn iter(self) -> impl Iterator<Item = (Field, FieldProblem)> {
        let all = Field::ALL.iter().flat_map(|field| FieldProblem::ALL.iter().map(|problem| (*field, *problem)));
        all.filter(move |(field, problem)| self.0 & (1 << Self::place(*field, *problem)) != 0)
    }

    const fn place(field: Field, problem: FieldProblem) -> usize {
        field as usize * FieldProblem::ALL.len() + problem as usize
    }
}

const _: () = assert!(Field::ALL.len() * FieldProblem::ALL.len() <= 64, "the set has room for every problem");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_kept_apart() {
        let mut drift = Drift::NONE;
        let mut noted = Vec::new();
        for field in Field::ALL {
            for problem in FieldProblem::ALL {
                drift.note(*field, *problem);
                noted.push((*field, *problem));
                assert_eq!(drift.iter().collect::<Vec<_>>(), noted);
            }
        }
        assert!(Drift::NONE.is_none() && Drift::NONE.and(drift) == drift && !drift.is_none());
    }
}
