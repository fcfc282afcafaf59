//! One request for the status of tasks, and how it ended.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::table::PollToken;
use crate::clock;
use crate::domain::{Answer, ApiError, Reading, Reason, TaskId, Timestamp};
use crate::http::{Client, Credentials, Request, Response};
use crate::metrics::{Operation, RequestOutcome};
use crate::provider::Dialect;

/// A response larger than this is decoded on a thread of its own: it must not delay the other upstreams of the actor's thread.
const LARGE_BODY: usize = 64 << 10;

/// Sends a request; a test sends none.
pub type SendRequest = Arc<dyn Fn(Work) -> PendingRequest + Send + Sync>;

/// A request until its response is decoded.
pub type PendingRequest = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A task that is polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolledTask {
    /// Its poll.
    pub token: PollToken,
    /// Its id.
    pub id: TaskId,
}

/// What is requested.
#[derive(Debug, Clone)]
pub enum Work {
    /// One task.
    One(PolledTask),
    /// The result of a task that this answer needs.
    Result(PolledTask, Box<Answer>),
    /// Many tasks with one request.
    Batch(Vec<PolledTask>),
}

/// How a request ended.
pub struct Outcome {
    /// What was requested.
    pub work: Work,
    /// When it was sent.
    pub sent: Instant,
    /// When its response was received, before it was decoded.
    pub received: Instant,
    /// HTTP status, where there was a response.
    pub code: Option<u16>,
    /// The wait that the `Retry-After` header asks for.
    pub retry_after: Option<Duration>,
    /// The `Date` header.
    pub date: Option<Timestamp>,
    /// The decoded response.
    pub result: Result<Answers, ApiError>,
}

impl Outcome {
    /// Why it failed, if it did. That the upstream does not know a task may be an answer.
    pub fn reason(&self) -> Option<Reason> {
        match &self.result {
            Ok(Answers::One(answer)) if answer.is_not_found => Some(Reason::NotFound),
            Ok(_) => None,
            Err(error) => Some(error.kind),
        }
    }

    /// What the metrics have of it; `at` is when it ended.
    pub fn measured(&self, at: Timestamp) -> RequestOutcome {
        RequestOutcome {
            operation: self.work.operation(),
            code: self.code,
            reason: self.reason(),
            took: self.received.saturating_duration_since(self.sent),
            at,
            date: self.date,
            cause: self.result.as_ref().err().and_then(|error| error.cause.clone()),
            own_key: Arc::default(),
        }
    }
}

/// Decoded answers.
pub enum Answers {
    /// Of one task.
    One(Box<Answer>),
    /// Of one task, whose result has to be requested to know how it ended.
    NeedsResult(Box<Answer>),
    /// Of those tasks of a batch that the response had, by id.
    Batch(HashMap<String, Answer>),
}

impl Work {
    /// The `operation` label of its request.
    pub const fn operation(&self) -> Operation {
        match self {
            Self::One(_) | Self::Result(..) => Operation::Get,
            Self::Batch(_) => Operation::Batch,
        }
    }

    /// The tasks that are polled.
    pub fn tasks(&self) -> &[PolledTask] {
        match self {
            Self::One(task) | Self::Result(task, _) => std::slice::from_ref(task),
            Self::Batch(tasks) => tasks,
        }
    }

    /// What an error means for its tasks. A task that has completed is known, even when its result is not found.
    pub fn reading_of(&self, error: &ApiError, code: Option<u16>, keeps_messages: bool) -> Reading {
        match (self, Reading::of_error(error, code, keeps_messages)) {
            (Self::Result(..), Reading::NotFound(error)) => Reading::Failed(error),
            (_, reading) => reading,
        }
    }
}

/// The client of one upstream with everything that a request needs.
pub struct UpstreamClient {
    client: Arc<Client>,
    dialect: Arc<Dialect>,
    key: Option<Credentials>,
}

impl UpstreamClient {
    /// Of an upstream's client, dialect and key.
    pub fn new(client: Arc<Client>, dialect: Arc<Dialect>, key: Option<Credentials>) -> Self {
        Self { client, dialect, key }
    }

    /// The function that sends requests with it.
    pub fn into_send(self) -> SendRequest {
        let client = Arc::new(self);
        Arc::new(move |work| {
            let client = client.clone();
            Box::pin(async move { client.send(work).await })
        })
    }

    async fn send(&self, work: Work) -> Outcome {
        let begun = clock::instant();
        let mut outcome = Outcome {
            work,
            sent: begun,
            received: begun,
            code: None,
            retry_after: None,
            date: None,
            result: Err(ApiError::new(Reason::BadRequest)),
        };
        let Some(request) = self.request(&outcome.work) else { return outcome };
        let key = Credentials::key(self.key.as_ref(), clock::now()).await;
        // Reading the key file and fetching a token is not the upstream's time.
        outcome.sent = clock::instant();
        let response = match key {
            Ok(key) => self.client.send(&request, key.as_ref()).await,
            Err(error) => Err(error),
        };
        outcome.received = clock::instant();
        match response {
            Err(error) => outcome.result = Err(error.into()),
            Ok(response) => {
                outcome.code = Some(response.status);
                outcome.date = response.date;
                outcome.retry_after = response.retry_after;
                outcome.result = self.decode_response(&outcome.work, response).await;
            }
        }
        outcome
    }

    /// `None` for an id that this provider cannot have; sources reject such ids.
    fn request(&self, work: &Work) -> Option<Request> {
        match work {
            Work::One(task) => self.dialect.request(&task.id).ok(),
            Work::Result(task, _) => self.dialect.result_request(&task.id),
            Work::Batch(tasks) => {
                let ids: Vec<_> = tasks.iter().map(|task| task.id.clone()).collect();
                self.dialect.batch_request(&ids)
            }
        }
    }

    async fn decode_response(&self, work: &Work, response: Response) -> Result<Answers, ApiError> {
        if response.body.as_ref().map_or(0, Vec::len) < LARGE_BODY {
            return decode(&self.dialect, work, &response);
        }
        let (dialect, work) = (self.dialect.clone(), work.clone());
        let decoding = tokio::task::spawn_blocking(move || decode(&dialect, &work, &response));
        decoding.await.unwrap_or_else(|_| Err(ApiError::new(Reason::InvalidBody)))
    }
}

fn decode(dialect: &Dialect, work: &Work, response: &Response) -> Result<Answers, ApiError> {
    match work {
        Work::Batch(_) => Ok(Answers::Batch(answers_by_id(dialect.read_list_response(response)?.tasks))),
        Work::One(task) => {
            let answer = Box::new(dialect.read_response(response)?);
            Ok(if dialect.needs_result(&task.id, &answer) {
                Answers::NeedsResult(answer)
            } else {
                Answers::One(answer)
            })
        }
        Work::Result(_, answer) => Ok(Answers::One(Box::new(dialect.read_result_response(answer, response)?))),
    }
}

/// Answers by task id. Which of two answers is the right one is unknown, so a task with two is polled alone.
fn answers_by_id(list: Vec<Answer>) -> HashMap<String, Answer> {
    let mut by_id: HashMap<String, Option<Answer>> = HashMap::with_capacity(list.len());
    for answer in list {
        if let Some(id) = answer.task_id.clone() {
            by_id.entry(id).and_modify(|earlier| *earlier = None).or_insert(Some(answer));
        }
    }
    by_id.into_iter().filter_map(|(id, answer)| Some((id, answer?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::table::TaskTable;
    use crate::domain::{NewTask, Status, Task};

    #[test]
    fn a_completed_task_is_known_even_if_its_result_is_not_found() {
        let id = TaskId::parse("t").unwrap();
        let mut table = TaskTable::default();
        let slot = table.add(Task::new("u".into(), "fal", NewTask::new(id.clone()), Timestamp::from_secs(0))).unwrap();
        let polled = PolledTask { token: table.new_token(slot).unwrap(), id };
        let error = ApiError::new(Reason::NotFound);
        let result = Work::Result(polled.clone(), Box::new(Answer::new(Status::Succeeded)));
        assert!(matches!(result.reading_of(&error, Some(404), true), Reading::Failed(_)), "no strike");
        assert!(matches!(Work::One(polled).reading_of(&error, Some(404), true), Reading::NotFound(_)));
    }

    #[test]
    fn a_task_with_two_answers_in_a_batch_has_none() {
        let answer = |id: &str, status| Answer { task_id: Some(id.to_owned()), ..Answer::new(status) };
        let list = [("a", Status::Running), ("b", Status::Failed), ("a", Status::Succeeded), ("a", Status::Failed)];
        let by_id = answers_by_id(list.map(|(id, status)| answer(id, status)).into());
        assert_eq!(by_id.into_keys().collect::<Vec<_>>(), ["b"]);
    }
}
