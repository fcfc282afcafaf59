//! Sources of task ids; one file for each kind.

mod database;
mod file;
mod groups;
mod http_sd;
mod invalid_ids;
mod list;
mod list_pass;
mod listing;
mod page_position;
mod retry;
mod row_labels;
mod static_ids;
mod watch;

use std::time::Duration;

use crate::config;

pub use database::DatabaseSource;
pub use file::FileSource;
pub use http_sd::HttpSdSource;
pub use list::UpstreamList;
pub use listing::{ListDemand, ListRequest, ListRows, Listing};
pub use static_ids::StaticSource;

/// A source of task ids. An `enum`, because a trait with async functions cannot be a trait object.
pub enum Source {
    /// `static_configs`.
    Static(StaticSource),
    /// `file_sd_configs`.
    File(FileSource),
    /// `http_sd_configs`.
    HttpSd(Box<HttpSdSource>),
    /// `list_configs`.
    List(Box<UpstreamList>),
    /// `sql_sd_configs`.
    Database(DatabaseSource),
}

impl Source {
    /// The sources of an upstream with their `source` labels: kind and index in the configuration.
    pub fn from_upstream(upstream: &config::Upstream) -> Vec<(String, Self)> {
        fn label_sources<'a>(
            kind: &'static str,
            sources: impl Iterator<Item = Source> + 'a,
        ) -> impl Iterator<Item = (String, Source)> + 'a {
            sources.enumerate().map(move |(n, source)| (format!("{kind}/{n}"), source))
        }
        let statics = upstream.static_sources.iter().map(|config| Self::Static(StaticSource::new(config.clone())));
        let files = upstream.file_sources.iter().map(|config| Self::File(FileSource::new(config.clone())));
        let servers =
            upstream.http_sources.iter().map(|config| Self::HttpSd(Box::new(HttpSdSource::new(config.clone()))));
        let lists = upstream
            .list_sources
            .iter()
            .map(|config| Self::List(Box::new(UpstreamList::new(config.clone(), upstream))));
        let databases = upstream.sql_sources.iter().map(|config| Self::Database(DatabaseSource::new(config.clone())));
        label_sources("static", statics)
            .chain(label_sources("file", files))
            .chain(label_sources("http", servers))
            .chain(label_sources("list", lists))
            .chain(label_sources("sql", databases))
            .collect()
    }

    /// Identifies the source across reloads, whatever its index: its kind with its files, URL or query.
    pub fn identity(&self) -> String {
        match self {
            Self::Static(_) => "static".to_owned(),
            Self::File(file) => file.identity(),
            Self::HttpSd(server) => server.identity(),
            Self::List(list) => list.identity(),
            Self::Database(database) => database.identity(),
        }
    }

    /// Waits until it may be read, if a reload has interrupted the wait of an earlier reader.
    pub async fn resume(&mut self) {
        if let Self::List(list) = self {
            list.wait_for_permit().await;
        }
    }

    /// Reads besides what its upstream's tasks need, if it is the upstream's own list.
    pub fn follow(&mut self, demand: tokio::sync::watch::Receiver<ListDemand>) {
        if let Self::List(list) = self {
            list.follow(demand);
        }
    }

    /// Whether it reads over the network or from a database.
    pub const fn is_remote(&self) -> bool {
        matches!(self, Self::HttpSd(_) | Self::List(_) | Self::Database(_))
    }

    /// Takes over the state of the same source before a reload.
    pub fn inherit(&mut self, earlier: Self) {
        match (self, earlier) {
            (Self::File(now), Self::File(earlier)) => now.inherit(earlier),
            (Self::HttpSd(now), Self::HttpSd(earlier)) => now.inherit(*earlier),
            (Self::List(now), Self::List(earlier)) => now.inherit(*earlier),
            (Self::Database(now), Self::Database(earlier)) => now.inherit(earlier),
            _ => {}
        }
    }

    /// Reads the source, or one part of it. Cancel safe: the next read starts this part again.
    pub async fn read(&mut self) -> Listing {
        match self {
            Self::Static(fixed) => fixed.read(),
            Self::File(file) => file.read().await,
            Self::HttpSd(server) => server.read().await,
            Self::List(list) => list.read().await,
            Self::Database(database) => database.read().await,
        }
    }

    /// Waits until the source should be read again; returns for how long its rate limit has delayed that.
    pub async fn wait_until_due(&mut self) -> Option<Duration> {
        match self {
            Self::Static(_) => std::future::pending().await,
            Self::File(file) => file.wait_until_due().await,
            Self::HttpSd(server) => server.wait_until_due().await,
            Self::List(list) => return list.wait_until_due().await,
            Self::Database(database) => database.wait_until_due().await,
        }
        None
    }
}
