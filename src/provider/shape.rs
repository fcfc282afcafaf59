//! The shapes that bodies come in, and finding out which one it is.

use super::body::Body;
use super::contract::Origin;
use super::error::{self, is_success_code};
use super::failures::class;
use super::json::{self, Zone};
use super::tree::Value;
use super::{ark, dashscope, kling, minimax_hailuo, openai_videos, veo};
use crate::domain::FailureClass;

/// The shape of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A gateway's, or whatever it looks like.
    Auto,
    /// Ark's task.
    Ark,
    /// `DashScope`'s answer.
    DashScope,
    /// A row of `DashScope`'s list.
    DashScopeRow,
    /// Kling's answer.
    Kling,
    /// The `data` of Kling's answer.
    KlingData,
    /// `MiniMax`'s answer, v1 or v2.
    MiniMax,
    /// The `task` of `MiniMax`'s v2 answer.
    MiniMaxTask,
    /// `OpenAI`'s video object.
    OpenAi,
    /// Google's long-running operation.
    Veo,
}

/// The words of `request.shape`.
pub const HINTS: &[(&str, Shape)] = &[
    ("auto", Shape::Auto),
    ("ark", Shape::Ark),
    ("dashscope", Shape::DashScope),
    ("kling", Shape::Kling),
    ("minimax_hailuo", Shape::MiniMax),
    ("openai_videos", Shape::OpenAi),
    ("veo", Shape::Veo),
];

impl Shape {
    /// Reads a vendor's body of this shape; `None` for [`Shape::Auto`] when it has no known one.
    pub fn read(self, value: &Value, zone: Zone, origin: Origin) -> Option<Body> {
        let read = match self {
            Self::Auto => return detect(value)?.read(value, zone, origin),
            Self::Ark => ark::read,
            Self::DashScope => dashscope::read,
            Self::DashScopeRow => dashscope::read_row,
            Self::Kling => kling::read,
            Self::KlingData => kling::read_data,
            Self::MiniMax => minimax_hailuo::read,
            Self::MiniMaxTask => minimax_hailuo::read_task,
            Self::OpenAi => openai_videos::read,
            Self::Veo => veo::read,
        };
        let mut body = read(value, zone, origin);
        if self == Self::OpenAi {
            // Gateways put every vendor's tasks into this shape, with that vendor's codes.
            let any = || class_of_any(body.error_code.as_deref(), body.error_message.as_deref());
            body.failure = body.failure.or_else(any);
        }
        Some(body)
    }
}

/// The class of a failure that a gateway hands on with the code of whichever vendor stands behind it.
pub fn class_of_any(code: Option<&str>, message: Option<&str>) -> Option<FailureClass> {
    let tables = [ark::FAILURES, dashscope::FAILURES, minimax_hailuo::FAILURES, openai_videos::FAILURES];
    tables.into_iter().find_map(|table| class(table, code, message))
}

/// Finds the shape of a vendor's body (docs/upstreams.md 2.4); `None` when it has no known one.
fn detect(value: &Value) -> Option<Shape> {
    let has = |at: &str| json::at(value, at).is_some();
    if has("output.task_status") {
        Some(Shape::DashScope)
    } else if has("data.task_status") {
        Some(Shape::Kling)
    } else if has("task.status") || has("base_resp") {
        Some(Shape::MiniMax)
    } else if openai_videos::is_video(value) {
        Some(Shape::OpenAi)
    } else if veo::is_operation(value) {
        Some(Shape::Veo)
    } else if json::text(value, "status").is_some() {
        Some(Shape::Ark)
    } else {
        None
    }
}

/// What a body without any known shape and without a status says of an error.
pub fn only_error(value: &Value) -> Option<Body> {
    let found = error::error_body(value);
    let has_error = value.get("error").is_some_and(|error| !error.is_null())
        || found.code.as_deref().is_some_and(|code| !is_success_code(code));
    has_error.then(|| Body { error_code: found.code, error_message: found.message, ..Body::default() })
}
