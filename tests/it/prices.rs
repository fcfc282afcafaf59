//! What tasks cost: every video entry of `LiteLLM`'s table, and recorded answers of each vendor by prices in each vendor's own way.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use videogen_exporter::config::{self, Config};
use videogen_exporter::domain::pricing::{Billing, CostSource, Money, Unpriced, Usage};
use videogen_exporter::domain::reading::{Cost, Tokens};
use videogen_exporter::domain::{Answer, Status, Timestamp};

use crate::documents;
use crate::program::program;
use crate::providers::manifest;

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)
}

/// The table as `LiteLLM` 1.108.7 ships it, its video entries and one of another mode.
fn table() -> serde_json::Map<String, Value> {
    serde_json::from_str(&fs::read_to_string(fixture("prices/litellm-video.json")).unwrap()).unwrap()
}

/// A configuration of one upstream `u`.
fn config(pricing: &str, upstream: &str) -> Config {
    let text = format!("pricing: {{{pricing}}}\nupstreams: [{{name: u, {upstream}}}]\n");
    config::parse(&text, &fixture("prices/test.yml")).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A success without any usage.
fn success(model: &str) -> Usage<'_> {
    Usage {
        status: Status::Succeeded,
        submitted: Timestamp::from_secs(1_795_132_800),
        models: [Some(model), None],
        resolution: None,
        service_tier: None,
        tokens: Tokens::default(),
        video_seconds: None,
        units: None,
        quota: None,
        reported: None,
        billing: Billing::default(),
    }
}

fn quote(config: &Config, usage: &Usage<'_>) -> Result<Money, Unpriced> {
    config.upstreams[0].billing.pricing.as_ref().unwrap().quote(usage).cost
}

fn micros(config: &Config, usage: &Usage<'_>) -> Result<u64, Unpriced> {
    quote(config, usage).map(|money| money.micros)
}

/// An amount as it is written, times 5.04, in micro-units, rounded half up: by integers.
fn times_five_seconds(amount: &Value) -> u64 {
    let text = amount.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
    let trillionths: u64 = format!("{whole}{fraction:0<12}").parse().unwrap();
    (trillionths * 504 / 100 + 500_000) / 1_000_000
}

/// `LiteLLM`'s names of the providers in the table.
const PROXIED: [&str; 10] = [
    "dashscope",
    "qwen_ai_platform",
    "qwencloud",
    "fal_ai",
    "gemini",
    "vertex_ai",
    "minimax",
    "runwayml",
    "volcengine",
    "xai",
];

#[test]
fn every_video_entry_of_litellms_table_prices_its_model_to_the_micro_unit() {
    const TIERS: [(&str, &str); 6] =
        [("480p", "480p"), ("720p", "720p"), ("768p", "1366x768"), ("1080p", "1080p"), ("2k", "2K"), ("4k", "4K")];
    let providers = |name: &str| match name {
        "dashscope" | "qwen_ai_platform" => "provider: dashscope",
        "qwencloud" => "provider: dashscope, base_url: 'https://dashscope-intl.aliyuncs.com'",
        "fal_ai" => "provider: fal",
        "gemini" | "vertex_ai" => "provider: veo",
        "minimax" => "provider: minimax_hailuo",
        "runwayml" => "provider: runway",
        "volcengine" => "provider: ark",
        "xai" => "provider: xai",
        "openai" | "azure" => "provider: openai_videos, base_url: 'https://api.openai.com/v1'",
        other => panic!("{other}"),
    };
    let (mut entries, mut compared) = (0, 0);
    for (key, entry) in table() {
        let (upstream, model) = match key.split_once('/') {
            Some((provider, model)) => (providers(provider), model),
            None => ("provider: kling", key.as_str()),
        };
        let direct = config("files: [litellm-video.json]", upstream);
        let gateway = config("files: [litellm-video.json]", "provider: tokenhot");
        let behind_litellm =
            config("files: [litellm-video.json]", "provider: litellm, base_url: 'http://127.0.0.1:4000'");
        if entry["mode"] != "video_generation" {
            assert_eq!(micros(&direct, &Usage { video_seconds: Some(5.0), ..success(model) }), Err(Unpriced::NoRule));
            continue;
        }
        entries += 1;
        let otherwise = ["output_cost_per_second", "output_cost_per_video_per_second"];
        let otherwise = otherwise.iter().map(|key| &entry[key]).find(|amount| amount.is_number()).unwrap();
        for (tier, told) in TIERS.into_iter().map(|(tier, told)| (tier, Some(told))).chain([("", None)]) {
            let amount = &entry[format!("output_cost_per_second_{tier}")];
            let expected = times_five_seconds(if amount.is_number() { amount } else { otherwise });
            let usage = Usage { video_seconds: Some(5.04), resolution: told, ..success(model) };
            assert_eq!(micros(&direct, &usage), Ok(expected), "{key} {tier}");
            // Its proxy names the provider that it has asked.
            let name = key.split_once('/').and_then(|(name, _)| PROXIED.into_iter().find(|known| *known == name));
            let proxied = Usage { billing: Billing { litellm_provider: name, ..usage.billing }, ..usage };
            assert_eq!(micros(&behind_litellm, &proxied), Ok(expected), "{key} {tier} behind LiteLLM");
            assert_eq!(micros(&direct, &Usage { video_seconds: None, ..usage }), Err(Unpriced::NoDuration));
            if !key.starts_with("qwencloud") {
                assert!(micros(&gateway, &usage).is_ok(), "{key} inside a gateway");
            }
            compared += 1;
        }
        let of_another = config("files: [litellm-video.json]", "provider: vidu");
        let cost = micros(&of_another, &Usage { video_seconds: Some(5.0), ..success(model) });
        let has_bare_twin = table().contains_key(model);
        assert_eq!(cost.is_ok(), has_bare_twin, "{key} is no model of vidu");
    }
    assert_eq!((entries, compared), (85, 85 * 7));
}

#[test]
fn own_rules_come_before_tables_and_the_longest_key_decides_among_entries() {
    let own = "rules: [{match: {model: 'SORA-2'}, price: {per: task, amount: 7}}], files: [litellm-video.json]";
    let usage = Usage { video_seconds: Some(10.0), ..success("sora-2") };
    assert_eq!(
        micros(&config(own, "provider: openai_videos, base_url: 'https://api.openai.com/v1'"), &usage),
        Ok(7_000_000)
    );
    let pricing =
        config("files: [litellm-video.json]", "provider: openai_videos, base_url: 'https://api.openai.com/v1'");
    let rule = pricing.upstreams[0].billing.pricing.as_ref().unwrap().rule(&usage).unwrap();
    assert_eq!(rule.id, "files/litellm-video.json/openai/sora-2");
    // The model that ran comes before a longer key of the one that was asked for.
    let gateway = config("files: [litellm-video.json]", "provider: tokenhot");
    let models = |models: [Option<&'static str>; 2]| micros(&gateway, &Usage { models, ..usage });
    let (cheap, dear) = (Some("veo-3.1-lite-generate-preview"), Some("veo-3.1-generate-001"));
    assert_eq!([models([dear, cheap]), models([cheap, dear])], [Ok(4_000_000), Ok(500_000)]);
    assert_eq!(models([Some("mapped"), cheap]), Ok(500_000));
    let dear = "files: [litellm-video.json], currency: CNY";
    let text = format!("pricing: {{{dear}}}\nupstreams: [{{name: u, provider: ark}}]\n");
    let error = config::parse(&text, &fixture("prices/test.yml")).unwrap_err().to_string();
    assert!(error.contains("there is no rate from USD to CNY; give it in pricing.rates.USD"), "{error}");
}

#[test]
fn international_prices_of_dashscope_are_for_its_international_hosts_only() {
    let usage = Usage { video_seconds: Some(1.0), resolution: Some("720p"), ..success("wan2.7-t2v") };
    for (host, is_international) in [
        ("dashscope.aliyuncs.com", false),
        ("dashscope-intl.aliyuncs.com", true),
        ("dashscope-us.aliyuncs.com", true),
        ("ws1.cn-beijing.maas.aliyuncs.com", false),
        ("ws1.ap-southeast-1.maas.aliyuncs.com", true),
        ("proxy.example.com", false),
        ("127.0.0.1:8080", false),
    ] {
        let config = config("files: [litellm-video.json]", &format!("provider: dashscope, base_url: 'https://{host}'"));
        let rule = config.upstreams[0].billing.pricing.as_ref().unwrap().rule(&usage).unwrap();
        assert_eq!(rule.id.contains("/qwencloud/"), is_international, "{host}: {}", rule.id);
    }
}

/// What `videogen-exporter price` prints for a saved answer.
fn price(folder: &Path, pricing: &str, upstream: &str, answer: &Path) -> String {
    let file = folder.join("c.yml");
    fs::write(&file, format!("pricing: {{{pricing}}}\nupstreams: [{{name: u, {upstream}}}]\n")).unwrap();
    let output = program()
        .args(["price", &format!("--config.file={}", file.display()), "--upstream=u"])
        .arg(answer)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

type Tells = fn(&Answer) -> bool;

/// What an answer may tell for a price.
const TOLD: [(&str, Tells); 9] = [
    ("model", |answer| answer.told_model().is_some()),
    ("resolution", |answer| answer.resolution.is_some()),
    ("seconds", |answer| answer.video_seconds.or(answer.billing.seconds).is_some()),
    ("tokens", |answer| !answer.tokens.is_empty()),
    ("units or quota", |answer| answer.credits.is_some()),
    ("images", |answer| answer.billing.input_images.is_some()),
    ("video given", |answer| answer.billing.has_input_video.is_some()),
    ("sound", |answer| answer.billing.has_audio.is_some()),
    ("money", |answer| answer.cost.is_some()),
];

#[test]
fn the_document_tells_what_the_recorded_successes_of_each_provider_tell() {
    let mut told: BTreeMap<String, [bool; TOLD.len()]> = BTreeMap::new();
    for entry in manifest().into_iter().filter(|entry| entry.provider != "custom") {
        let Ok(answer) = entry.read() else { continue };
        if answer.status() == Status::Succeeded {
            let of_provider = told.entry(entry.provider).or_default();
            TOLD.iter().zip(of_provider).for_each(|((_, tells), told)| *told |= tells(&answer));
        }
    }
    let row = |cells: &mut dyn Iterator<Item = &str>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
    let mut table = row(&mut std::iter::once("provider").chain(TOLD.iter().map(|(name, _)| *name)));
    table += &row(&mut std::iter::repeat_n("---", TOLD.len() + 1));
    for (provider, told) in &told {
        let name = format!("`{provider}`");
        table += &row(&mut std::iter::once(&*name).chain(told.iter().map(|told| if *told { "yes" } else { "–" })));
    }
    assert!(told.len() >= 18, "{told:?}");
    documents::assert_up_to_date(
        "docs/costs.md",
        &documents::replace_section(&documents::read("docs/costs.md"), "told", &table),
    );
}

/// Recorded answers with prices in the way in which each vendor bills; the amounts are examples of their pages of November 2026.
#[test]
fn recorded_answers_of_each_vendor_are_priced_in_the_vendors_own_way() {
    let folder = tempfile::tempdir().unwrap();
    let token = "rates: {CNY: 0.14}, rules: [{match: {model: '*seedance*', resolution: [480p, 720p], audio: true}, currency: CNY, price: {per: token, amount: 46, each: 1000000}}]";
    let second = |amount: &str| format!("rules: [{{match: {{}}, price: {{per: second, amount: {amount}}}}}]");
    let cost = |cost: &str, source: &str| format!(r#"{{"cost":"{cost}","currency":"USD","source":"{source}""#);
    let ruled = |amount: &str| format!(r#"{},"rule":"rules/0"}}"#, cost(amount, "metered"));
    let h3 = "rules: [{match: {provider: minimax_hailuo, model: MiniMax-H3, resolution: 2k, input_video: false}, price: {per: second, amount: 0.13}, plus: [{per: image, of: input, amount: 0.04, after: 5}]}]";
    let clip = "rules: [{match: {resolution: 768p}, price: {per: clip, by_seconds: {6: 0.28, 10: 0.56}}}]";
    let flat_clip =
        "rules: [{match: {model: 'MiniMax-Hailuo-02', resolution: 768p}, price: {per: clip, amount: 0.28}}]";
    let unit = |amount: &str| format!("rules: [{{match: {{}}, price: {{per: unit, amount: {amount}}}}}]");
    let quota = "rules: [{match: {provider: '*'}, price: {per: quota, amount: 1, each: 500000}}]";
    for (upstream, pricing, answer, expected) in [
        ("provider: ark", token.to_owned(), "ark/succeeded", ruled("0.701316")),
        ("provider: tokenhot", token.replace(", audio: true", ""), "tokenhot/seed_success", ruled("0.705734")),
        ("provider: tikhub_seedance", token.to_owned(), "tikhub_seedance/seed_success", ruled("0.701316")),
        ("provider: minimax_hailuo", h3.to_owned(), "minimax_hailuo/v2_succeeded", ruled("0.780000")),
        (
            "provider: minimax_hailuo, model: MiniMax-Hailuo-02",
            flat_clip.to_owned(),
            "minimax_hailuo/succeeded",
            ruled("0.280000"),
        ),
        (
            "provider: minimax_hailuo",
            clip.to_owned(),
            "minimax_hailuo/succeeded",
            r#"{"unpriced":"no_duration"}"#.to_owned(),
        ),
        (
            "provider: openai_videos, base_url: 'https://api.openai.com/v1'",
            second("0.1"),
            "openai_videos/succeeded",
            ruled("0.800000"),
        ),
        ("provider: dashscope", second("0.123769"), "dashscope/succeeded", ruled("0.618845")),
        ("provider: kling", unit("0.098"), "kling/succeeded", ruled("0.735000")),
        ("provider: vidu", unit("0.005"), "vidu/succeeded", ruled("0.100000")),
        (
            "provider: veo",
            "rules: [{match: {model: 'veo-3.1*'}, price: {per: task, amount: 3.2}}]".to_owned(),
            "veo/succeeded",
            ruled("3.200000"),
        ),
        ("provider: veo", second("0.4"), "veo/succeeded", r#"{"unpriced":"no_duration"}"#.to_owned()),
        ("provider: gemini_interactions", second("0.1"), "gemini_interactions/succeeded", ruled("0.600000")),
        ("provider: tokenhot", quota.to_owned(), "new_api/succeeded", ruled("0.257810")),
        ("provider: kling", quota.to_owned(), "kling/succeeded", r#"{"unpriced":"no_usage"}"#.to_owned()),
        ("provider: tokenhot", unit("1"), "new_api/succeeded", r#"{"unpriced":"no_usage"}"#.to_owned()),
        ("provider: tokenhot", unit("0.1"), "new_api/gateway_kling_succeeded", ruled("0.350000")),
        ("provider: xai", quota.to_owned(), "xai/succeeded", format!("{}}}", cost("0.640000", "reported"))),
        ("provider: tokenhot", quota.to_owned(), "new_api/xai_done", format!("{}}}", cost("0.050000", "reported"))),
        (
            "provider: openrouter",
            quota.to_owned(),
            "openrouter/succeeded",
            format!("{}}}", cost("0.420000", "reported")),
        ),
        (
            "provider: openrouter",
            "currency: CNY".to_owned(),
            "openrouter/succeeded",
            r#"{"unpriced":"no_rate"}"#.to_owned(),
        ),
        ("provider: ark", "currency: USD".to_owned(), "ark/succeeded", r#"{"unpriced":"no_rule"}"#.to_owned()),
        ("provider: ark", token.to_owned(), "ark/running", r#"{"unpriced":"not_ended"}"#.to_owned()),
        ("provider: ark", token.to_owned(), "ark/failed", format!("{}}}", cost("0.000000", "metered"))),
    ] {
        let printed = price(folder.path(), &pricing, upstream, &fixture(&format!("providers/{answer}.json")));
        assert_eq!(printed, expected, "{answer} with {pricing}");
    }
}

#[test]
fn an_answer_without_tokens_is_priced_by_the_published_formula_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let pricing = "rules: [{match: {model: '*seedance*'}, price: {per: token, amount: 6.4, each: 1000000}}]";
    let mut answer: Value =
        serde_json::from_str(&fs::read_to_string(fixture("providers/ark/succeeded.json")).unwrap()).unwrap();
    answer["resolution"] = json!("480p");
    let save = |answer: &Value| {
        let file = folder.path().join("answer.json");
        fs::write(&file, answer.to_string()).unwrap();
        price(folder.path(), pricing, "provider: ark", &file)
    };
    answer.as_object_mut().unwrap().remove("usage");
    // 864 x 496 x (24 x 5 + 1) / 1024 = 50638 tokens.
    let expected = r#"{"cost":"0.324083","currency":"USD","source":"derived","rule":"rules/0"}"#;
    assert_eq!(save(&answer), expected);
    answer["usage"] = json!({"completion_tokens": 0, "total_tokens": 0});
    assert_eq!(save(&answer), expected, "no video is made of 0 tokens");
    answer.as_object_mut().unwrap().remove("usage");
    answer["resolution"] = json!("8K");
    assert_eq!(save(&answer), r#"{"unpriced":"no_resolution"}"#);
    answer["resolution"] = json!("480p");
    answer.as_object_mut().unwrap().remove("duration");
    assert_eq!(save(&answer), r#"{"unpriced":"no_duration"}"#);
    answer["model"] = json!("wan-3");
    assert_eq!(save(&answer), r#"{"unpriced":"no_rule"}"#);
}

#[test]
fn a_rule_is_matched_by_the_words_of_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let mut answer: Value =
        serde_json::from_str(&fs::read_to_string(fixture("providers/ark/succeeded.json")).unwrap()).unwrap();
    for (resolution, tier, rule) in
        [("ultra", "turbo", "rules/0"), ("1280 x 720", "default", "rules/1"), ("720p", "default", "rules/1")]
    {
        (answer["resolution"], answer["service_tier"]) = (json!(resolution), json!(tier));
        let file = folder.path().join("answer.json");
        fs::write(&file, answer.to_string()).unwrap();
        let pricing = "rules: [{match: {resolution: ultra, service_tier: turbo}, price: {per: task, amount: 1}}, \
                       {match: {resolution: 720p, service_tier: default}, price: {per: task, amount: 1}}]";
        let printed = price(folder.path(), pricing, "provider: ark", &file);
        let expected = format!(r#"{{"cost":"1.000000","currency":"USD","source":"metered","rule":"{rule}"}}"#);
        assert_eq!(printed, expected, "{resolution} {tier}");
    }
}

#[test]
fn a_saved_answer_that_cannot_be_read_is_an_error_that_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yml");
    fs::write(&file, "upstreams: [{name: u, provider: ark}]\n").unwrap();
    let run = |arguments: &[&str], body: &str| {
        let mut child = program()
            .args(["price", &format!("--config.file={}", file.display())])
            .args(arguments)
            .arg("-")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for (arguments, body, error) in [
        (&["--upstream=u"][..], "<html>", "the response is no task: invalid_body"),
        (&["--upstream=u", "--http-status=404"], "{}", "the response is no task: not_found"),
        (&["--upstream=v"], "{}", "no such upstream `v`"),
    ] {
        let (code, stdout, stderr) = run(arguments, body);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{body}");
        assert!(stderr.contains(error), "{stderr}");
    }
    // Without `pricing:` nothing has a price.
    let body = fs::read_to_string(fixture("providers/ark/succeeded.json")).unwrap();
    assert_eq!(run(&["--upstream=u"], &body), (Some(0), "{\"unpriced\":\"no_rule\"}\n".to_owned(), String::new()));
}

#[test]
fn conditions_dates_minimums_and_charges_decide() {
    let rules = "rates: {CNY: 0.5}, charge_on: {expired: true}, rules: [\
        {match: {model: 'm*', service_tier: flex}, price: {per: task, amount: 1}},\
        {match: {model: 'm*'}, valid: {until: 2026-01-01}, price: {per: task, amount: 2}},\
        {match: {model: 'm*'}, valid: {from: 2026-01-01, until: '2027-01-01T00:00:00Z'}, currency: CNY, price: {per: token, amount: 3}, minimum: {tokens: 10, amount: 40}, charge_on: {failed: true}},\
        {match: {input_image: true}, price: {per: image, of: input, amount: 0.04, after: 5, each: 1}},\
        {match: {provider: ark, upstream: 'u?', model: '*'}, price: {per: task, amount: 9}}]";
    let config = config(rules, "provider: ark");
    let at = |text: &str| Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond());
    let usage = Usage { tokens: Tokens { total: Some(100.0), ..Tokens::default() }, ..success("M-1") };
    assert_eq!(micros(&config, &usage), Ok(150_000_000), "300 CNY");
    let asked = Usage { models: [Some("other"), Some("m-asked")], ..usage };
    assert_eq!(micros(&config, &asked), Ok(150_000_000), "by the model that was asked for");
    let earlier = Usage { submitted: at("2025-12-31T23:59:59.999Z"), ..usage };
    let later = Usage { submitted: at("2027-01-01T00:00:00Z"), ..usage };
    assert_eq!([micros(&config, &earlier), micros(&config, &later)], [Ok(2_000_000), Err(Unpriced::NoRule)]);
    assert_eq!(micros(&config, &Usage { service_tier: Some("flex"), ..usage }), Ok(1_000_000));
    let tokens = |total: f64| Usage { tokens: Tokens { total: Some(total), ..Tokens::default() }, ..usage };
    assert_eq!(micros(&config, &tokens(11.0)), Ok(20_000_000), "the least amount");
    assert_eq!(micros(&config, &tokens(20.0)), Ok(30_000_000));
    // What is not charged costs 0, before anything is missed; the rule may say otherwise.
    let ends = [Status::Failed, Status::Cancelled, Status::Expired, Status::Lost];
    let none = Usage { tokens: Tokens::default(), ..usage };
    let costs = ends.map(|status| micros(&config, &Usage { status, ..none }));
    assert_eq!(costs, [Err(Unpriced::NoUsage), Ok(0), Err(Unpriced::NoUsage), Ok(0)]);
    let image =
        |images: f64| Usage { billing: Billing { input_images: Some(images), ..Billing::default() }, ..success("x") };
    assert_eq!([micros(&config, &image(7.0)), micros(&config, &image(3.0))], [Ok(80_000), Ok(0)]);
    // Reported money comes first, is counted at every end, and is converted.
    let reported = |currency: &str| {
        let currency = videogen_exporter::domain::pricing::Currency::from_code(currency).unwrap();
        let reported = Some(Cost { amount: 0.1, currency });
        quote(&config, &Usage { status: Status::Cancelled, reported, ..usage })
    };
    assert_eq!(reported("CNY").map(|money| (money.micros, money.source)), Ok((50_000, CostSource::Reported)));
    assert_eq!(reported("EUR"), Err(Unpriced::NoRate));
    // Amounts beyond all reason are no panic.
    assert_eq!(micros(&config, &tokens(1e28)), Err(Unpriced::NoUsage));
    // Half a millionth is rounded up, once.
    let half = self::config("rules: [{match: {}, price: {per: second, amount: 0.0000005}}]", "provider: ark");
    assert_eq!(micros(&half, &Usage { video_seconds: Some(1.0), ..success("m") }), Ok(1));
    assert_eq!(micros(&half, &Usage { video_seconds: Some(0.99), ..success("m") }), Ok(0));
}

#[test]
fn check_shows_the_rules_of_known_models_and_warns_of_a_rule_that_never_matches() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yml");
    fs::copy(fixture("prices/litellm-video.json"), folder.path().join("litellm.json")).unwrap();
    fs::write(folder.path().join("own.yml"), "- {match: {model: 'kling*'}, price: {per: unit, amount: 0.1}}\n")
        .unwrap();
    fs::write(
        &file,
        "metrics: {models: [sora-2, kling-v2, nobody]}\n\
         pricing:\n  files: [own.yml, litellm.json]\n  rules:\n\
         \x20   - {match: {model: 'sora*', resolution: 720p}, price: {per: second, amount: 0.1}}\n\
         \x20   - {match: {model: 'sora-2', resolution: [720p]}, price: {per: second, amount: 0.2}}\n\
         upstreams: [{name: gw, provider: tokenhot, model: veo-3.1-generate-001}]\n",
    )
    .unwrap();
    let output = program().args(["check", &format!("--config.file={}", file.display())]).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{shown}");
    for line in [
        "warning: pricing.rules.1: rules/1 can never match: rules/0 matches whatever it does",
        "  price of sora-2: rules/0, then rules/1, then files/litellm.json/openai/sora-2, then files/litellm.json/azure/sora-2, then files/litellm.json/sora-2",
        "  price of kling-v2: files/own.yml/0",
        "  price of nobody: no rule: its tasks are unpriced",
        "  price of veo-3.1-generate-001: files/litellm.json/vertex_ai/veo-3.1-generate-001, then files/litellm.json/gemini/veo-3.1-generate-001",
        "pricing: 88 rules, costs in USD",
        "  own.yml: 1 rules",
        "  litellm.json: 85 prices of LiteLLM's table; 0 without a price",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "no {line:?} in\n{shown}");
    }
    // A rule for all covers one for every provider, and a whole table by one line.
    fs::write(
        &file,
        "pricing:\n  files: [litellm.json]\n  rules:\n\
         \x20   - {match: {upstream: '*'}, price: {per: task, amount: 1}}\n\
         \x20   - {match: {provider: ark}, price: {per: task, amount: 1}}\n\
         upstreams: [{name: gw, provider: tokenhot}]\n",
    )
    .unwrap();
    let output = program().args(["check", &format!("--config.file={}", file.display())]).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let warnings: Vec<&str> = shown.lines().filter(|line| line.contains("can never match")).collect();
    assert_eq!(warnings.len(), 2, "{shown}");
    assert!(warnings[0].ends_with(" and 84 more can never match: rules/0 matches whatever they do"), "{shown}");
    assert!(warnings[1].ends_with("rules/1 can never match: rules/0 matches whatever it does"), "{shown}");
}
