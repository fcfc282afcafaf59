//! Budgets: how much may be spent in a day, week or month of the UTC calendar, and on which tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Span;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::domain::pricing::{Currency, Glob};
use crate::domain::{Counter, Increment, Task, Timestamp};

/// A budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Its name.
    pub name: Arc<str>,
    /// Patterns of upstreams; none asks nothing.
    pub upstreams: Vec<Glob>,
    /// Patterns of providers; none asks nothing.
    pub providers: Vec<Glob>,
    /// Patterns of models; none asks nothing.
    pub models: Vec<Glob>,
    /// Patterns of labels that tasks have from their source.
    pub labels: BTreeMap<String, Glob>,
    /// How long it lasts.
    pub per: Period,
    /// How much may be spent, in micro-units.
    pub micros: u64,
    /// Of this currency.
    pub currency: Currency,
}

/// A period of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// From midnight.
    Day,
    /// From Monday.
    Week,
    /// From the first day.
    Month,
}

/// What tasks have spent of a budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spending {
    /// The budget's name.
    pub budget: Arc<str>,
    /// The currency of `micros`.
    pub currency: Currency,
    /// The first day of the period, such as `month 2026-11-01`.
    pub period: String,
    /// Micro-units.
    pub micros: u64,
}

impl Budget {
    /// Whether the costs of a task are paid from it.
    pub fn has(&self, task: &Task) -> bool {
        let origin = &task.origin;
        let is_one_of = |globs: &[Glob], name: &str| globs.is_empty() || globs.iter().any(|glob| glob.matches(name));
        is_one_of(&self.upstreams, &origin.upstream)
            && is_one_of(&self.providers, origin.provider)
            && (self.models.is_empty()
                || task.video.models().into_iter().flatten().any(|model| is_one_of(&self.models, model)))
            && self.labels.iter().all(|(name, glob)| origin.labels.get(name).is_some_and(|value| glob.matches(value)))
    }

    /// What a transition's increments spend of it, at this time of the wall clock.
    pub fn spending(&self, task: &Task, increments: &[Increment], wall: Timestamp) -> Option<Spending> {
        let costs = increments.iter().filter(|(key, _)| key.counter == Counter::Cost);
        let of_currency = costs.filter(|(key, _)| key.value(0) == self.currency.index());
        let micros = of_currency.map(|(_, micros)| *micros).fold(0, u64::saturating_add);
        let has_spent = micros > 0 && self.has(task);
        has_spent.then(|| Spending {
            budget: self.name.clone(),
            currency: self.currency,
            period: self.per.text(wall),
            micros,
        })
    }
}

impl Period {
    /// The period of a time, by its word and first day.
    pub fn text(self, wall: Timestamp) -> String {
        format!("{} {}", self.as_str(), self.first_day(wall))
    }

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// When the period of a time ends.
    pub fn end(self, wall: Timestamp) -> Timestamp {
        let first = self.first_day(wall);
        let length = match self {
            Self::Day => Span::new().days(1),
            Self::Week => Span::new().days(7),
            Self::Month => Span::new().months(1),
        };
        let end = first.checked_add(length).and_then(|day| day.to_zoned(TimeZone::UTC));
        end.map_or(wall, |end| Timestamp::from_millis(end.timestamp().as_millisecond()))
    }

    fn first_day(self, wall: Timestamp) -> Date {
        let time = jiff::Timestamp::from_millisecond(wall.as_millis()).unwrap_or_default();
        let day = time.to_zoned(TimeZone::UTC).date();
        let since_monday = Span::new().days(i64::from(day.weekday().to_monday_zero_offset()));
        match self {
            Self::Day => day,
            Self::Week => day.checked_sub(since_monday).unwrap_or(day),
            Self::Month => day.first_of_month(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_follow_the_utc_calendar() {
        let at = |text: &str| Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
        for (time, day, week, month) in [
            ("2026-11-30T23:59:59.999Z", "day 2026-11-30", "week 2026-11-30", "month 2026-11-01"),
            ("2026-12-01T00:00:00Z", "day 2026-12-01", "week 2026-11-30", "month 2026-12-01"),
            ("2027-01-03T12:00:00Z", "day 2027-01-03", "week 2026-12-28", "month 2027-01-01"),
        ] {
            let periods = [Period::Day, Period::Week, Period::Month].map(|period| period.text(at(time)));
            assert_eq!(periods, [day, week, month], "{time}");
        }
        let ends = [Period::Day, Period::Week, Period::Month].map(|period| period.end(at("2026-11-30T12:00:00Z")));
        assert_eq!(ends, ["2026-12-01T00:00:00Z", "2026-12-07T00:00:00Z", "2026-12-01T00:00:00Z"].map(at));
    }
}
