//! The timeline of a task as a picture (SVG): one bar a layer, one block a status.

use std::fmt::Write as _;

use super::html::{HtmlEscaped, format_span, utc};
use crate::domain::{Status, Timestamp};
use crate::store::Step;

/// Width of the picture, in its own units.
const WIDTH: f64 = 1000.0;

/// Where the bars begin; their names are left of it.
const LEFT: f64 = 110.0;

/// Height of a bar, and the distance between two.
const BAR: f64 = 26.0;
const ROW: f64 = 34.0;

/// Width of the last block of an ended task.
const END: f64 = 90.0;

/// A block is at least this wide, so that a short status can be seen.
const MIN_BLOCK: f64 = 3.0;

/// A block narrower than this has no word in it.
const MIN_WORD: f64 = 70.0;

/// The status of one layer.
type Layer = fn(&Step) -> Option<Status>;

/// Draws steps from the first one to `now`, or of an ended task, which has none, to its end; all by the wall clock.
pub fn draw(steps: &[Step], now: Option<Timestamp>) -> String {
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else { return String::new() };
    let (begin, end) = (first.at, now.unwrap_or(last.at));
    let length = end.seconds_since(begin).max(1.0);
    // An end has no length: it gets a part of the picture.
    let right = if now.is_some() { WIDTH } else { WIDTH - END };
    let x = |at: Timestamp| LEFT + (at.seconds_since(begin) / length).clamp(0.0, 1.0) * (right - LEFT);
    let layers: [(&str, Layer); 3] = [
        ("status", |step| Some(step.status)),
        ("gateway", |step| step.gateway_status),
        ("provider", |step| step.upstream_status),
    ];
    let known = layers.iter().filter(|(_, status)| steps.iter().any(|step| status(step).is_some()));
    let mut bars = String::new();
    let mut y = 4.0;
    for (name, status) in known {
        let _ = write!(bars, "<text x=0 y={:.0}>{name}</text>", y + BAR * 0.7);
        for (n, step) in steps.iter().enumerate() {
            let Some(status) = status(step) else { continue };
            let to = match steps.get(n + 1) {
                Some(next) => x(next.at),
                None => WIDTH,
            };
            let from = x(step.at);
            let (word, width) = (status.as_str(), (to - from).max(MIN_BLOCK));
            let _ = write!(
                bars,
                "<rect class={word} x={from:.1} y={y:.0} width={width:.1} height={BAR:.0}><title>{word} from {}</title></rect>",
                HtmlEscaped(&utc(step.at))
            );
            if width >= MIN_WORD {
                let _ =
                    write!(bars, "<text x={:.1} y={:.0} style='fill:#fff'>{word}</text>", from + 8.0, y + BAR * 0.7);
            }
        }
        y += ROW;
    }
    let span = format_span(std::time::Duration::try_from_secs_f64(length).unwrap_or_default());
    format!(
        "<svg viewBox='0 0 {WIDTH:.0} {:.0}' role=img aria-label='timeline over {span}'>{bars}\
         <line x1={LEFT} y1={y:.0} x2={WIDTH} y2={y:.0} /><text x={LEFT} y={:.0}>{}</text>\
         <text x={right} y={:.0} text-anchor=end>{span} later</text></svg>",
        y + 24.0,
        y + 17.0,
        HtmlEscaped(&utc(begin)),
        y + 17.0,
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn step(second: i64, status: Status, provider: Option<Status>) -> Step {
        Step {
            at: Timestamp::from_secs(second),
            status,
            gateway_status: None,
            upstream_status: provider,
            failure: None,
            error_code: None,
            error_message: None,
        }
    }

    #[test]
    fn each_layer_is_a_bar_of_blocks_in_proportion() {
        let steps = [
            step(0, Status::Queued, None),
            step(25, Status::Running, Some(Status::Running)),
            step(100, Status::Succeeded, Some(Status::Succeeded)),
        ];
        let picture = draw(&steps, None);
        assert!(picture.contains("<rect class=queued x=110.0 y=4 width=200.0"), "{picture}");
        assert!(picture.contains("<rect class=running x=310.0 y=4 width=600.0"), "{picture}");
        assert!(picture.contains("<rect class=succeeded x=910.0 y=4 width=90.0"), "{picture}");
        assert!(picture.contains(">provider</text>") && !picture.contains(">gateway</text>"), "{picture}");
        assert!(picture.contains("1 min 40 s later"), "{picture}");
    }

    #[test]
    fn a_clock_that_goes_back_draws_within_the_picture() {
        let steps = [step(100, Status::Queued, None), step(40, Status::Running, None)];
        let picture = draw(&steps, Some(Timestamp::from_secs(40) - Duration::from_secs(10)));
        assert!(!picture.contains("width=-"), "{picture}");
        assert_eq!(draw(&[], None), "");
    }
}
