//! Where task ids come from: one file a kind.

mod database;
mod file;
mod fixed;
mod groups;
mod list;
mod listing;
mod server;
mod watch;

use crate::config;

pub use database::DatabaseSource;
pub use file::FileSource;
pub use fixed::StaticSource;
pub use list::UpstreamList;
pub use listing::{Asked, Listing};
pub use server::ServerSource;

/// The kinds of source. An `enum`, because the set is closed and its functions wait.
pub enum Source {
    /// Ids in the configuration.
    Static(StaticSource),
    /// Ids in files.
    File(FileSource),
    /// Ids from a server.
    Server(Box<ServerSource>),
    /// Ids in the upstream's own list.
    List(Box<UpstreamList>),
    /// Ids in a database.
    Database(DatabaseSource),
}

impl Source {
    /// The sources of an upstream with their `source` labels: kind and place in the file.
    pub fn of(upstream: &config::Upstream) -> Vec<(String, Self)> {
        fn labelled<'a>(
            kind: &'static str,
            sources: impl Iterator<Item = Source> + 'a,
        ) -> impl Iterator<Item = (String, Source)> + 'a {
            sources.enumerate().map(move |(n, source)| (format!("{kind}/{n}"), source))
        }
        let statics = upstream.statics.iter().map(|config| Self::Static(StaticSource::new(config.clone())));
        let files = upstream.files.iter().map(|config| Self::File(FileSource::new(config.clone())));
        let servers = upstream.https.iter().map(|config| Self::Server(Box::new(ServerSource::new(config.clone()))));
        let lists =
            upstream.lists.iter().map(|config| Self::List(Box::new(UpstreamList::new(config.clone(), upstream))));
        let databases = upstream.sqls.iter().map(|config| Self::Database(DatabaseSource::new(config.clone())));
        labelled("static", statics)
            .chain(labelled("file", files))
            .chain(labelled("http", servers))
            .chain(labelled("list", lists))
            .chain(labelled("sql", databases))
            .collect()
    }

    /// What the source is known by, whatever its place: its kind and its files, URL or statement.
    pub fn identity(&self) -> String {
        match self {
            Self::Static(_) => "static".to_owned(),
            Self::File(file) => file.identity(),
            Self::Server(server) => server.identity(),
            Self::List(list) => list.identity(),
            Self::Database(database) => database.identity(),
        }
    }

    /// True for one that asks the upstream itself, whose rate limit holds for that, too.
    pub const fn asks_upstream(&self) -> bool {
        matches!(self, Self::List(_))
    }

    /// True for one that asks somebody else.
    pub const fn is_remote(&self) -> bool {
        matches!(self, Self::Server(_) | Self::List(_) | Self::Database(_))
    }

    /// Takes over what an earlier reader of the same place had read.
    pub fn inherit(&mut self, earlier: Self) {
        match (self, earlier) {
            (Self::File(now), Self::File(earlier)) => now.inherit(earlier),
            (Self::Server(now), Self::Server(earlier)) => now.inherit(*earlier),
            (Self::List(now), Self::List(earlier)) => now.inherit(*earlier),
            (Self::Database(now), Self::Database(earlier)) => now.inherit(earlier),
            _ => {}
        }
    }

    /// Reads it now, or one part of it. May be dropped at any point; the next read begins that part anew.
    pub async fn read(&mut self) -> Listing {
        match self {
            Self::Static(fixed) => fixed.read(),
            Self::File(file) => file.read().await,
            Self::Server(server) => server.read().await,
            Self::List(list) => list.read().await,
            Self::Database(database) => database.read().await,
        }
    }

    /// Waits until it is worth reading again.
    pub async fn changed(&mut self) {
        match self {
            Self::Static(_) => std::future::pending().await,
            Self::File(file) => file.changed().await,
            Self::Server(server) => server.changed().await,
            Self::List(list) => list.changed().await,
            Self::Database(database) => database.changed().await,
        }
    }
}
