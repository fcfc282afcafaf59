//! Seedance's published law of tokens: width x height x (frames per second x seconds + 1) / 1024, rounded down
//! (<https://www.volcengine.com/docs/82379/1544106>). Width and height follow from resolution, ratio and generation of the model
//! (<https://www.volcengine.com/docs/82379/1520757>). A video that was given costs more tokens than this.

use serde_json::Value;

use super::read::lenient;
use crate::domain::Answer;
use crate::domain::pricing::{Unpriced, resolution_lines};

/// The ratios of the table, in its order.
const RATIOS: [&str; 6] = ["16:9", "4:3", "1:1", "3:4", "9:16", "21:9"];

/// Widths and heights by ratio.
type Sizes = [(u32, u32); 6];

/// Of 480p before 2.5.
const P480: Sizes = [(864, 496), (752, 560), (640, 640), (560, 752), (496, 864), (992, 432)];

/// Of 480p since 2.5.
const P480_NEW: Sizes = [(854, 480), (752, 560), (640, 640), (560, 752), (480, 854), (992, 432)];

/// Of 480p in 1.0.
const P480_OLD: Sizes = [(864, 480), (736, 544), (640, 640), (544, 736), (480, 864), (960, 416)];

/// Of 720p.
const P720: Sizes = [(1280, 720), (1112, 834), (960, 960), (834, 1112), (720, 1280), (1470, 630)];

/// Of 720p in 1.0.
const P720_OLD: Sizes = [(1248, 704), (1120, 832), (960, 960), (832, 1120), (704, 1248), (1504, 640)];

/// Of 1080p.
const P1080: Sizes = [(1920, 1080), (1664, 1248), (1440, 1440), (1248, 1664), (1080, 1920), (2206, 946)];

/// Of 1080p in 1.0.
const P1080_OLD: Sizes = [(1920, 1088), (1664, 1248), (1440, 1440), (1248, 1664), (1088, 1920), (2176, 928)];

/// Of 4K.
const P2160: Sizes = [(3840, 2160), (3326, 2494), (2880, 2880), (2494, 3326), (2160, 3840), (4398, 1886)];

/// Pixels for one token.
const PIXELS: f64 = 1024.0;

/// Frames per second where none are told: every generation makes 24.
const FRAMES: f64 = 24.0;

/// The tokens that the law gives for a video, or what is not known of it; `None` for a model without a law. `body` is the vendor's.
pub fn predict(answer: &Answer, body: &Value) -> Option<Result<f64, Unpriced>> {
    let models = [answer.model_upstream.as_deref(), answer.model_origin.as_deref()];
    let model = models.into_iter().flatten().find(|model| model.to_ascii_lowercase().contains("seedance"))?;
    if answer.billing.has_input_video == Some(true) {
        return None;
    }
    let ratio = lenient::text(body, "ratio");
    let size = answer.resolution.as_deref().and_then(|resolution| size(model, resolution, ratio.as_deref()?));
    let Some((width, height)) = size else { return Some(Err(Unpriced::NoResolution)) };
    let Some(seconds) = answer.video_seconds else { return Some(Err(Unpriced::NoDuration)) };
    let frames = lenient::amount(body, "framespersecond").filter(|frames| *frames > 0.0).unwrap_or(FRAMES);
    Some(Ok((f64::from(width) * f64::from(height) * frames.mul_add(seconds, 1.0) / PIXELS).floor()))
}

fn size(model: &str, resolution: &str, ratio: &str) -> Option<(u32, u32)> {
    let model = model.to_ascii_lowercase().replace('.', "-");
    let is_generation = |number: &str| model.contains(&format!("seedance-{number}"));
    let (is_old, is_new) = (is_generation("1-0"), is_generation("2-5"));
    let sizes = match resolution_lines(resolution).as_str() {
        "480p" if is_old => P480_OLD,
        "480p" if is_new => P480_NEW,
        "480p" => P480,
        "720p" if is_old => P720_OLD,
        "720p" => P720,
        "1080p" if is_old => P1080_OLD,
        "1080p" => P1080,
        "2160p" => P2160,
        _ => return None,
    };
    let at = RATIOS.iter().position(|known| *known == ratio.trim())?;
    Some(sizes[at])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::Status;

    /// Numbers of tokens that the vendor reported.
    #[test]
    fn the_law_gives_the_tokens_that_the_vendor_reports() {
        for (model, resolution, seconds, tokens) in [
            ("doubao-seedance-2-0-260128", "480p", 5.0, 50_638.0),
            ("doubao-seedance-1-5-pro-251215", "720p", 5.0, 108_900.0),
            ("doubao-seedance-2.0", "720p", 5.0, 108_900.0),
            ("dreamina-seedance-2-0-260128", "1080p", 5.0, 245_025.0),
            ("doubao-seedance-1-0-pro-250528", "1080p", 5.0, 246_840.0),
            ("doubao-seedance-2-0-260128", "4k", 4.0, 785_700.0),
        ] {
            let mut answer = Answer::new(Status::Succeeded);
            answer.model_upstream = Some(model.to_owned());
            (answer.resolution, answer.video_seconds) = (Some(resolution.to_owned()), Some(seconds));
            let body = json!({"ratio": "16:9", "framespersecond": 24});
            assert_eq!(predict(&answer, &body), Some(Ok(tokens)), "{model} {resolution}");
        }
    }

    #[test]
    fn what_is_not_known_is_named() {
        let mut answer = Answer::new(Status::Succeeded);
        let body = json!({"ratio": "9:16"});
        assert_eq!(predict(&answer, &body), None, "no model");
        answer.model_origin = Some("Seedance-2.5".to_owned());
        assert_eq!(predict(&answer, &body), Some(Err(Unpriced::NoResolution)));
        answer.resolution = Some("480p".to_owned());
        assert_eq!(predict(&answer, &body), Some(Err(Unpriced::NoDuration)));
        answer.video_seconds = Some(5.0);
        assert_eq!(predict(&answer, &body), Some(Ok(48_437.0)));
        assert_eq!(predict(&answer, &json!({"ratio": "adaptive"})), Some(Err(Unpriced::NoResolution)));
        answer.billing.has_input_video = Some(true);
        assert_eq!(predict(&answer, &body), None, "the law is for the video alone");
        answer.model_origin = Some("kling-v2".to_owned());
        assert_eq!(predict(&answer, &body), None);
    }
}
