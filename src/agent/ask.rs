//! One request and what came of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::table::Turn;
use crate::clock;
use crate::domain::{Answer, ApiError, Reason, TaskId, Timestamp};
use crate::http::{Client, Request, Response};
use crate::metrics::Operation;
use crate::provider::Dialect;
use crate::secret::Credentials;

/// Who asks an upstream.
pub struct Asker {
    pub(super) client: Client,
    pub(super) dialect: Arc<Dialect>,
    pub(super) key: Option<Credentials>,
}

/// A task that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub(super) turn: Turn,
    pub(super) id: TaskId,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// One task.
    One(Asked),
    /// Many with one request.
    Many(Vec<Asked>),
}

/// How it ended.
pub struct Outcome {
    pub(super) work: Work,
    pub(super) sent: Instant,
    /// When it had come home: reading it is not the upstream's time either.
    pub(super) came: Instant,
    pub(super) code: Option<u16>,
    pub(super) retry_after: Option<String>,
    pub(super) date: Option<Timestamp>,
    /// What was read; of many, by id, those that were in the answer.
    pub(super) result: Result<Answers, ApiError>,
}

/// What was read.
pub enum Answers {
    /// Of one task.
    One(Box<Answer>),
    /// Of those of many that the answer had.
    Many(HashMap<String, Answer>),
}

impl Work {
    /// The label of its requests.
    pub const fn operation(&self) -> Operation {
        match self {
            Self::One(_) => Operation::Get,
            Self::Many(_) => Operation::Batch,
        }
    }

    /// The tasks that were asked for.
    pub fn tasks(&self) -> &[Asked] {
        match self {
            Self::One(asked) => std::slice::from_ref(asked),
            Self::Many(asked) => asked,
        }
    }
}

impl Asker {
    /// Asks once.
    pub async fn ask(&self, work: Work) -> Outcome {
        let sent = clock::instant();
        let mut outcome = Outcome {
            work,
            sent,
            came: sent,
            code: None,
            retry_after: None,
            date: None,
            result: Err(ApiError::new(Reason::BadRequest)),
        };
        let Some(request) = self.request(&outcome.work) else { return outcome };
        let key = match &self.key {
            Some(key) => Some(key.get(clock::now()).await),
            None => None,
        };
        // Waiting for the key is not the upstream's time.
        outcome.sent = clock::instant();
        let answer = self.client.send(&request, key.as_ref()).await;
        outcome.came = clock::instant();
        match answer {
            Err(reason) => outcome.result = Err(ApiError::new(reason)),
            Ok(response) => {
                outcome.code = Some(response.status);
                outcome.date = response.date.as_deref().and_then(crate::http::date);
                outcome.result = self.read(&outcome.work, &response);
                outcome.retry_after = response.retry_after;
            }
        }
        outcome
    }

    /// `None` for an id that this provider cannot have, which no source lets in.
    fn request(&self, work: &Work) -> Option<Request> {
        match work {
            Work::One(asked) => self.dialect.request(&asked.id).ok(),
            Work::Many(asked) => {
                let ids: Vec<_> = asked.iter().map(|asked| asked.id.clone()).collect();
                self.dialect.batch_request(&ids)
            }
        }
    }

    fn read(&self, work: &Work, response: &Response) -> Result<Answers, ApiError> {
        let body = match &response.body {
            Ok(body) => body.as_slice(),
            Err(reason) if (200..300).contains(&response.status) => return Err(ApiError::new(*reason)),
            // What did not come whole still has a status that says more.
            Err(_) => b"",
        };
        match work {
            Work::One(_) => self.dialect.read(response.status, body).map(|answer| Answers::One(Box::new(answer))),
            Work::Many(_) => {
                let list = self.dialect.read_list(response.status, body)?.tasks;
                let named = list.into_iter().filter_map(|answer| Some((answer.task_id.clone()?, answer)));
                Ok(Answers::Many(named.collect()))
            }
        }
    }
}
