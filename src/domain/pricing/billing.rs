//! What an answer tells for the bill of its task.

use super::cost_words::Unpriced;

/// What an answer tells for its bill beside tokens, length and units.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Billing {
    /// Seconds that the provider bills, where it tells them apart from the length of the video.
    pub seconds: Option<f64>,
    /// The provider's own units, inside a gateway.
    pub units: Option<f64>,
    /// Images that were given.
    pub input_images: Option<f64>,
    /// A video was given.
    pub has_input_video: Option<bool>,
    /// The video has a sound track.
    pub has_audio: Option<bool>,
    /// The provider behind `LiteLLM`'s proxy, by its name for it.
    pub litellm_provider: Option<&'static str>,
    /// The tokens that the vendor's published law computes for the video, or what is not known of it; `None` for a model without a
    /// law.
    pub predicted_tokens: Option<Result<f64, Unpriced>>,
}

impl Billing {
    /// Whether an image was given.
    pub fn has_input_image(&self) -> Option<bool> {
        self.input_images.map(|images| images > 0.0)
    }
}
