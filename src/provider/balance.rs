//! What an account still has: at a new-api gateway, or wherever the configuration says.

use rust_decimal::Decimal;
use serde_json::Value;

use super::dialect::Dialect;
use super::read::error::{self, unknown_kind};
use super::read::{json, lenient};
use crate::domain::{ApiError, Reason};
use crate::http::{Request, Response};

/// Where an account is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BalancePlace<'a> {
    /// The key's own, at a new-api gateway: `GET /api/usage/token/`.
    Key,
    /// The account's, at a new-api gateway, with the dashboard's token and the user's id: `GET /api/user/self`.
    Account(Option<&'a str>),
    /// `OpenAI`'s old billing API, where a gateway has only that: what was granted, in dollars.
    Granted,
    /// The same: what was used, in hundredths of a dollar.
    Used,
    /// A path, with JSON pointers of what is left and what was used.
    Custom(&'a str, Option<&'a str>, Option<&'a str>),
}

/// What an account tells, in the units of its place; absent without a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccountAmounts {
    /// What is left; less than 0 in debt.
    pub balance: Option<Decimal>,
    /// What was used.
    pub used: Option<Decimal>,
}

/// What the old billing API says of an account without a limit, in dollars.
const UNLIMITED: u32 = 100_000_000;

/// The request that reads an account.
pub fn request(dialect: &Dialect, place: BalancePlace<'_>) -> Option<Request> {
    let (path, user_id) = match place {
        BalancePlace::Key => ("/api/usage/token/", None),
        BalancePlace::Account(user_id) => ("/api/user/self", user_id),
        BalancePlace::Granted => ("/v1/dashboard/billing/subscription", None),
        BalancePlace::Used => ("/v1/dashboard/billing/usage", None),
        BalancePlace::Custom(path, ..) => (path, None),
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut request = Request::get(path.trim_start_matches('/').split('/'));
    request.query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    dialect.request_to(request, user_id)
}

/// The request for how many of a gateway's units are one dollar.
pub fn quota_request() -> Request {
    Request::get(["api", "status"])
}

/// Decodes an account.
///
/// # Errors
/// When the response is an error, or does not have what was asked for.
pub fn read(place: BalancePlace<'_>, response: &Response) -> Result<AccountAmounts, ApiError> {
    let body = read_body(response)?;
    let invalid = || ApiError::new(Reason::InvalidBody);
    let is_refused = |key: &str| body.get(key) == Some(&Value::Bool(false));
    let amounts = match place {
        BalancePlace::Key | BalancePlace::Account(_) => {
            if is_refused("code") || is_refused("success") {
                return Err(error::ok_error(&body, unknown_kind));
            }
            let data = body.get("data").ok_or_else(invalid)?;
            if data.get("unlimited_quota") == Some(&Value::Bool(true)) {
                return Ok(AccountAmounts::default());
            }
            let [left, used] = match place {
                BalancePlace::Key => ["total_available", "total_used"],
                _ => ["quota", "used_quota"],
            };
            AccountAmounts { balance: Some(number(data.get(left)).ok_or_else(invalid)?), used: number(data.get(used)) }
        }
        BalancePlace::Granted => {
            let granted = number(body.get("hard_limit_usd")).ok_or_else(invalid)?;
            AccountAmounts { balance: (granted < UNLIMITED.into()).then_some(granted), used: None }
        }
        BalancePlace::Used => {
            let used = number(body.get("total_usage")).ok_or_else(invalid)?;
            AccountAmounts { balance: None, used: used.checked_div(100.into()) }
        }
        BalancePlace::Custom(_, balance, used) => {
            let amount = |pointer: Option<&str>| match pointer {
                Some(pointer) => number(body.pointer(pointer)).map(Some).ok_or_else(invalid),
                None => Ok(None),
            };
            AccountAmounts { balance: amount(balance)?, used: amount(used)? }
        }
    };
    Ok(amounts)
}

/// Decodes how many of a gateway's units are one dollar, whatever its pages show.
///
/// # Errors
/// When the response is an error, or does not tell it.
pub fn read_quota_per_unit(response: &Response) -> Result<Decimal, ApiError> {
    let body = read_body(response)?;
    let units = number(body.pointer("/data/quota_per_unit"));
    units.filter(|units| *units > Decimal::ZERO).ok_or_else(|| ApiError::new(Reason::InvalidBody))
}

fn read_body(response: &Response) -> Result<Value, ApiError> {
    match &response.body {
        Ok(body) if (200..300).contains(&response.status) => json::parse(body),
        Ok(body) => Err(error::http_error(response.status, body, unknown_kind)),
        Err(_) if !(200..300).contains(&response.status) => Err(error::http_error(response.status, b"", unknown_kind)),
        Err(error) => Err(error.clone().into()),
    }
}

/// A number, also as a text, as exact as it was sent.
fn number(value: Option<&Value>) -> Option<Decimal> {
    let text = lenient::as_text(value?)?;
    let text = text.trim();
    Decimal::from_str_exact(text).ok().or_else(|| Decimal::from_scientific(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Response {
        Response {
            status,
            retry_after: None,
            date: None,
            etag: None,
            header: None,
            size: body.len() as u64,
            body: Ok(body.as_bytes().to_vec()),
        }
    }

    #[test]
    fn accounts_are_read_where_gateways_have_them() {
        let custom = BalancePlace::Custom("/v1/me", Some("/data/left"), Some("/data/used"));
        for (place, body, balance, used) in [
            (
                BalancePlace::Key,
                r#"{"code":true,"message":"ok","data":{"object":"token_usage","name":"t1","total_granted":1997350000,"total_used":488985850,"total_available":1508364150,"unlimited_quota":false,"expires_at":0}}"#,
                Some("1508364150"),
                Some("488985850"),
            ),
            (
                BalancePlace::Key,
                r#"{"code":true,"data":{"total_granted":0,"total_used":0,"total_available":0,"unlimited_quota":true}}"#,
                None,
                None,
            ),
            (
                BalancePlace::Account(Some("42")),
                r#"{"success":true,"data":{"quota":-5,"used_quota":7}}"#,
                Some("-5"),
                Some("7"),
            ),
            (BalancePlace::Granted, r#"{"hard_limit_usd":3994.7}"#, Some("3994.7"), None),
            (BalancePlace::Granted, r#"{"hard_limit_usd":100000000}"#, None, None),
            (BalancePlace::Used, r#"{"object":"list","total_usage":97797.17}"#, None, Some("977.9717")),
            (custom, r#"{"data":{"left":"12.5","used":3}}"#, Some("12.5"), Some("3")),
        ] {
            let read = read(place, &answer(200, body)).unwrap();
            let text = |amount: Option<Decimal>| amount.map(|amount| amount.normalize().to_string());
            assert_eq!(
                [text(read.balance), text(read.used)],
                [balance, used].map(|text| text.map(str::to_owned)),
                "{body}"
            );
        }
        for (place, status, body, reason) in [
            (
                BalancePlace::Key,
                401,
                r#"{"message":"This token status is unavailable","success":false}"#,
                Reason::Unauthorized,
            ),
            (BalancePlace::Key, 404, "{}", Reason::NotFound),
            (BalancePlace::Key, 200, r#"{"code":true,"data":{"name":"t1"}}"#, Reason::InvalidBody),
            (BalancePlace::Key, 200, "<html>", Reason::InvalidBody),
            (
                BalancePlace::Account(None),
                200,
                r#"{"success":false,"message":"Unauthorized, invalid access token"}"#,
                Reason::Unauthorized,
            ),
            (custom, 200, r#"{"data":{"left":null,"used":3}}"#, Reason::InvalidBody),
            (BalancePlace::Granted, 502, "", Reason::ServerError),
        ] {
            assert_eq!(read(place, &answer(status, body)).map_err(|error| error.kind), Err(reason), "{body}");
        }
    }

    #[test]
    fn the_public_status_tells_the_units_of_a_dollar() {
        let read = |body: &str| read_quota_per_unit(&answer(200, body)).map(|units| units.to_string());
        let told =
            r#"{"success":true,"data":{"quota_per_unit":500000,"quota_display_type":"CNY","usd_exchange_rate":7.3}}"#;
        assert_eq!(read(told).as_deref(), Ok("500000"));
        for body in [r#"{"success":true,"data":{}}"#, r#"{"data":{"quota_per_unit":0}}"#, "[]"] {
            assert!(read(body).is_err(), "{body}");
        }
    }

    #[test]
    fn requests_carry_the_users_id_and_a_configured_query() {
        let dialect = Dialect::from_provider(super::super::by_name("tokenhot").unwrap()).unwrap();
        let account = request(&dialect, BalancePlace::Account(Some("42"))).unwrap();
        assert_eq!(account.segments, ["api", "user", "self"]);
        assert!(account.headers.contains(&("New-Api-User".to_owned(), "42".to_owned())));
        let key = request(&dialect, BalancePlace::Key).unwrap();
        assert_eq!(key.segments, ["api", "usage", "token", ""]);
        let custom = request(&dialect, BalancePlace::Custom("/v1/me?unit=usd", None, None)).unwrap();
        assert_eq!(
            (custom.segments, custom.query),
            (vec!["v1".to_owned(), "me".to_owned()], vec![("unit".to_owned(), "usd".to_owned())])
        );
    }
}
