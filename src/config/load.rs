//! Loads and checks a configuration from a file and the environment; reports all problems at once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use figment::providers::Env;
use figment::value::{Dict, Empty, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::lenient::{self, RemovedItems};
use super::polling::BodyLimits;
use super::problem::{Origin, Problem, Problems, describe};
use super::yaml::{self, Document};
use super::{ApiKey, Config, File, PriceList, State, upstream};
use crate::files;

/// Prefix of override variables. It differs from the program's name: Kubernetes sets `VIDEOGEN_EXPORTER_PORT` for a
/// Service of that name.
const ENV_PREFIX: &str = "VGX__";

/// Largest accepted configuration, in bytes.
const MAX_SIZE: u64 = 16 << 20;

/// Most memory of its values, in bytes. They are copied several times while they are checked.
const MAX_MEMORY: usize = 128 << 20;

/// Sections of the file.
const SECTIONS: [&str; 7] = ["polling", "tasks", "metrics", "state", "api", "pricing", "upstreams"];

/// All problems of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub Vec<Problem>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not valid")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    /// One problem of a whole file.
    pub fn of_file(path: &Path, message: String) -> Self {
        Self(vec![Problem { origin: Origin::File(path.to_owned(), None), key: String::new(), message }])
    }
}

/// Reads the file at `path`, applies `VGX__…` variables, and checks the result, including the files it names.
///
/// # Errors
/// With every problem that was found.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    parse(&read(path)?, path)
}

/// Like [`load`], for a check that sends nothing: credentials that systemd hides from this process are warnings.
///
/// # Errors
/// As [`load`].
pub fn load_to_check(path: &Path) -> Result<Config, ConfigError> {
    parse_with(&read(path)?, path, Problems::with_hidden_credentials_allowed())
}

fn read(path: &Path) -> Result<String, ConfigError> {
    files::read_text(path, MAX_SIZE)
        .map_err(|error| ConfigError::of_file(path, format!("cannot read the file: {error}")))
}

/// What relative paths are relative to.
fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

/// Reads where the state lies, and warnings about that. Other sections are not checked: the files and variables that they name may be those of a service.
///
/// # Errors
/// When the file cannot be read, or `state` is not valid.
pub fn load_state(path: &Path) -> Result<(State, Vec<String>), ConfigError> {
    let input = ConfigInput::parse(&read(path)?, path)?;
    let mut problems = Problems::default();
    let (file, _) = input.extract(&mut problems);
    let state = file.state.check(folder_of(path), &mut problems);
    if problems.has_at_or_below("state") || problems.has_at_or_below("") {
        return Err(ConfigError(problems.with_origins(|key| input.origin_of(key))));
    }
    Ok((state, problems.warnings()))
}

/// Like [`load`], for a text; `path` is for messages and relative paths.
///
/// # Errors
/// With every problem that was found.
pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
    parse_with(text, path, Problems::default())
}

fn parse_with(text: &str, path: &Path, mut check_problems: Problems) -> Result<Config, ConfigError> {
    let input = ConfigInput::parse(text, path)?;
    let mut problems = Problems::default();
    let (file, removed) = input.extract(&mut problems);
    let folder = folder_of(path);
    let Checked { upstreams, api, state, pricing } = file.check(folder, &mut check_problems);
    problems.extend(check_problems, |key| removed.original_key(key));
    if file.upstreams.is_empty() && !problems.has_at_or_below("upstreams") && !problems.has_at_or_below("") {
        problems.add("upstreams", "at least one upstream is needed");
    }
    if problems.is_empty() {
        let mut file = file;
        file.polling = file.polling.resolve(None, BodyLimits::USUAL, "polling", &mut problems).into();
        return Ok(Config { file, upstreams, api, state, pricing, warnings: problems.warnings() });
    }
    Err(ConfigError(problems.with_origins(|key| input.origin_of(key))))
}

/// The sections that were checked.
struct Checked {
    upstreams: Vec<upstream::Upstream>,
    api: Vec<ApiKey>,
    state: State,
    pricing: Option<PriceList>,
}

impl File {
    fn check(&self, folder: &Path, problems: &mut Problems) -> Checked {
        let polling = self.polling.resolve(None, BodyLimits::USUAL, "polling", problems);
        self.tasks.check("tasks", problems);
        self.metrics.check("metrics", problems);
        let state = self.state.check(folder, problems);
        let names: Vec<&str> = self.upstreams.iter().map(|entry| entry.name.0.as_str()).collect();
        let api = self.api.check(&names, &self.metrics.aggregate_labels, folder, problems);
        let pricing = self.pricing.as_ref().and_then(|pricing| pricing.check(folder, problems));
        let defaults = upstream::Defaults {
            polling: &polling,
            polling_config: &self.polling,
            stuck: self.tasks.stuck,
            pricing: pricing.as_ref(),
        };
        let upstreams = upstream::check_all(&self.upstreams, &defaults, folder, problems);
        Checked { upstreams, api, state, pricing }
    }
}

/// The keys that variables override, with the texts of their values. A key comes before those below it.
fn overrides() -> BTreeMap<String, String> {
    let env = Env::prefixed(ENV_PREFIX).split("__");
    env.iter().map(|(key, text)| (key.into_string(), text)).collect()
}

/// Override variables, by the key that they set.
fn override_variables() -> BTreeMap<String, String> {
    let name_of = |key: &str| format!("{ENV_PREFIX}{}", key.replace('.', "__").to_uppercase());
    overrides().into_keys().map(|key| (key.clone(), name_of(&key))).collect()
}

/// The file and the environment.
struct ConfigInput {
    path: PathBuf,
    variables: BTreeMap<String, String>,
    document: Document,
}

impl Provider for &ConfigInput {
    fn metadata(&self) -> Metadata {
        Metadata::from("YAML file", self.path.as_path())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let dict = match &self.document.value {
            Some(Value::Dict(_, dict)) => dict.clone(),
            _ => Dict::new(),
        };
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

impl ConfigInput {
    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let document = yaml::parse_within(text, MAX_MEMORY).map_err(|error| {
            ConfigError(vec![Problem {
                origin: Origin::File(path.to_owned(), error.at),
                key: String::new(),
                message: error.message,
            }])
        })?;
        Ok(Self { path: path.to_owned(), variables: override_variables(), document })
    }

    /// Deserializes the file. Removes each value that does not fit and tries again, to find all problems.
    fn extract(&self, problems: &mut Problems) -> (File, RemovedItems) {
        let nothing = || (File::default(), RemovedItems::default());
        if !matches!(self.document.value, None | Some(Value::Dict(..))) {
            problems.add("", "the file must be a mapping of sections such as `upstreams:`");
            return nothing();
        }
        let mut value: Value = match Figment::new().merge(self).extract() {
            Ok(value) => value,
            Err(error) => {
                problems.add("", describe(&error.kind));
                return nothing();
            }
        };
        for (key, text) in overrides() {
            let path: Vec<&str> = key.split('.').collect();
            match yaml::parse(&text) {
                Err(error) => problems.add(key.as_str(), error.message),
                Ok(new) => {
                    let new = new.value.unwrap_or_else(|| Value::from(Empty::Unit));
                    if !set_at(&mut value, &path, new) {
                        problems.add(key.as_str(), "the list in the file has no such entry");
                    }
                }
            }
        }
        if let Value::Dict(_, sections) = &mut value {
            // An empty section means its defaults.
            sections.retain(|key, value| !(SECTIONS.contains(&key.as_str()) && matches!(value, Value::Empty(..))));
        }
        lenient::deserialize(value, problems)
    }

    fn origin_of(&self, key: &str) -> Origin {
        // A variable replaces all that the file has below its key.
        let mut above = Some(key);
        while let Some(part) = above {
            if let Some(name) = self.variables.get(part) {
                return Origin::Variable(name.clone());
            }
            above = part.rsplit_once('.').map(|(parent, _)| parent);
        }
        let mut part = key;
        loop {
            if let Some(at) = self.document.positions.get(part) {
                return Origin::File(self.path.clone(), Some(*at));
            }
            let below = format!("{part}.");
            if let Some((_, name)) = self.variables.iter().find(|(key, _)| key.starts_with(&below)) {
                return Origin::Variable(name.clone());
            }
            match part.rsplit_once('.') {
                Some((parent, _)) => part = parent,
                None => return Origin::File(self.path.clone(), None),
            }
        }
    }
}

/// Sets the value at a path of keys and list indexes; false when a list has no such entry.
fn set_at(value: &mut Value, path: &[&str], new: Value) -> bool {
    let Some((key, rest)) = path.split_first() else {
        *value = new;
        return true;
    };
    if let Value::Array(_, items) = value {
        let item = key.parse::<usize>().ok().and_then(|n| items.get_mut(n));
        return item.is_some_and(|item| set_at(item, rest, new));
    }
    if !matches!(value, Value::Dict(..)) {
        *value = Value::from(Dict::new());
    }
    let Value::Dict(_, dict) = value else { return false };
    set_at(dict.entry((*key).to_owned()).or_insert_with(|| Value::from(Dict::new())), rest, new)
}
