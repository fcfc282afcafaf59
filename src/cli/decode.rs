//! `decode`: what does a saved answer say?

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Map, Number, Value, json};

use super::failure::{Failure, say, upstream_of};
use crate::config;
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::{Answer, ApiError, Drift, Reason, Status, Timestamp};
use crate::provider::{self, Dialect, Provider};

/// An answer larger than this is not read, as the exporter would not.
const MAX_BODY: u64 = 4 << 20;

/// The arguments.
#[derive(Debug, Args)]
pub struct Decode {
    /// The dialect: tokenhot, ark, kling and so on; a wrong name lists them all.
    #[arg(long, value_name = "NAME", value_parser = known, required_unless_present = "upstream")]
    provider: Option<&'static Provider>,
    /// Read as this upstream of the configuration would: with its shape and offset, or its description of a custom API.
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// The HTTP status that the answer came with.
    #[arg(long, value_name = "STATUS", default_value_t = 200, value_parser = clap::value_parser!(u16).range(100..=599))]
    http_status: u16,
    /// A header that the answer came with, as 'Name: value'; can be given several times.
    #[arg(long = "header", value_name = "HEADER", value_parser = header)]
    headers: Vec<String>,
    /// The answer is that of the provider's list.
    #[arg(long)]
    list: bool,
    /// The file that holds the body, or - for standard input.
    file: PathBuf,
}

fn known(name: &str) -> Result<&'static Provider, String> {
    provider::named(name).ok_or_else(|| format!("known are {}", provider::names()))
}

fn header(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((name, _)) if !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err("expected 'Name: value'".to_owned()),
    }
}

impl Decode {
    /// Reads the file and prints one line.
    pub fn run(&self, config: &Path) -> Result<(), Failure> {
        let dialect = self.dialect(config)?;
        let mut body = Vec::new();
        let read = if self.file.as_os_str() == "-" {
            io::stdin().lock().take(MAX_BODY + 1).read_to_end(&mut body)
        } else {
            File::open(&self.file).and_then(|file| file.take(MAX_BODY + 1).read_to_end(&mut body))
        };
        read.map_err(|error| Failure::Input(format!("{}: cannot read it: {error}", self.file.display())))?;
        let mut drift = Drift::NONE;
        let shown = if body.len() as u64 > MAX_BODY && (200..300).contains(&self.http_status) {
            shown(&Err(ApiError::new(Reason::BodyTooLarge)))
        } else if self.list && dialect.has_list() {
            shown_list(&dialect.read_list(self.http_status, &body).map(|list| list.tasks))
        } else {
            let read = dialect.read(self.http_status, &body);
            if self.list && read.is_ok() {
                return Err(Failure::Input(format!("provider {} has no list", dialect.name())));
            }
            drift = drift_of(&read);
            shown(&read)
        };
        for line in drift_lines(drift) {
            let _ = writeln!(io::stderr(), "{line}");
        }
        say(shown)
    }

    fn dialect(&self, config: &Path) -> Result<Arc<Dialect>, Failure> {
        let provider = self.provider;
        let Some(name) = &self.upstream else {
            let dialect = Dialect::of(provider.expect("one of the two is required"));
            return dialect
                .map(Arc::new)
                .map_err(|error| Failure::Input(format!("{error}; say which with --config.file and --upstream")));
        };
        let config = config::load(config)?;
        let upstream = upstream_of(&config, name)?;
        match provider {
            Some(provider) if provider.name != upstream.dialect.name() => {
                Err(Failure::Input(format!("upstream {name} has provider {}", upstream.dialect.name())))
            }
            _ => Ok(upstream.dialect.clone()),
        }
    }
}

/// Where an answer is not as documented.
pub fn drift_of(read: &Result<Answer, ApiError>) -> Drift {
    read.as_ref().map_or_else(|error| error.drift, |answer| answer.drift)
}

/// The same in words, for a person.
pub fn drift_lines(drift: Drift) -> impl Iterator<Item = String> {
    let line = |field: Field, problem: FieldProblem| {
        format!("not as its provider documents it: {} is {}", field.as_str(), problem.as_str())
    };
    drift.iter().map(move |(field, problem)| line(field, problem))
}

/// The same for a list.
pub fn shown_list(result: &Result<Vec<Answer>, ApiError>) -> Value {
    match result {
        Ok(answers) => json!({"kind": "list", "tasks": answers.iter().map(task).collect::<Vec<_>>()}),
        Err(error) => json!({"kind": "error", "error": self::error(error)}),
    }
}

/// The line that is printed: what an answer says, in the words of docs/configuration.md.
pub fn shown(result: &Result<Answer, ApiError>) -> Value {
    match result {
        Ok(answer) => json!({"kind": "task", "task": task(answer)}),
        Err(error) => json!({"kind": "error", "error": self::error(error)}),
    }
}

/// An error as JSON.
fn error(error: &ApiError) -> Value {
    let mut fields = Map::new();
    fields.insert("kind".to_owned(), error.kind.as_str().into());
    fields.extend(error.code.as_deref().map(|code| ("code".to_owned(), code.into())));
    fields.into()
}

/// An answer as JSON; what is absent is left out.
fn task(answer: &Answer) -> Value {
    let moment = |at: Option<Timestamp>| at.map(|at| number(at.as_secs_f64()));
    let status = |status: Option<Status>| status.map(|status| Value::from(status.as_str()));
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    let fields = [
        ("task_id", text(&answer.task_id)),
        ("status", status(Some(answer.status()))),
        ("progress", answer.progress.map(Value::from)),
        ("submit", moment(answer.times.submit)),
        ("start", moment(answer.times.start)),
        ("finish", moment(answer.times.finish)),
        ("model_upstream", text(&answer.model_upstream)),
        ("model_origin", text(&answer.model_origin)),
        ("duration", answer.video_seconds.map(number)),
        ("resolution", text(&answer.resolution)),
        ("tokens_prompt", answer.tokens.prompt.map(number)),
        ("tokens_completion", answer.tokens.completion.map(number)),
        ("tokens_total", answer.tokens.total.map(number)),
        ("credits", answer.credits.map(number)),
        ("error_code", text(&answer.error_code)),
        ("error_message", text(&answer.error_message)),
        ("has_result_url", Some(answer.has_result_url.into())),
        ("expires_at", moment(answer.expires_at)),
        ("gateway_status", status(answer.gateway_status)),
        ("upstream_status", status(answer.upstream_status)),
    ];
    let there = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    there.collect::<Map<_, _>>().into()
}

/// A whole number without a point.
fn number(value: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    if value.fract() == 0.0 && value.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        return Value::Number((value as i64).into());
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}
