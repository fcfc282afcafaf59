//! From a file and the environment to a checked configuration, or to every problem at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use figment::providers::Env;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::problem::{Place, Problem, Problems, told};
use super::yaml::{self, Document};
use super::{ApiKey, Config, File, State, upstream};

/// What overrides begin with. Not the program's name: Kubernetes sets `VIDEOGEN_EXPORTER_PORT` for a Service of that name.
const PREFIX: &str = "VGX__";

/// The sections of the file.
const SECTIONS: [&str; 6] = ["polling", "tasks", "metrics", "state", "api", "upstreams"];

/// More problems than this are not looked for.
const MAX_PROBLEMS: usize = 200;

/// Every problem of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub Vec<Problem>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not valid")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigError {}

/// Reads the file at `path`, lays `VGX__…` variables over it, and checks everything, files that it refers to included.
///
/// # Errors
/// With every problem that was found.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let one =
        |message| ConfigError(vec![Problem { place: Place::File(path.to_owned(), None), key: String::new(), message }]);
    let text = fs::read_to_string(path).map_err(|error| one(format!("cannot read it: {error}")))?;
    parse(&text, path)
}

/// The same for a text that stands, or could stand, at `path`.
///
/// # Errors
/// With every problem that was found.
pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
    let document = yaml::parse(text).map_err(|error| {
        ConfigError(vec![Problem {
            place: Place::File(path.to_owned(), error.at),
            key: String::new(),
            message: error.message,
        }])
    })?;
    let sources = Sources { path: path.to_owned(), variables: variables(), document };
    let mut problems = Problems::default();
    let (file, removed) = sources.extract(&mut problems);
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut wrong = Problems::default();
    let (upstreams, api, state) = file.check(folder, &mut wrong);
    problems.extend(wrong, |key| removed.original(key));
    if file.upstreams.is_empty() && !problems.has_below("upstreams") && !problems.has_below("") {
        problems.add("upstreams", "at least one upstream is needed");
    }
    if problems.is_empty() {
        let mut file = file;
        file.polling = file.polling.over(None, "polling", &mut problems).into();
        file.state = file.state.filled_in();
        return Ok(Config { file, upstreams, api, state });
    }
    Err(ConfigError(problems.placed(|key| sources.place(key))))
}

impl File {
    fn check(&self, folder: &Path, problems: &mut Problems) -> (Vec<upstream::Upstream>, Vec<ApiKey>, State) {
        let polling = self.polling.over(None, "polling", problems);
        self.tasks.check("tasks", problems);
        self.metrics.check("metrics", problems);
        let state = self.state.check(folder, problems);
        let names: Vec<&str> = self.upstreams.iter().map(|entry| entry.name.0.as_str()).collect();
        let api = self.api.check(&names, folder, problems);
        (upstream::check_all(&self.upstreams, &polling, &self.polling, folder, problems), api, state)
    }
}

/// Override variables by the key that they set.
fn variables() -> BTreeMap<String, String> {
    let env = Env::prefixed(PREFIX).split("__");
    env.iter()
        .map(|(key, _)| {
            let key = key.into_string();
            let name = format!("{PREFIX}{}", key.replace('.', "__").to_uppercase());
            (key, name)
        })
        .collect()
}

/// The file and the environment.
struct Sources {
    path: PathBuf,
    variables: BTreeMap<String, String>,
    document: Document,
}

impl Provider for &Sources {
    fn metadata(&self) -> Metadata {
        Metadata::from("YAML file", self.path.as_path())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let dict = match &self.document.value {
            // A section with nothing in it is a section left out.
            Some(Value::Dict(_, dict)) => {
                let empty = |(key, value): &(&String, &Value)| {
                    SECTIONS.contains(&key.as_str()) && matches!(value, Value::Empty(..))
                };
                dict.iter().filter(|entry| !empty(entry)).map(|(key, value)| (key.clone(), value.clone())).collect()
            }
            _ => Dict::new(),
        };
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

impl Sources {
    /// The typed file. What does not fit is noted, taken out, and the rest is tried again: so all problems are found.
    fn extract(&self, problems: &mut Problems) -> (File, Removed) {
        let mut removed = Removed::default();
        if !matches!(self.document.value, None | Some(Value::Dict(..))) {
            problems.add("", "the file must be a mapping of sections such as `upstreams:`");
            return (File::default(), removed);
        }
        let mut value: Value = match Figment::new().merge(self).extract() {
            Ok(value) => value,
            Err(error) => {
                problems.add("", told(&error.kind));
                return (File::default(), removed);
            }
        };
        for (key, text) in Env::prefixed(PREFIX).split("__").iter() {
            let path: Vec<&str> = key.as_str().split('.').collect();
            let Ok(new) = text.parse::<Value>();
            if !put(&mut value, &path, new) {
                problems.add(key.as_str(), "the list in the file has no such entry");
            }
        }
        for _ in 0..MAX_PROBLEMS {
            match value.deserialize() {
                Ok(file) => return (file, removed),
                Err(error) => {
                    let key = error.path.join(".");
                    problems.add(removed.original(&key), told(&error.kind));
                    if !take_out(&mut value, &error.path) {
                        break;
                    }
                    removed.note(&key);
                }
            }
        }
        (File::default(), removed)
    }

    fn place(&self, key: &str) -> Place {
        let mut part = key;
        loop {
            if let Some(name) = self.variables.get(part) {
                return Place::Variable(name.clone());
            }
            if let Some(at) = self.document.places.get(part) {
                return Place::File(self.path.clone(), Some(*at));
            }
            let below = format!("{part}.");
            if let Some((_, name)) = self.variables.iter().find(|(key, _)| key.starts_with(&below)) {
                return Place::Variable(name.clone());
            }
            match part.rsplit_once('.') {
                Some((parent, _)) => part = parent,
                None => return Place::File(self.path.clone(), None),
            }
        }
    }
}

/// Puts a value at a path, through mappings and, by number, lists; false when the list has no such entry.
fn put(value: &mut Value, path: &[&str], new: Value) -> bool {
    let Some((key, rest)) = path.split_first() else {
        *value = new;
        return true;
    };
    if let Value::Array(_, items) = value {
        let item = key.parse::<usize>().ok().and_then(|n| items.get_mut(n));
        return item.is_some_and(|item| put(item, rest, new));
    }
    if !matches!(value, Value::Dict(..)) {
        *value = Value::from(Dict::new());
    }
    let Value::Dict(_, dict) = value else { return false };
    put(dict.entry((*key).to_owned()).or_insert_with(|| Value::from(Dict::new())), rest, new)
}

/// Elements that were taken out of lists, so that the others keep their numbers in what is told.
#[derive(Default)]
struct Removed(BTreeMap<String, BTreeSet<usize>>);

impl Removed {
    /// The element at `key` was taken out, if it was one.
    fn note(&mut self, key: &str) {
        let original = self.original(key);
        if let Some((list, n)) = original.rsplit_once('.')
            && let Ok(n) = n.parse()
        {
            self.0.entry(list.to_owned()).or_default().insert(n);
        }
    }

    /// The key as it stands in the file.
    fn original(&self, key: &str) -> String {
        let mut original = String::new();
        for part in key.split('.') {
            let number = part.parse::<usize>().ok().zip(self.0.get(&original));
            let part = number.map_or(part.to_owned(), |(n, gone)| {
                (0..).filter(|at| !gone.contains(at)).nth(n).unwrap_or(n).to_string()
            });
            if !original.is_empty() {
                original.push('.');
            }
            original.push_str(&part);
        }
        original
    }
}

/// Removes the value at `path`; false when there is none to remove.
fn take_out(value: &mut Value, path: &[String]) -> bool {
    let Some((key, rest)) = path.split_first() else { return false };
    match value {
        Value::Dict(_, dict) => match dict.get_mut(key) {
            Some(inner) if !rest.is_empty() => take_out(inner, rest),
            _ => dict.remove(key).is_some(),
        },
        Value::Array(_, items) => {
            let Some(at) = key.parse::<usize>().ok().filter(|at| *at < items.len()) else { return false };
            if rest.is_empty() {
                items.remove(at);
                true
            } else {
                take_out(&mut items[at], rest)
            }
        }
        _ => false,
    }
}
