//! Faults of the fake gateway, and their probabilities.

use std::str::FromStr;

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 429 with `Retry-After: 1`.
    RateLimited,
    /// 500 with an error body of the gateway.
    ServerError,
    /// 503 from a proxy, as HTML.
    Unavailable,
    /// HTTP 200 with a web page.
    Html,
    /// A correct response after three seconds.
    Slow,
    /// The connection breaks in the middle of the body.
    Reset,
}

/// The names on the command line.
const NAMES: [(&str, Fault); 6] = [
    ("429", Fault::RateLimited),
    ("500", Fault::ServerError),
    ("503", Fault::Unavailable),
    ("html", Fault::Html),
    ("slow", Fault::Slow),
    ("reset", Fault::Reset),
];

/// Each fault with the share of requests that have it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults(Vec<(Fault, f64)>);

/// A text that does not describe faults.
#[derive(Debug, thiserror::Error)]
#[error(
    "expected none, some, or a list such as 429=0.05,500=0.01,503=0.01,html=0.01,slow=0.02,reset=0.01 with a sum of at most 1"
)]
pub struct FaultsError;

impl FromStr for Faults {
    type Err = FaultsError;

    fn from_str(text: &str) -> Result<Self, FaultsError> {
        if text == "none" {
            return Ok(Self::default());
        }
        let text = if text == "some" { "429=0.01,500=0.01,503=0.005,html=0.005,slow=0.01,reset=0.005" } else { text };
        let mut mix = Vec::new();
        for part in text.split(',') {
            let (name, share) = part.split_once('=').ok_or(FaultsError)?;
            let (_, fault) = NAMES.iter().find(|(known, _)| *known == name.trim()).ok_or(FaultsError)?;
            let share: f64 = share.trim().parse().map_err(|_| FaultsError)?;
            if !(0.0..=1.0).contains(&share) {
                return Err(FaultsError);
            }
            mix.push((*fault, share));
        }
        if mix.iter().map(|(_, share)| share).sum::<f64>() > 1.0 + 1e-9 { Err(FaultsError) } else { Ok(Self(mix)) }
    }
}

impl Faults {
    /// The fault for a random number from 0 to 1.
    pub fn pick(&self, chance: f64) -> Option<Fault> {
        let mut sum = 0.0;
        self.0.iter().find_map(|(fault, share)| {
            sum += share;
            (chance < sum).then_some(*fault)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_parsed_and_picked_by_their_shares() {
        let mix: Faults = "429=0.5, reset=0.25".parse().unwrap();
        assert_eq!(mix.pick(0.49), Some(Fault::RateLimited));
        assert_eq!(mix.pick(0.74), Some(Fault::Reset));
        assert_eq!(mix.pick(0.76), None);
        assert_eq!("none".parse::<Faults>().unwrap().pick(0.0), None);
        assert!("some".parse::<Faults>().is_ok());
        for bad in ["", "429", "418=0.1", "429=2", "429=0.6,500=0.6", "429=NaN"] {
            assert!(bad.parse::<Faults>().is_err(), "{bad}");
        }
    }
}
