//! Reads the balance of an upstream's account, and how many of a gateway's units are one unit of money.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::threads::panicked;
use crate::clock::{self, Clock};
use crate::config::{Balance, CustomBalance, QuotaPerUnit, Upstream, UpstreamBilling};
use crate::domain::policy::QuotaRate;
use crate::domain::pricing::Currency;
use crate::domain::{ApiError, Reason};
use crate::http::{Credentials, Request, Response};
use crate::metrics::{Account, Operation, RequestOutcome, UpstreamMetrics};
use crate::provider::{AccountAmounts, BalancePlace, balance};

/// How often the gateway is asked for its units again.
const RATE_INTERVAL: Duration = Duration::from_hours(1);

/// How soon it is asked again after it did not answer.
const RATE_RETRY: Duration = Duration::from_mins(1);

/// After so many intervals without an answer, a balance is unknown.
const INTERVALS_UNTIL_UNKNOWN: u32 = 3;

/// The reader of one upstream's account; dropping it stops it.
pub struct AccountReader {
    running: JoinSet<()>,
    known: watch::Receiver<KnownAccount>,
}

/// What is known of an account.
#[derive(Debug, Clone, Copy, Default)]
pub struct KnownAccount {
    /// How many of its gateway's units are one unit of money.
    pub rate: Option<QuotaRate>,
    /// Its balance is shown; since then it could not be read so many times.
    failed_reads: Option<u32>,
}

#[cfg(test)]
impl KnownAccount {
    /// Only a rate is known.
    pub const fn of_rate(rate: QuotaRate) -> Self {
        Self { rate: Some(rate), failed_reads: None }
    }
}

/// What the task of a reader has.
struct Reader {
    upstream: Upstream,
    metrics: UpstreamMetrics,
    clock: Clock,
    known: watch::Sender<KnownAccount>,
    rate_due: Option<Instant>,
    balance_due: Option<Instant>,
    /// The gateway asked to wait until then.
    paused_until: Option<Instant>,
    /// The gateway has only the old billing API.
    has_old_api: bool,
    /// What was logged.
    reported: BTreeSet<Operation>,
}

impl Default for AccountReader {
    fn default() -> Self {
        Self { running: JoinSet::new(), known: watch::channel(KnownAccount::default()).1 }
    }
}

impl AccountReader {
    /// Starts reading what the configuration asks for. What is known stays until it is read again.
    pub fn start(upstream: &Upstream, earlier: Option<KnownAccount>, metrics: &UpstreamMetrics, clock: &Clock) -> Self {
        if upstream.billing.balance.is_none() || earlier.is_none() {
            metrics.forget_account(&upstream.name);
        }
        let (known, latest) = watch::channel(earlier.unwrap_or_default());
        let mut running = JoinSet::new();
        if needs_rate(&upstream.billing) || upstream.billing.balance.is_some() {
            let reader = Reader {
                upstream: upstream.clone(),
                metrics: metrics.clone(),
                clock: clock.clone(),
                known,
                rate_due: None,
                balance_due: None,
                paused_until: None,
                has_old_api: false,
                reported: BTreeSet::new(),
            };
            running.spawn(reader.run());
        }
        Self { running, known: latest }
    }

    /// What is known of the account.
    pub fn known(&self) -> watch::Receiver<KnownAccount> {
        self.known.clone()
    }

    /// Waits until the reader panics; forever when it does not.
    pub async fn panicked(&mut self) -> anyhow::Error {
        panicked(&mut self.running).await
    }
}

/// Whether a gateway is asked for its units: for charges, or to show its balance as money.
pub fn needs_rate(billing: &UpstreamBilling) -> bool {
    match billing.quota_per_unit {
        Some(QuotaPerUnit::Auto) => true,
        Some(QuotaPerUnit::Fixed(_)) => false,
        None => billing.balance.as_ref().is_some_and(|balance| balance.custom.is_none()),
    }
}

impl Reader {
    async fn run(mut self) {
        loop {
            let begun = clock::instant();
            let billing = &self.upstream.billing;
            // Without units of its own, the old API tells dollars.
            let needs_rate = needs_rate(billing) && (billing.quota_per_unit.is_some() || !self.has_old_api);
            if needs_rate && self.rate_due.is_none_or(|due| due <= begun) {
                let had_rate = self.known.borrow().rate.is_some();
                let is_read = self.read_rate().await;
                if is_read && !had_rate {
                    // What was read without it was no money.
                    self.balance_due = None;
                }
                self.rate_due = Some(begun + if is_read { RATE_INTERVAL } else { RATE_RETRY });
            }
            let balance = self.upstream.billing.balance.clone();
            if let Some(balance) = balance.filter(|_| self.balance_due.is_none_or(|due| due <= begun)) {
                self.balance_due = Some(begun + balance.refresh_interval);
                self.read_balance(&balance).await;
            }
            let next = [self.balance_due, self.rate_due.filter(|_| needs_rate)];
            let Some(next) = next.into_iter().flatten().min() else { return };
            let next = self.paused_until.take().map_or(next, |until| next.max(until));
            sleep(next.saturating_duration_since(clock::instant())).await;
        }
    }

    async fn read_rate(&mut self) -> bool {
        let operation = Operation::QuotaPerUnit;
        let read = self.send(operation, &balance::quota_request(), None, balance::read_quota_per_unit).await;
        match read {
            Ok(units) => {
                self.reported.remove(&operation);
                let rate = QuotaRate { units, currency: Currency::USD };
                self.known.send_modify(|known| known.rate = Some(rate));
                true
            }
            Err(error) => {
                self.report(operation, &error);
                false
            }
        }
    }

    async fn read_balance(&mut self, balance: &Balance) {
        match self.account(balance).await {
            Ok(Some(account)) => {
                self.reported.remove(&Operation::Balance);
                let at = self.clock.to_wall(self.clock.now().steady);
                self.metrics.account(&self.upstream.name, &account, at);
                self.known.send_modify(|known| known.failed_reads = Some(0));
                return;
            }
            // Without the gateway's units its amounts are no money.
            Ok(None) => {}
            Err(error) => self.report(Operation::Balance, &error),
        }
        let failed_reads = self.known.borrow().failed_reads.map(|failed| failed + 1);
        let is_unknown = failed_reads.is_some_and(|failed| failed >= INTERVALS_UNTIL_UNKNOWN);
        self.known.send_modify(|known| known.failed_reads = failed_reads.filter(|_| !is_unknown));
        if is_unknown {
            self.metrics.forget_balance(&self.upstream.name);
        }
    }

    /// Logs once that something cannot be read, until it was read again.
    fn report(&mut self, operation: Operation, error: &ApiError) {
        if self.reported.insert(operation) {
            let (name, operation, reason) = (&self.upstream.name, operation.as_str(), error.kind.as_str());
            tracing::warn!(upstream.name = %name, operation, reason, "the account cannot be read");
        }
    }

    /// The account as money; `None` while the gateway's units are unknown.
    async fn account(&mut self, balance: &Balance) -> Result<Option<Account>, ApiError> {
        let key = self.upstream.key.clone();
        if let Some(custom) = &balance.custom {
            let CustomBalance { path, balance, used, rate } = custom;
            let place = BalancePlace::Custom(path, balance.as_deref(), used.as_deref());
            return Ok(Some(in_money(self.read(place, key.as_ref()).await?, *rate)));
        }
        let rate = match self.upstream.billing.quota_per_unit {
            Some(QuotaPerUnit::Fixed(rate)) => Some(rate),
            _ => self.known.borrow().rate,
        };
        // The dashboard's token sees the account, a key only what it may use itself.
        let dashboard = self.upstream.list_sources.iter().find(|list| !list.key_reference.is_empty());
        if let Some((user_id, token)) = dashboard.map(|list| (list.user_id.clone(), list.key.clone())) {
            let amounts = self.read(BalancePlace::Account(user_id.as_deref()), token.as_ref()).await?;
            return Ok(rate.map(|rate| in_money(amounts, rate)));
        }
        if !self.has_old_api {
            match self.read(BalancePlace::Key, key.as_ref()).await {
                Err(error) if matches!(error.kind, Reason::NotFound | Reason::WrongPath) => self.has_old_api = true,
                read => return read.map(|amounts| rate.map(|rate| in_money(amounts, rate))),
            }
        }
        let granted = self.read(BalancePlace::Granted, key.as_ref()).await?.balance;
        let used = self.read(BalancePlace::Used, key.as_ref()).await?.used;
        let left = granted.zip(used).and_then(|(granted, used)| granted.checked_sub(used));
        let amounts = AccountAmounts { balance: left, used: used.filter(|_| granted.is_some()) };
        Ok(Some(in_money(amounts, QuotaRate { units: Decimal::ONE, currency: Currency::USD })))
    }

    async fn read(&mut self, place: BalancePlace<'_>, key: Option<&Credentials>) -> Result<AccountAmounts, ApiError> {
        let request = balance::request(&self.upstream.dialect, place);
        let request = request.ok_or_else(|| ApiError::new(Reason::BadRequest))?;
        self.send(Operation::Balance, &request, key, |response| balance::read(place, response)).await
    }

    /// Sends a request, and counts it.
    async fn send<T>(
        &mut self,
        operation: Operation,
        request: &Request,
        key: Option<&Credentials>,
        read: impl FnOnce(&Response) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let key = Credentials::key(key, clock::now()).await;
        let sent = clock::instant();
        let response = match key {
            Ok(key) => self.upstream.client.send(request, key.as_ref()).await,
            Err(error) => Err(error),
        };
        let took = clock::instant() - sent;
        let (code, result) = match &response {
            Ok(response) => {
                self.paused_until = response.retry_after.map(|wait| sent + wait).max(self.paused_until);
                (Some(response.status), read(response))
            }
            Err(error) => (None, Err(error.clone().into())),
        };
        let (reason, cause) =
            result.as_ref().err().map_or((None, None), |error| (Some(error.kind), error.cause.clone()));
        let at = self.clock.to_wall(self.clock.now().steady);
        let outcome = RequestOutcome { operation, code, reason, took, at, date: None, cause, own_key: Arc::default() };
        self.metrics.request_ended(&self.upstream.name, &outcome);
        result
    }
}

fn in_money(amounts: AccountAmounts, rate: QuotaRate) -> Account {
    let money = |amount: Option<Decimal>| amount?.checked_div(rate.units)?.to_f64();
    Account { balance: money(amounts.balance), used: money(amounts.used), currency: rate.currency }
}
