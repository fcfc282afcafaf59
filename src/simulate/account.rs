//! The account of a new-api gateway: what was granted, what tasks used, and its units (docs/upstreams.md 2.12).

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use super::gateway::{Gateway, reply};
use super::task_pool::UNITS_PER_DOLLAR;

/// The addresses that tell about the account.
pub fn routes() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/api/status", get(status))
        .route("/api/usage/token/", get(key))
        .route("/api/user/self", get(user))
        .route("/v1/dashboard/billing/subscription", get(subscription))
        .route("/v1/dashboard/billing/usage", get(usage))
}

/// The public status.
async fn status(State(gateway): State<Arc<Gateway>>) -> Response {
    let data = json!({
        "quota_per_unit": UNITS_PER_DOLLAR, "quota_display_type": "CNY", "usd_exchange_rate": 7.3, "price": 7.3,
        "version": "simulated",
    });
    respond(&gateway, json!({"success": true, "message": "", "data": data})).await
}

/// What the key may use.
async fn key(State(gateway): State<Arc<Gateway>>) -> Response {
    let (granted, used) = gateway.account();
    let data = json!({
        "object": "token_usage", "name": "simulated", "total_granted": granted, "total_used": used,
        "total_available": granted.saturating_sub(used), "unlimited_quota": false, "expires_at": 0,
        "model_limits": {}, "model_limits_enabled": false,
    });
    respond(&gateway, json!({"code": true, "message": "ok", "data": data})).await
}

/// What the account of a user has.
async fn user(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    if !headers.contains_key("new-api-user") {
        let message = "Unauthorized, New-Api-User header not provided";
        return reply(StatusCode::UNAUTHORIZED, &json!({"success": false, "message": message}));
    }
    let (granted, used) = gateway.account();
    let data = json!({"id": 1, "username": "root", "quota": granted.saturating_sub(used), "used_quota": used});
    respond(&gateway, json!({"success": true, "message": "", "data": data})).await
}

/// `OpenAI`'s old billing API: what was granted, in dollars.
async fn subscription(State(gateway): State<Arc<Gateway>>) -> Response {
    let (granted, _) = gateway.account();
    respond(&gateway, json!({"object": "billing_subscription", "hard_limit_usd": dollars(granted)})).await
}

/// The same: what was used, in hundredths of a dollar.
async fn usage(State(gateway): State<Arc<Gateway>>) -> Response {
    let (_, used) = gateway.account();
    respond(&gateway, json!({"object": "list", "total_usage": 100.0 * dollars(used)})).await
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn dollars(units: u64) -> f64 {
    units as f64 / UNITS_PER_DOLLAR as f64
}

async fn respond(gateway: &Gateway, body: Value) -> Response {
    match gateway.respond_with_fault().await {
        Some(fault) => fault,
        None => reply(StatusCode::OK, &body),
    }
}
