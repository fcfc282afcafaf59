//! Where task ids come from: one file a kind.

mod file;
mod fixed;
mod watch;

use crate::config;
use crate::domain::NewTask;
use crate::provider::Dialect;

pub use file::FileSource;
pub use fixed::StaticSource;

/// What a source names at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The tasks.
    pub tasks: Vec<NewTask>,
    /// What went wrong: reads that failed and ids that are none.
    pub errors: u64,
    /// The same in words, with their files.
    pub messages: Vec<String>,
    /// Everything was read well.
    pub complete: bool,
    /// There is nothing to read yet, such as a file that somebody has still to write.
    pub absent: bool,
}

impl Listing {
    /// Leaves out, and counts, ids that an upstream of this dialect cannot be asked for.
    pub fn keep_askable(&mut self, dialect: &Dialect) {
        let mut left_out = 0;
        let mut why = None;
        self.tasks.retain(|task| match dialect.request(&task.id) {
            Ok(_) => true,
            Err(error) => {
                left_out += 1;
                why = Some(error);
                false
            }
        });
        if let Some(why) = why {
            self.errors += left_out;
            self.messages.push(format!("ids left out: {left_out}; {why}"));
        }
    }

    /// A read that failed: what was read before stays.
    fn failed(&mut self, message: String) {
        self.errors += 1;
        self.messages.push(message);
        self.complete = false;
    }
}

/// The kinds of source. An `enum`, because the set is closed and its functions wait.
pub enum Source {
    /// Ids in the configuration.
    Static(StaticSource),
    /// Ids in files.
    File(FileSource),
}

impl Source {
    /// The sources of an upstream with their `source` labels: kind and place in the file.
    pub fn of(upstream: &config::Upstream) -> Vec<(String, Self)> {
        let statics = upstream.statics.iter().cloned().enumerate();
        let statics = statics.map(|(n, source)| (format!("static/{n}"), Self::Static(StaticSource::new(source))));
        let files = upstream.files.iter().cloned().enumerate();
        let files = files.map(|(n, source)| (format!("file/{n}"), Self::File(FileSource::new(source))));
        statics.chain(files).collect()
    }

    /// What the source is known by, whatever its place: its kind and its files.
    pub fn identity(&self) -> String {
        match self {
            Self::Static(_) => "static".to_owned(),
            Self::File(file) => file.identity(),
        }
    }

    /// Takes over what an earlier reader of the same files had read: the last good list of a file that is broken now.
    pub fn inherit(&mut self, earlier: Self) {
        if let (Self::File(file), Self::File(earlier)) = (self, earlier) {
            file.inherit(earlier);
        }
    }

    /// Reads it now.
    pub fn read(&mut self) -> Listing {
        match self {
            Self::Static(fixed) => fixed.read(),
            Self::File(file) => file.read(),
        }
    }

    /// Waits until it is worth reading again.
    pub async fn changed(&mut self) {
        match self {
            Self::Static(_) => std::future::pending().await,
            Self::File(file) => file.changed().await,
        }
    }
}
