//! Which tasks a price is for.

use wildmatch::WildMatch;

use super::usage::Usage;

/// A pattern of a name: `*` is any text, `?` any character, the rest is compared without case.
#[derive(Debug, Clone)]
pub struct Glob {
    text: String,
    pattern: WildMatch,
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Glob {}

impl Glob {
    /// Of a pattern's text.
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), pattern: WildMatch::new_case_insensitive(text) }
    }

    /// Whether a whole name matches.
    pub fn matches(&self, name: &str) -> bool {
        self.pattern.matches(name)
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is known to match every name that another one matches: the same text, `*`, or a pattern that matches the other's
    /// text, which has no wildcard or only a final `*` under an own final `*`.
    pub fn covers(&self, other: &Self) -> bool {
        let is_plain = |text: &str| !text.contains(['*', '?']);
        let has_plain_start = |text: &str| text.strip_suffix('*').filter(|start| is_plain(start)).map(str::to_owned);
        let starts = || {
            let (own, of_other) = (has_plain_start(&self.text)?, other.text.trim_end_matches('*'));
            let is_start = of_other.get(..own.len()).is_some_and(|start| start.eq_ignore_ascii_case(&own));
            Some(is_start && is_plain(&of_other[..own.len()]))
        };
        self.text.chars().all(|c| c == '*') && !self.text.is_empty()
            || self.text.eq_ignore_ascii_case(&other.text)
            || is_plain(&other.text) && self.matches(&other.text)
            || starts().unwrap_or(false)
    }
}

/// What a rule asks of a task. An empty list, or `None`, asks nothing; what a task does not tell does not match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    /// Patterns, of which one matches the model that ran or the one that was asked for.
    pub models: Vec<Glob>,
    /// Resolutions as [`resolution_lines`] writes them.
    pub resolutions: Vec<String>,
    /// Service tiers.
    pub service_tiers: Vec<String>,
    /// Whether the video has a sound track.
    pub audio: Option<bool>,
    /// Whether a video was given.
    pub input_video: Option<bool>,
    /// Whether an image was given.
    pub input_image: Option<bool>,
    /// `LiteLLM`'s name for the provider; a task that does not tell it matches.
    pub litellm_provider: Option<String>,
}

impl Condition {
    /// Whether a task matches.
    pub fn matches(&self, usage: &Usage<'_>) -> bool {
        let is_one_of = |words: &[String], told: Option<&str>| {
            words.is_empty() || told.is_some_and(|told| words.iter().any(|word| word.eq_ignore_ascii_case(told)))
        };
        let is = |asked: Option<bool>, told: Option<bool>| asked.is_none() || asked == told;
        let resolution = || usage.resolution.map(resolution_lines);
        (self.models.is_empty() || usage.models.iter().flatten().any(|model| self.has_model(model)))
            && (self.resolutions.is_empty() || is_one_of(&self.resolutions, resolution().as_deref()))
            && is_one_of(&self.service_tiers, usage.service_tier)
            && is(self.audio, usage.billing.has_audio)
            && is(self.input_video, usage.billing.has_input_video)
            && is(self.input_image, usage.billing.has_input_image())
            && self.has_litellm_provider(usage.billing.litellm_provider)
    }

    fn has_litellm_provider(&self, told: Option<&str>) -> bool {
        self.litellm_provider.as_deref().zip(told).is_none_or(|(own, told)| own == told)
    }

    /// Whether a model's name matches.
    pub fn has_model(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|glob| glob.matches(model))
    }

    /// Whether it is known to match every task that another one matches.
    pub fn covers(&self, other: &Self) -> bool {
        let has_all = |own: &[String], of_other: &[String]| {
            let has = |word: &String| own.iter().any(|own| own.eq_ignore_ascii_case(word));
            own.is_empty() || !of_other.is_empty() && of_other.iter().all(has)
        };
        let has_models = self.models.is_empty()
            || !other.models.is_empty()
                && other.models.iter().all(|glob| self.models.iter().any(|own| own.covers(glob)));
        let is_asked = |own: Option<bool>, of_other: Option<bool>| own.is_none() || own == of_other;
        has_models
            && has_all(&self.resolutions, &other.resolutions)
            && has_all(&self.service_tiers, &other.service_tiers)
            && is_asked(self.audio, other.audio)
            && is_asked(self.input_video, other.input_video)
            && is_asked(self.input_image, other.input_image)
    }
}

/// A resolution by its short side, such as `720p`: 2K is 1440p, 4K 2160p, 1366x768 is 768p. Another word stays as it is, in small
/// letters.
pub fn resolution_lines(text: &str) -> String {
    let text = text.trim().to_ascii_lowercase();
    let side = |side: &str| side.trim().parse::<u32>().ok();
    let lines = match text.split_once(['x', '*', '×']) {
        Some((width, height)) => side(width).zip(side(height)).map(|(width, height)| width.min(height)),
        None => match text.as_str() {
            "2k" => Some(1440),
            "4k" | "uhd" => Some(2160),
            _ => side(text.strip_suffix('p').unwrap_or(&text)),
        },
    };
    lines.map_or(text, |lines| format!("{lines}p"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolution_is_its_short_side() {
        for (text, lines) in [
            ("720p", "720p"),
            ("720", "720p"),
            ("720x1280", "720p"),
            ("1280*720", "720p"),
            ("1366x768", "768p"),
            ("2K", "1440p"),
            ("4k", "2160p"),
            (" 1080P ", "1080p"),
            ("HD", "hd"),
            ("axb", "axb"),
        ] {
            assert_eq!(resolution_lines(text), lines, "{text}");
        }
    }

    #[test]
    fn a_pattern_matches_whole_names_without_case() {
        for (pattern, name, is_match) in [
            ("doubao-seedance-2-0-26*", "Doubao-Seedance-2-0-260128", true),
            ("sora-2", "sora-2-pro", false),
            ("veo-?.1*", "veo-3.1-fast", true),
            ("*", "", true),
            ("a[b]", "a[b]", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), is_match, "{pattern} {name}");
        }
    }

    #[test]
    fn a_condition_covers_another_one_only_where_that_is_sure() {
        let models = |models: &[&str]| Condition {
            models: models.iter().map(|text| Glob::new(text)).collect(),
            ..Condition::default()
        };
        let words = |words: &[&str]| Condition {
            resolutions: words.iter().map(|word| (*word).to_owned()).collect(),
            ..Condition::default()
        };
        for (first, second, is_covered) in [
            (models(&[]), models(&["a"]), true),
            (models(&["a"]), models(&[]), false),
            (models(&["sora*"]), models(&["sora-2*"]), true),
            (models(&["sora*"]), models(&["sora-?"]), true),
            (models(&["sora-2*"]), models(&["sora*"]), false),
            (models(&["s*a"]), models(&["sora"]), true),
            (models(&["s*a*"]), models(&["sora*"]), false),
            (models(&["?ora*"]), models(&["sora*"]), false),
            (models(&["a", "b"]), models(&["B"]), true),
            (models(&["sora2*"]), models(&["sora*"]), false),
            (words(&["720p", "480p"]), words(&["480p"]), true),
            (words(&["480p"]), words(&["720p", "480p"]), false),
            (words(&["480p"]), words(&[]), false),
            (Condition { audio: Some(true), ..models(&[]) }, models(&[]), false),
            (models(&[]), Condition { audio: Some(true), ..models(&[]) }, true),
        ] {
            assert_eq!(first.covers(&second), is_covered, "{first:?} {second:?}");
        }
    }
}
