//! Where a value is in a response: paths of the configuration, whose work is bounded.

use std::borrow::Cow;

use serde_json::Value;
use serde_json_path::JsonPath;

use super::read::json;
use crate::domain::drift::FieldProblem;

/// The path of a field in a response.
#[derive(Debug, Clone)]
pub enum FieldPath {
    /// A JSON Pointer (RFC 6901).
    Pointer(String),
    /// A `JSONPath` (RFC 9535); its first match is used.
    Path(JsonPath),
}

/// Where a value is: a path, and further paths in the JSON that the text at the path before contains.
#[derive(Debug, Clone)]
pub struct Place {
    first: FieldPath,
    inside: Vec<FieldPath>,
}

impl Place {
    /// From paths, of which there is at least one.
    ///
    /// # Errors
    /// With the position of an invalid path, and what is wrong with it.
    pub fn parse<'a>(paths: impl IntoIterator<Item = &'a str>) -> Result<Self, (usize, String)> {
        let parse = |(n, path)| FieldPath::parse(path).map_err(|message| (n, message));
        let mut paths = paths.into_iter().enumerate().map(parse);
        let first = paths.next().unwrap_or_else(|| Err((0, "has no path".to_owned())))?;
        Ok(Self { first, inside: paths.collect::<Result<_, _>>()? })
    }

    /// The value.
    ///
    /// # Errors
    /// When a text is not JSON.
    pub fn find_in<'a>(&self, value: &'a Value) -> Result<Option<Cow<'a, Value>>, FieldProblem> {
        let Some(mut found) = self.first.find_in(value).map(Cow::Borrowed) else { return Ok(None) };
        for path in &self.inside {
            let text = match &*found {
                Value::Null => return Ok(None),
                Value::String(text) if text.trim().is_empty() => return Ok(None),
                Value::String(text) => text,
                _ => return Err(FieldProblem::WrongType),
            };
            let parsed = json::parse(text.as_bytes()).map_err(|_| FieldProblem::Unreadable)?;
            let Some(inner) = path.find_in(&parsed) else { return Ok(None) };
            found = Cow::Owned(inner.clone());
        }
        Ok(Some(found))
    }

    /// Whether there is a value other than null, false, an empty text, list or object.
    pub fn has_value(&self, value: &Value) -> bool {
        has_value(self.find_in(value).ok().flatten().as_deref())
    }
}

/// Whether there is a value other than null, false, an empty text, list or object.
pub fn has_value(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(Value::Bool(true) | Value::Number(_)) => true,
    }
}

impl FieldPath {
    /// Parses `/a/0/b` or `$.a[0].b`.
    ///
    /// # Errors
    /// When it is neither, or too expensive.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('$') {
            if let Some(problem) = find_expensive_part(text) {
                return Err(format!("is too expensive: {problem}"));
            }
            return JsonPath::parse(text)
                .map(Self::Path)
                .map_err(|error| format!("is not a valid JSONPath: {}", error.message()));
        }
        if !text.starts_with('/') {
            return Err(
                "is neither a JSON Pointer, which begins with /, nor a JSONPath, which begins with $".to_owned()
            );
        }
        if text.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1'])) {
            return Err("is not a valid JSON Pointer: write ~ as ~0, and / in a name as ~1".to_owned());
        }
        Ok(Self::Pointer(text.to_owned()))
    }

    fn find_in<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        match self {
            Self::Pointer(pointer) => value.pointer(pointer),
            Self::Path(path) => path.query(value).first(),
        }
    }
}

/// Longest `JSONPath`, in bytes.
const MAX_PATH: usize = 1024;

/// Most selectors of one pair of brackets.
const MAX_SELECTORS: usize = 16;

/// Why the work of a `JSONPath` may grow faster than the size of a response, if it may.
///
/// Otherwise no value is selected more than [`MAX_SELECTORS`] times. A key, an index, `*` and a slice select each child of a value
/// at most once, and a value has one parent. Only `..` selects a value for each of its ancestors, so it appears once; and several
/// selectors in brackets select it several times, so they appear once, with one wildcard. A filter is evaluated once for each of
/// these values. It reads single values at or below it, without patterns, whose work does not depend on the text alone.
fn find_expensive_part(path: &str) -> Option<&'static str> {
    if path.len() > MAX_PATH {
        return Some("it is longer than 1024 bytes");
    }
    let (mut quote, mut is_escaped) = (None, false);
    // The path without its quoted parts, which cannot contain operators.
    let mut plain = String::with_capacity(path.len());
    for c in path.chars() {
        match (quote, c) {
            _ if is_escaped => is_escaped = false,
            (Some(_), '\\') => is_escaped = true,
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, c) => plain.push(c),
        }
    }
    let (before, filter) = plain.split_once('?').unwrap_or((&plain, ""));
    if plain.matches("..").count() > 1 {
        Some("`..` may appear only once")
    } else if filter.contains("..") || filter.contains(['*', ':', '?', '$']) {
        Some("a filter, and what follows it, must not contain `..`, `*`, a slice, `$` or another filter")
    } else if filter.contains("match(") || filter.contains("search(") {
        Some("a filter must not call match or search")
    } else if selectors(&plain).filter(|brackets| brackets.contains(',')).count() > 1 {
        Some("only one pair of brackets may have several selectors")
    } else if selectors(&plain).any(|brackets| brackets.split(',').count() > MAX_SELECTORS) {
        Some("brackets may contain at most 16 selectors")
    } else if selectors(before).any(has_two_wildcards) {
        Some("brackets may contain only one `*` or slice")
    } else {
        None
    }
}

/// What is inside each pair of brackets.
fn selectors(path: &str) -> impl Iterator<Item = &str> {
    path.split('[').skip(1).filter_map(|brackets| brackets.split(']').next())
}

fn has_two_wildcards(brackets: &str) -> bool {
    brackets.split(',').filter(|selector| selector.contains(['*', ':'])).count() > 1
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_paths_in_linear_time_are_accepted() {
        for path in [
            "$.a",
            "$..status",
            "$.data[0].status",
            "$['a..b*']..x",
            "$.list[?@.id == 'a..*?'].status",
            "$.a[*]",
            "$[0,1]",
            "$..[?@.match == 'match(']",
        ] {
            assert!(FieldPath::parse(path).is_ok(), "{path}: {:?}", FieldPath::parse(path).err());
        }
        let (many, long) = (format!("$[{}0]", "0,".repeat(16)), format!("${}", ".a".repeat(600)));
        assert!(FieldPath::parse("$[?match (@.a, 'x')]").is_err(), "a function has no space after its name");
        for path in [
            "$..a..b",
            "$..*..*",
            "$[?@..a]",
            "$.a[?count(@.b[*]) > 1]",
            "$[?@.a[?@.b]]",
            "$[*,*][*,*]",
            "$[0:,1:]",
            "$[0,0][0,0]",
            "$['a','a']['a','a']",
            "$[0,-1][0,-1]",
            "$[0,*].a[0,*]",
            "$..[?length($.prompt) > 3]",
            "$..[?match(@.a, @.b)]",
            "$..[?search(@.a, 'x')]",
            &many,
            &long,
        ] {
            let error = FieldPath::parse(path).unwrap_err();
            assert!(error.starts_with("is too expensive: "), "{path}: {error}");
        }
    }

    /// Counts values instead of time: all that any accepted path selects, in documents of two sizes that are deep, wide or both.
    #[test]
    fn an_accepted_path_selects_each_value_a_bounded_number_of_times() {
        fn count(value: &Value) -> usize {
            let below = match value {
                Value::Array(items) => items.iter().map(count).sum(),
                Value::Object(fields) => fields.values().map(count).sum(),
                _ => 0,
            };
            1 + below
        }
        let nest = |depth: usize, inner: Value, one: fn(Value) -> Value| (0..depth).fold(inner, |value, _| one(value));
        let documents = |size: usize| {
            [
                nest(size / 2, json!(1), |value| json!({"a": value})),
                nest(size / 2, json!(1), |value| json!([value])),
                nest(size / 2, json!(1), |value| json!({"a": value, "b": [{"a": 1}, {"a": 2}]})),
                nest(7, json!([1, 2, 3, 4, 5, 6, 7, 8]), |value| json!([value, value])),
                Value::from(vec![json!({"a": [1, 2], "b": {"a": 1}}); size]),
            ]
        };
        let mut selected = 0;
        for path in
            ["$..a", "$..*", "$..[*]", "$..[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,*]", "$..*[*]", "$[*][*].a[0:]", "$..[?@.a]"]
        {
            let FieldPath::Path(path) = FieldPath::parse(path).unwrap() else { panic!("{path} is not a JSONPath") };
            for document in documents(50).into_iter().chain(documents(200)) {
                let (visits, nodes) = (path.query(&document).len(), count(&document));
                assert!(visits <= MAX_SELECTORS * nodes, "{path:?}: {visits} of {nodes}");
                selected += visits;
            }
        }
        assert!(selected > 10_000, "{selected}");
    }
}
