//! Decoding of responses: lenient values, tables of documented fields, errors and failures.

pub mod answer;
pub mod error;
pub mod failures;
pub mod fields;
pub mod json;
pub mod lenient;
pub mod signed_url;
pub mod status_words;
