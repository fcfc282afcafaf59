//! The life of one simulated task, decided at its birth.

use std::time::Duration;

use crate::domain::Timestamp;

/// Which vendor's body stands inside the gateway's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// Ark (Seedance).
    Ark,
    /// `OpenAI` Videos (Sora), the only one with real progress.
    OpenAi,
    /// Kling.
    Kling,
    /// `DashScope` (`HappyHorse`).
    DashScope,
    /// `MiniMax` v1 (Hailuo).
    MiniMax,
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a video.
    Succeeded,
    /// With this code and message.
    Failed(&'static str, &'static str),
    /// Called off; old gateways go on saying that it runs.
    Cancelled,
    /// Expired inside; the gateway goes on saying that it runs.
    Expired,
    /// Swept by the gateway's own time-out.
    Swept,
    /// The gateway forgets it.
    Forgotten,
}

/// A model as it is asked for and as it runs.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// What callers ask for.
    pub origin: &'static str,
    /// What runs.
    pub upstream: &'static str,
    /// Whose it is.
    pub vendor: Vendor,
    /// new-api's channel type.
    pub platform: &'static str,
    /// Seconds that a video usually takes.
    usual: f64,
    /// Length of its videos.
    pub video_seconds: u32,
}

const MODELS: [Model; 5] = [
    Model {
        origin: "doubao-seedance-2.0",
        upstream: "doubao-seedance-2-0",
        vendor: Vendor::Ark,
        platform: "54",
        usual: 90.0,
        video_seconds: 5,
    },
    Model {
        origin: "sora-2",
        upstream: "sora-2",
        vendor: Vendor::OpenAi,
        platform: "55",
        usual: 150.0,
        video_seconds: 8,
    },
    Model {
        origin: "kling-v2-6",
        upstream: "kling-v2-6",
        vendor: Vendor::Kling,
        platform: "50",
        usual: 120.0,
        video_seconds: 10,
    },
    Model {
        origin: "happyhorse-1.0-t2v",
        upstream: "happyhorse-1.0-t2v",
        vendor: Vendor::DashScope,
        platform: "17",
        usual: 60.0,
        video_seconds: 5,
    },
    Model {
        origin: "MiniMax-Hailuo-02",
        upstream: "MiniMax-Hailuo-02",
        vendor: Vendor::MiniMax,
        platform: "35",
        usual: 75.0,
        video_seconds: 6,
    },
];

/// What a failed task's provider says.
const FAILURES: [(&str, &str); 4] = [
    ("OutputVideoSensitiveContentDetected", "The output video may contain sensitive information."),
    ("InternalServiceError", "The service encountered an unexpected internal error."),
    ("InvalidParameter", "The resolution is not valid."),
    ("RateLimitExceeded", "The request has exceeded the limit."),
];

/// A life.
#[derive(Debug, Clone, Copy)]
pub struct Life {
    /// What it is.
    pub model: Model,
    /// Accepted.
    pub submit: Timestamp,
    /// Begun.
    pub start: Timestamp,
    /// Over.
    pub finish: Timestamp,
    /// How.
    pub end: End,
    /// Tokens or units used.
    pub usage: u32,
}

impl Life {
    /// The life that `chance` gives to a task born at `submit`, `speed` times faster than a real one.
    pub fn new(chance: &mut fastrand::Rng, submit: Timestamp, speed: f64) -> Self {
        let model = MODELS[chance.usize(..MODELS.len())];
        let end = match chance.u32(..100) {
            0..84 => End::Succeeded,
            84..91 => {
                let (code, message) = FAILURES[chance.usize(..FAILURES.len())];
                End::Failed(code, message)
            }
            91..94 => End::Cancelled,
            94..97 => End::Expired,
            97 => End::Swept,
            _ => End::Forgotten,
        };
        let queue = 4.0 + 26.0 * chance.f64();
        // The sum of three chances has a middle and two tails, as real durations have.
        let spread = 0.4 + (chance.f64() + chance.f64() + chance.f64()) * 0.6;
        let run = model.usual * spread * if matches!(end, End::Expired | End::Swept) { 2.0 } else { 1.0 };
        let start = submit + Duration::from_secs_f64(queue / speed);
        let finish = start + Duration::from_secs_f64(run / speed);
        Self { model, submit, start, finish, end, usage: chance.u32(60_000..250_000) }
    }
}
