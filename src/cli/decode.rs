//! `decode`: reads a saved response and prints it as JSON.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use serde_json::{Map, Number, Value, json};

use super::failure::{Failure, find_upstream, print_line};
use super::saved_response::{Body, SavedResponse};
use crate::config;
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::{Answer, ApiError, Drift, FailureClass, Reason, Status, Timestamp};
use crate::provider::{self, Dialect, Provider};

/// The arguments.
#[derive(Debug, Args)]
pub struct Decode {
    /// The provider, such as tokenhot, ark or kling; an unknown name lists all.
    #[arg(long, value_name = "NAME", value_parser = parse_provider, required_unless_present = "upstream")]
    provider: Option<&'static Provider>,
    /// Use the `request` and `response` settings of this upstream in the configuration.
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// The response is a task list.
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    response: SavedResponse,
}

fn parse_provider(name: &str) -> Result<&'static Provider, String> {
    provider::by_name(name).ok_or_else(|| format!("known providers: {}", provider::names_of(|_| true)))
}

impl Decode {
    /// Reads the file and prints one line of JSON.
    pub fn run(&self, config: &Path) -> Result<(), Failure> {
        let dialect = self.find_dialect(config)?;
        let Body { bytes, is_too_large } = self.response.read_body(&dialect)?;
        let http_status = self.response.http_status;
        let mut drift = Drift::NONE;
        let shown = if is_too_large {
            answer_json(&Err(ApiError::new(Reason::BodyTooLarge)))
        } else if self.list && dialect.has_list() {
            list_json(&dialect.read_list(http_status, &bytes).map(|list| list.tasks))
        } else {
            let read = self.response.read(&dialect, &bytes);
            if self.list && read.is_ok() {
                return Err(Failure::Input(format!("provider {} has no task list", dialect.name())));
            }
            drift = drift_of(&read);
            answer_json(&read)
        };
        for line in drift_lines(drift) {
            let _ = writeln!(io::stderr(), "{line}");
        }
        print_line(shown)
    }

    fn find_dialect(&self, config: &Path) -> Result<Arc<Dialect>, Failure> {
        let provider = self.provider;
        let Some(name) = &self.upstream else {
            let dialect = Dialect::from_provider(provider.expect("clap requires --provider or --upstream"));
            return dialect.map(Arc::new).map_err(|error| {
                Failure::Input(format!("{error}; choose an upstream with --config.file and --upstream"))
            });
        };
        let config = config::load(config)?;
        let upstream = find_upstream(&config, name)?;
        match provider {
            Some(provider) if provider.name != upstream.dialect.name() => Err(Failure::Input(format!(
                "upstream {name} has provider {}; --provider must be the same",
                upstream.dialect.name()
            ))),
            _ => Ok(upstream.dialect.clone()),
        }
    }
}

/// How a response differs from the provider's documentation.
pub fn drift_of(read: &Result<Answer, ApiError>) -> Drift {
    read.as_ref().map_or_else(|error| error.drift, |answer| answer.drift)
}

/// Describes these differences, one line for each field.
pub fn drift_lines(drift: Drift) -> impl Iterator<Item = String> {
    let line = |field: Field, problem: FieldProblem| {
        format!("differs from the provider's documentation: {} is {}", field.as_str(), problem.as_str())
    };
    drift.iter().map(move |(field, problem)| line(field, problem))
}

/// A task list as JSON.
pub fn list_json(result: &Result<Vec<Answer>, ApiError>) -> Value {
    match result {
        Ok(answers) => json!({"kind": "list", "tasks": answers.iter().map(task_json).collect::<Vec<_>>()}),
        Err(error) => json!({"kind": "error", "error": error_json(error)}),
    }
}

/// An answer as JSON, in the format of docs/configuration.md.
pub fn answer_json(result: &Result<Answer, ApiError>) -> Value {
    match result {
        Ok(answer) => json!({"kind": "task", "task": task_json(answer)}),
        Err(error) => json!({"kind": "error", "error": error_json(error)}),
    }
}

/// An error as JSON.
fn error_json(error: &ApiError) -> Value {
    let mut fields = Map::new();
    fields.insert("kind".to_owned(), error.kind.as_str().into());
    fields.extend(error.code.as_deref().map(|code| ("code".to_owned(), code.into())));
    fields.into()
}

/// A task as JSON, without absent values.
fn task_json(answer: &Answer) -> Value {
    let time = |at: Option<Timestamp>| at.map(|at| number_json(at.as_secs_f64()));
    let status = |status: Option<Status>| status.map(|status| Value::from(status.as_str()));
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    let failure = FailureClass::of_end(answer.status(), answer.failure);
    let fields = [
        ("task_id", text(&answer.task_id)),
        ("status", status(Some(answer.status()))),
        ("progress", answer.progress.map(Value::from)),
        ("submit", time(answer.times.submit)),
        ("start", time(answer.times.start)),
        ("finish", time(answer.times.finish)),
        ("model_upstream", text(&answer.model_upstream)),
        ("model_origin", text(&answer.model_origin)),
        ("duration", answer.video_seconds.map(number_json)),
        ("resolution", text(&answer.resolution)),
        ("tokens_prompt", answer.tokens.prompt.map(number_json)),
        ("tokens_completion", answer.tokens.completion.map(number_json)),
        ("tokens_total", answer.tokens.total.map(number_json)),
        ("credits", answer.credits.map(number_json)),
        ("error_code", text(&answer.error_code)),
        ("error_message", text(&answer.error_message)),
        ("has_result_url", Some(answer.has_result_url.into())),
        ("expires_at", time(answer.expires_at)),
        ("gateway_status", status(answer.gateway_status)),
        ("upstream_status", status(answer.upstream_status)),
        ("failure_class", failure.map(|class| class.as_str().into())),
        ("cost", answer.cost.map(|cost| number_json(cost.amount))),
        ("currency", answer.cost.map(|cost| cost.currency.code().into())),
    ];
    let present = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    present.collect::<Map<_, _>>().into()
}

/// A number as JSON; whole numbers have no decimal point.
fn number_json(value: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    if value.fract() == 0.0 && value.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        return Value::Number((value as i64).into());
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}
