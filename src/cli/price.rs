//! `price`: what the task of a saved response costs, and by which rule.

use std::path::Path;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::failure::{Failure, find_upstream, print_line};
use super::saved_response::{Body, SavedResponse};
use crate::clock;
use crate::config::{self, Upstream};
use crate::domain::apply::apply_answer;
use crate::domain::costing;
use crate::domain::policy::{BillingRules, ChargeRate};
use crate::domain::pricing::{Quote, Unpriced};
use crate::domain::{Answer, NewTask, Policy, Task, TaskId, Timestamp};

/// The arguments.
#[derive(Debug, Args)]
pub struct Price {
    /// The name of the upstream in the configuration.
    #[arg(long, value_name = "NAME")]
    upstream: String,
    #[command(flatten)]
    response: SavedResponse,
}

impl Price {
    /// Reads the response and prints one line of JSON.
    pub fn run(&self, config: &Path) -> Result<(), Failure> {
        let config = config::load(config)?;
        let upstream = find_upstream(&config, &self.upstream)?;
        let Body { bytes, is_too_large } = self.response.read_body(&upstream.dialect)?;
        if is_too_large {
            return Err(Failure::Input("the response is too large".to_owned()));
        }
        let answer = self.response.read(&upstream.dialect, &bytes).map_err(|error| {
            let parts = [Some(error.kind.as_str().to_owned()), error.code, error.message];
            let why = parts.into_iter().flatten().collect::<Vec<_>>().join(": ");
            Failure::Input(format!("the response is no task: {why}"))
        })?;
        print_line(price(upstream, answer))
    }
}

/// A cost as it is printed.
#[derive(Serialize)]
struct Shown<'a> {
    cost: String,
    currency: &'static str,
    source: &'static str,
    /// None for a reported cost, and for an end that is not charged without a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
}

fn unpriced(reason: &str) -> String {
    json!({ "unpriced": reason }).to_string()
}

fn price(upstream: &Upstream, mut answer: Answer) -> String {
    if !answer.status().is_end() {
        return unpriced("not_ended");
    }
    let now = Timestamp::from(clock::now());
    // An id that no task can have names no model.
    let id = answer.task_id.as_deref().and_then(|id| TaskId::parse(id).ok());
    let id = id.or_else(|| TaskId::parse("unknown").ok()).expect("a valid id");
    if answer.told_model().is_none() {
        answer.model_origin = upstream.model_of(&id).map(str::to_owned);
    }
    let mut task = Task::new(upstream.name.clone(), upstream.dialect.name(), NewTask::new(id), now);
    apply_answer(&mut task, &answer, now);
    let pricing = upstream.billing.pricing.as_ref();
    let billing = BillingRules { pricing, charge_rate: ChargeRate::None, is_gateway: upstream.dialect.is_new_api() };
    let usage = costing::usage(&task, Some(&answer), &Policy { billing, ..Policy::COUNT_ALL });
    let Some(Quote { cost, rule }) = costing::quote(pricing, &usage) else {
        return unpriced(Unpriced::NoRule.as_str());
    };
    match cost {
        Err(reason) => unpriced(reason.as_str()),
        Ok(money) => {
            let shown = Shown {
                cost: format!("{}.{:06}", money.micros / 1_000_000, money.micros % 1_000_000),
                currency: money.currency.code(),
                source: money.source.as_str(),
                rule: rule.map(|rule| rule.id.as_str()),
            };
            serde_json::to_string(&shown).expect("an object of texts is valid JSON")
        }
    }
}
