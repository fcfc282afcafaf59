//! Removes from an upstream's error texts what others must not see: URLs, keys, amounts of money, and long quotations, which may
//! be a prompt.

use super::labels::{self, REDACTED, is_invisible};

/// Longest scrubbed text, in characters.
pub const MAX_CHARS: usize = 300;

/// The rest of a longer text is not read, in characters: an answer may have megabytes.
const MAX_READ: usize = 4096;

/// Longer quotations may be a prompt, in characters.
const MAX_QUOTATION: usize = 40;

/// What is written in place of a long quotation.
const QUOTATION: &str = "[text]";

/// What is written in place of an amount of money.
const AMOUNT: &str = "[amount]";

/// A number near one of these words is an amount of money.
const MONEY_WORDS: [&str; 19] = [
    "balance",
    "quota",
    "credit",
    "credits",
    "remain",
    "remaining",
    "余额",
    "额度",
    "积分",
    "点数",
    "usd",
    "cny",
    "rmb",
    "eur",
    "gbp",
    "jpy",
    "dollars",
    "yuan",
    "cents",
];

/// How many words may be between such a word and a number after it. A number before it is the word before.
const MONEY_REACH: usize = 3;

const CURRENCIES: [char; 7] = ['$', '＄', '¥', '￥', '€', '£', '元'];

/// A word that names a key: the word after it is one.
const KEY_WORDS: [&str; 12] = [
    "key",
    "apikey",
    "api_key",
    "api-key",
    "token",
    "secret",
    "password",
    "authorization",
    "bearer",
    "密钥",
    "令牌",
    "密码",
];

/// A word of this length after a word that names a key is that key, even without a digit, in bytes.
const MIN_KEY: usize = 16;

/// A text of an upstream that may be stored and shown to those who operate the exporter; `None` when nothing is left of it.
pub fn scrub(text: &str) -> Option<String> {
    let mut chars = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !is_invisible(*c));
    let mut visible: String = chars.by_ref().take(MAX_READ).collect();
    if chars.next().is_some() {
        // The last word may be a part of a key.
        visible.truncate(visible.rfind(' ').unwrap_or(visible.len()));
    }
    let unquoted = mask_quotations(&visible);
    let text = mask_words(&labels::mask_urls(&unquoted));
    let scrubbed: String = text.trim().chars().take(MAX_CHARS).collect();
    (!scrubbed.is_empty()).then_some(scrubbed)
}

/// Replaces long texts in quotation marks.
fn mask_quotations(text: &str) -> String {
    const PAIRS: [(char, char); 5] = [('"', '"'), ('“', '”'), ('「', '」'), ('`', '`'), ('\'', '\'')];
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c| PAIRS.iter().any(|(open, _)| *open == c)) {
        let open = rest[at..].chars().next().unwrap_or('"');
        let close = PAIRS.iter().find(|(known, _)| *known == open).map_or('"', |(_, close)| *close);
        masked.push_str(&rest[..at]);
        let inside = &rest[at + open.len_utf8()..];
        // An apostrophe within a word begins no quotation.
        let is_apostrophe = open == '\'' && masked.ends_with(char::is_alphanumeric);
        masked.push(open);
        rest = inside;
        if is_apostrophe {
            continue;
        }
        let is_alphanumeric = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let closes = |at: &usize| {
            let after = inside[at + close.len_utf8()..].chars().next();
            close != '\'' || !(is_alphanumeric(inside[..*at].chars().next_back()) && is_alphanumeric(after))
        };
        // A quotation that does not end may be a prompt that was cut.
        let end = inside.match_indices(close).map(|(at, _)| at).find(closes).unwrap_or(inside.len());
        let (quoted, after) = inside.split_at(end);
        masked.push_str(if quoted.chars().count() > MAX_QUOTATION { QUOTATION } else { quoted });
        masked.extend(after.chars().next());
        rest = after.get(close.len_utf8()..).unwrap_or_default();
    }
    masked.push_str(rest);
    masked
}

/// Replaces words that look like keys or amounts of money.
fn mask_words(text: &str) -> String {
    let mut words = Vec::new();
    for (word, separator) in pieces(text) {
        // A key may contain a slash, but it may also follow one, or a word of a script that has no spaces.
        let parts = if is_key_like(word) { vec![word] } else { parts(word) };
        let last = parts.len().saturating_sub(1);
        words.extend(parts.into_iter().enumerate().map(|(n, part)| (part, if n == last { separator } else { "" })));
    }
    let mut masked = String::with_capacity(text.len());
    // How many words ago there was a word about money, and whether the words before name a key, or a request.
    let (mut since_money, mut names_key, mut names_request) = (usize::MAX, false, NamesRequest::No);
    for (n, (word, separator)) in words.iter().enumerate() {
        if word.is_empty() {
            masked.push_str(separator);
            continue;
        }
        let lower = word.to_lowercase();
        let has_digit = word.contains(|c: char| c.is_ascii_digit());
        let is_near_money = || {
            let next = words[n + 1..].iter().map(|(next, _)| next).find(|next| !next.is_empty());
            since_money <= MONEY_REACH || next.is_some_and(|next| is_about_money(&next.to_lowercase()))
        };
        let is_money = match amount(&lower) {
            Some(unit) => !unit.is_empty() || is_near_money(),
            None => has_digit && word.contains(CURRENCIES),
        };
        let is_named_key = names_key && (has_digit || word.contains('*') || word.len() >= MIN_KEY && word.is_ascii());
        // What the upstream's support asks for first.
        let is_request_id = names_request == NamesRequest::Yes && !has_key_mark(word);
        masked.push_str(if is_named_key || is_key_like(word) && !is_request_id {
            REDACTED
        } else if is_money {
            AMOUNT
        } else {
            word
        });
        masked.push_str(separator);
        since_money = if is_about_money(&lower) { 0 } else { since_money.saturating_add(1) };
        names_request = match (&*lower, names_request) {
            ("request_id" | "requestid", _) | ("id", NamesRequest::Maybe) => NamesRequest::Yes,
            ("request", _) => NamesRequest::Maybe,
            _ => NamesRequest::No,
        };
        names_key = KEY_WORDS.contains(&&*lower) || names_key && matches!(&*lower, "is" | "provided" | "given" | "/");
    }
    masked
}

/// The words of a text, each with the separator after it.
fn pieces(text: &str) -> Vec<(&str, &str)> {
    let is_separator = |c: char| c == ' ' || ",;:=()[]{}<>\"'`“”「」，。：；（）".contains(c);
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let mut pieces = Vec::new();
    let mut begin = 0;
    for (at, c) in text.char_indices().filter(|(_, c)| is_separator(*c)) {
        let after = at + c.len_utf8();
        // A comma between digits separates thousands.
        if c == ',' && is_digit(text[..at].chars().next_back()) && is_digit(text[after..].chars().next()) {
            continue;
        }
        pieces.push((&text[begin..at], &text[at..after]));
        begin = after;
    }
    pieces.push((&text[begin..], ""));
    pieces
}

/// Whether the next word is the id of a request: after `request id`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NamesRequest {
    No,
    Maybe,
    Yes,
}

/// The parts of a word: the script changes, or a slash stands, where one ends.
fn parts(word: &str) -> Vec<&str> {
    let kind = |c: char| (c == '/', c.is_ascii() || CURRENCIES.contains(&c));
    let mut parts = Vec::new();
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| kind(c) != kind(first)).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        parts.push(part);
        rest = after;
    }
    if parts.is_empty() { vec![word] } else { parts }
}

/// The name of the currency that is written with a number, which may be empty; `None` if this is no number.
fn amount(lower: &str) -> Option<&str> {
    let is_of_number = |c: char| c.is_ascii_digit() || ".,-+".contains(c);
    let number = lower.trim_end_matches(char::is_alphabetic).trim_start_matches(char::is_alphabetic);
    let is_number = number.contains(|c: char| c.is_ascii_digit()) && number.chars().all(is_of_number);
    let unit = lower.trim_start_matches(is_of_number).trim_end_matches(is_of_number);
    (is_number && (unit.is_empty() || is_about_money(unit))).then_some(unit)
}

fn is_about_money(lower: &str) -> bool {
    MONEY_WORDS.iter().any(|money| lower.ends_with(money))
        || !lower.is_empty() && lower.chars().all(|c| CURRENCIES.contains(&c))
}

/// Whether a word looks like a key.
fn is_key_like(word: &str) -> bool {
    has_key_mark(word) || labels::is_secret_like(word)
}

/// Whether a word begins as keys do, or was masked in part by its owner.
fn has_key_mark(word: &str) -> bool {
    const PREFIXES: [&str; 14] =
        ["sk-", "sk_", "ak-", "pk-", "rk-", "akia", "aklt", "aiza", "ghp_", "xai-", "r8_", "key_", "luma-", "eyj"];
    let lower = word.to_ascii_lowercase();
    let has_prefix = PREFIXES.iter().any(|prefix| lower.starts_with(prefix) && lower.len() >= prefix.len() + 4);
    has_prefix || word.contains("***")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_error_text_keeps_its_words_and_loses_secrets() {
        for (text, scrubbed) in [
            ("The prompt was refused by the content policy", "The prompt was refused by the content policy"),
            (
                "task failed, code: DataInspectionFailed , message: x",
                "task failed, code: DataInspectionFailed , message: x",
            ),
            ("see https://x.y/v?sig=1 for more", "see [url] for more"),
            ("Incorrect API key provided: sk-abc1***wxyz. Find it", "Incorrect API key provided: redacted Find it"),
            ("invalid token 12345", "invalid token redacted"),
            ("用户额度不足, 剩余额度: ＄0.123456", "用户额度不足, 剩余额度: [amount]"),
            ("token remain quota: 500000, need 700000", "token remain quota: [amount], need [amount]"),
            ("Your balance of 12.34 is too low", "Your balance of [amount] is too low"),
            ("prompt \"a cat that rides a bicycle through the rain at night\" refused", "prompt \"[text]\" refused"),
            ("unknown field \"size\" isn't allowed", "unknown field \"size\" isn't allowed"),
            ("a\u{1b}[31mred\u{202e}\nnext", "a[31mred next"),
            ("Image pixel is invalid: 100x100, at least 300", "Image pixel is invalid: 100x100, at least 300"),
            ("(E005) (fixture0005)", "(E005) (fixture0005)"),
            ("Authorization: Bearer abcdefghijklmnopqrst", "Authorization: Bearer redacted"),
            (
                "limit. Request id: 0217951328000000000000000000fixture",
                "limit. Request id: 0217951328000000000000000000fixture",
            ),
            ("Request id: sk-abcdef12", "Request id: redacted"),
            ("密钥sk-abcdef12无效", "密钥redacted无效"),
            ("keys/luma-1234abcd/x", "keys/redacted/x"),
            ("余额0.52不足", "余额[amount]不足"),
            ("need $1,234.56 more", "need [amount] more"),
            ("1,234.56 USD or $ 12.34 or 12.34 元", "[amount] USD or $ [amount] or [amount] 元"),
            ("prompt 'a cat that doesn't stop running through the rain at night' refused", "prompt '[text]' refused"),
            ("needs 12.5 credits, or 12.34USD", "needs [amount] credits, or [amount]"),
            ("余额不足，需要5积分", "余额不足，需要[amount]积分"),
            ("at most 4 images per task of 10s", "at most 4 images per task of 10s"),
            ("an image/png of 720p at 24fps", "an image/png of 720p at 24fps"),
        ] {
            assert_eq!(scrub(text).as_deref(), Some(scrubbed), "{text}");
        }
        assert_eq!((scrub(" \u{200b}"), scrub("")), (None, None));
        // The key is cut where it does not look like one yet.
        let cut = format!("\"{}\" sk-S3CR3Tabc", "p".repeat(MAX_READ - 9));
        assert_eq!(scrub(&cut).as_deref(), Some("\"[text]\""));
    }

    proptest! {
        #[test]
        fn no_secret_survives_wherever_it_stands(
            before in "[a-zA-Z ,.:;(\"']{0,60}",
            glue in prop_oneof![Just(" "), Just(" /"), Just("密钥"), Just("："), Just("余额"), Just("("), Just("=")],
            after in "(|[ ,;)\"'，。无][a-zA-Z ,.:;)\"']{0,60})",
            secret in prop_oneof![
                Just("https://media.example.com/v.mp4?X-Sig=S3CR3T"),
                Just("sk-S3CR3Tabcdef0123456789"),
                Just("AIzaS3CR3Tabcdef0123456789"),
                Just("key_S3CR3Tabcdef"),
                Just("luma-S3CR3Tabcdef"),
                Just("AKLTS3CR3Tabcdef"),
                Just("eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJTM0NSM1QifQ.S3CR3T"),
                Just("data:video/mp4;base64,S3CR3T"),
                Just("S3CR3T0123456789abcdef0123456789abcdef"),
                Just("$S3CR3T0.12"),
                Just("Bearer S3CR3T0123456789abcdef0123456789"),
                Just("Bearer S3CR3T"),
            ],
        ) {
            let text = format!("{before}{glue}{secret}{after}");
            let scrubbed = scrub(&text).unwrap_or_default();
            prop_assert!(!scrubbed.contains("S3CR3T"), "{scrubbed}");
        }

        #[test]
        fn no_amount_of_money_survives(
            amount in "[1-9][0-9]{2,5}\\.[0-9]{2}|[1-9][0-9]?,[0-9]{3}\\.[0-9]{2}",
            (before, after) in prop_oneof![
                Just(("balance ", " is low")), Just(("余额", "")), Just(("余额: ", "。")), Just(("$", ".")), Just(("need ", " credits")),
                Just(("", "USD")), Just(("USD", "")), Just(("quota is only ", "")), Just(("需要", "积分")), Just(("￥", "元")), Just(("$ ", "")), Just(("", " 元")),
            ],
        ) {
            let scrubbed = scrub(&format!("{before}{amount}{after}")).unwrap_or_default();
            prop_assert!(!scrubbed.contains(|c: char| c.is_ascii_digit()), "not even a part: {scrubbed}");
        }

        #[test]
        fn any_text_becomes_short_and_visible(text in "\\PC{0,400}|.{0,400}") {
            let Some(once) = scrub(&text) else { return Ok(()) };
            prop_assert!(once.chars().count() <= MAX_CHARS && !once.contains(is_invisible), "{once:?}");
            prop_assert!(labels::mask_urls(&once) == once, "{once:?}");
        }
    }
}
