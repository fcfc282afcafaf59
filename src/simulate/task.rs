//! A simulated task: its whole course is decided when it is created.

use std::time::Duration;

use crate::domain::Timestamp;

/// The vendor whose body the gateway's row contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// Ark (Seedance).
    Ark,
    /// `OpenAI` Videos (Sora), the only vendor that reports progress.
    OpenAi,
    /// Kling.
    Kling,
    /// `DashScope` (`HappyHorse`).
    DashScope,
    /// `MiniMax` v1 (Hailuo).
    MiniMax,
    /// Gemini (Veo): a single read of a task makes the gateway ask Gemini and store only a status.
    Gemini,
}

/// How a task ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With a video.
    Succeeded,
    /// With this code and message.
    Failed(&'static str, &'static str),
    /// Cancelled; the gateway still reports it as running.
    Cancelled,
    /// Expired at the vendor; the gateway still reports it as running.
    Expired,
    /// Failed by the time-out of the gateway.
    Swept,
    /// No longer known to the gateway.
    Forgotten,
}

/// A model, as requested and as run.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// The model that callers request.
    pub origin: &'static str,
    /// The model that the vendor runs.
    pub upstream: &'static str,
    /// Its vendor.
    pub vendor: Vendor,
    /// new-api's channel type.
    pub platform: &'static str,
    /// Typical seconds that it runs.
    typical_run: f64,
    /// Length of its videos, in seconds.
    pub video_seconds: u32,
}

const MODELS: [Model; 6] = [
    Model {
        origin: "doubao-seedance-2.0",
        upstream: "doubao-seedance-2-0",
        vendor: Vendor::Ark,
        platform: "54",
        typical_run: 90.0,
        video_seconds: 5,
    },
    Model {
        origin: "sora-2",
        upstream: "sora-2",
        vendor: Vendor::OpenAi,
        platform: "55",
        typical_run: 150.0,
        video_seconds: 8,
    },
    Model {
        origin: "kling-v2-6",
        upstream: "kling-v2-6",
        vendor: Vendor::Kling,
        platform: "50",
        typical_run: 120.0,
        video_seconds: 10,
    },
    Model {
        origin: "happyhorse-1.0-t2v",
        upstream: "happyhorse-1.0-t2v",
        vendor: Vendor::DashScope,
        platform: "17",
        typical_run: 60.0,
        video_seconds: 5,
    },
    Model {
        origin: "MiniMax-Hailuo-02",
        upstream: "MiniMax-Hailuo-02",
        vendor: Vendor::MiniMax,
        platform: "35",
        typical_run: 75.0,
        video_seconds: 6,
    },
    Model {
        origin: "veo-3.0-generate-001",
        upstream: "veo-3.0-generate-001",
        vendor: Vendor::Gemini,
        platform: "24",
        typical_run: 60.0,
        video_seconds: 8,
    },
];

/// The users of the gateway. The first one is its administrator.
pub const USERS: [&str; 5] = ["root", "studio", "growth", "support", "batch"];

/// Units that are charged when a task is submitted, for each unit that it costs at most.
const CHARGE_AHEAD: u32 = 400_000;

/// Code and message of failed tasks.
const FAILURES: [(&str, &str); 4] = [
    ("OutputVideoSensitiveContentDetected", "The output video may contain sensitive information."),
    ("InternalServiceError", "The service encountered an unexpected internal error."),
    ("InvalidParameter", "The resolution is not valid."),
    ("RateLimitExceeded", "The request has exceeded the limit."),
];

/// A simulated task.
#[derive(Debug, Clone, Copy)]
pub struct SimulatedTask {
    /// Its model.
    pub model: Model,
    /// Submit time.
    pub submit: Timestamp,
    /// Start time.
    pub start: Timestamp,
    /// Finish time.
    pub finish: Timestamp,
    /// How it ends.
    pub outcome: Outcome,
    /// Tokens or units used.
    pub usage: u32,
    /// Whose task it is: a position in [`USERS`].
    pub user: usize,
    /// The channel that it went through. Each model has two.
    pub channel: usize,
    /// A single read has made the gateway store only its status.
    pub is_spoiled: bool,
}

impl SimulatedTask {
    /// The quota of its row: charged ahead, and settled a moment after its end. A failed task is refunded, unless a single read has
    /// stored its end.
    pub fn quota(&self, has_ended: bool, is_settled: bool) -> u32 {
        match self.outcome {
            _ if !has_ended || !is_settled || self.is_spoiled => CHARGE_AHEAD,
            Outcome::Succeeded => self.usage,
            _ => 0,
        }
    }

    /// The same task with the first model of a vendor, in its first channel.
    #[must_use]
    pub fn of(self, vendor: Vendor) -> Self {
        let first = MODELS.iter().position(|model| model.vendor == vendor).unwrap_or_default();
        Self { model: MODELS[first], channel: 1 + 2 * first, ..self }
    }

    /// A random task submitted at `submit`, `speed` times faster than a real one.
    pub fn new(random: &mut fastrand::Rng, submit: Timestamp, speed: f64) -> Self {
        let model_number = random.usize(..MODELS.len());
        let model = MODELS[model_number];
        let outcome = match random.u32(..100) {
            0..84 => Outcome::Succeeded,
            84..91 => {
                let (code, message) = FAILURES[random.usize(..FAILURES.len())];
                Outcome::Failed(code, message)
            }
            91..94 => Outcome::Cancelled,
            94..97 => Outcome::Expired,
            97 => Outcome::Swept,
            _ if random.u32(..8) == 0 => Outcome::Forgotten,
            _ => Outcome::Succeeded,
        };
        let queue = 4.0 + 26.0 * random.f64();
        // The sum of three random numbers has a peak in the middle, as real durations have.
        let spread = 0.4 + (random.f64() + random.f64() + random.f64()) * 0.6;
        let run =
            model.typical_run * spread * if matches!(outcome, Outcome::Expired | Outcome::Swept) { 2.0 } else { 1.0 };
        let start = submit + Duration::from_secs_f64(queue / speed);
        let finish = start + Duration::from_secs_f64(run / speed);
        let usage = random.u32(60_000..250_000);
        // Ark's tokens are what its law gives for five seconds of 720p, and a little more.
        let usage = if model.vendor == Vendor::Ark { 108_900 + usage % 700 } else { usage };
        // The first users have most of the tasks.
        let user = random.usize(..USERS.len()).min(random.usize(..USERS.len()));
        let channel = 1 + 2 * model_number + random.usize(..2);
        Self { model, submit, start, finish, outcome, usage, user, channel, is_spoiled: false }
    }
}
