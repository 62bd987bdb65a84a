//! Orders over the feed's WebSocket: place, cancel, batches of both, and what happens to a user's orders when the
//! connection ends or falls silent.
//!
//! Each request carries a `request_id` that its answer repeats; answers may come in another order. Every command is
//! acknowledged by itself, after its outcome is durable. Invariants: a connection has at most [`IN_FLIGHT`] requests
//! under way, and [`KEPT_FREE`] more that take everything back; further ones are refused and change nothing. What its
//! requests ask for is handed to the markets in the order in which they came, whichever is polled first, and also while
//! the orders that one names are looked up; but a dead man's switch is armed as soon as it is asked for. Nothing that
//! others of the thread wait for is left to a connection that may not be polled for long.

use crate::auth::{AuthError, Caller};
use crate::domain::ids::AccountId;
use crate::http::error::ApiError;
use crate::http::exchange::orders;
use crate::http::v1::amend::{self, AmendBody};
use crate::http::v1::atomic;
use crate::http::v1::batch::{self, Outcome, Read};
use crate::http::v1::new_order::NewOrderBody;
use crate::http::{AppState, routing};
use actix_web::http::StatusCode;
use actix_web::web;
use bytestring::ByteString;
use futures_util::future::join;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Requests of one connection that may be under way.
pub const IN_FLIGHT: usize = 32;
/// Places beyond them for requests that take everything back: whoever is too far behind can do so still.
pub const KEPT_FREE: usize = 4;
/// The types of messages that take everything back.
const FREEING: [&str; 2] = ["cancel_all", "cancel_all_after"];
/// The longest time of a dead man's switch.
const LONGEST_SWITCH: Duration = Duration::from_secs(24 * 3600);
/// The longest request id, in bytes of JSON text.
const LONGEST_REQUEST_ID: usize = 64;

/// A message about orders; `type` says which, and which fields count.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    request_id: Option<&'a RawValue>,
    token: Option<String>,
    order_id: Option<String>,
    client_oid: Option<String>,
    product_id: Option<String>,
    timeout_ms: Option<u64>,
    enabled: Option<bool>,
    #[serde(borrow)]
    order: Option<NewOrderBody<'a>>,
    #[serde(borrow)]
    place: Option<Vec<NewOrderBody<'a>>>,
    cancel: Option<Vec<String>>,
    amend: Option<Vec<AmendBody>>,
    atomic: Option<bool>,
    price: Option<Box<RawValue>>,
    size: Option<Box<RawValue>>,
}

/// What a request wants, its parts read.
#[derive(Debug)]
enum Wish {
    Authenticate,
    Place(Read),
    Cancel(String),
    CancelAll(Option<String>),
    Amend(AmendBody),
    Atomic { cancel: Vec<String>, amend: Vec<AmendBody>, place: Vec<Read> },
    Batch { cancel: Vec<String>, place: Vec<Read> },
    CancelAllAfter(Duration),
    CancelOnDisconnect(bool),
}

/// The types of messages that are about orders.
const TYPES: [&str; 8] =
    ["authenticate", "place", "cancel", "cancel_all", "amend", "batch", "cancel_all_after", "cancel_on_disconnect"];

/// Whether a message is about orders and not about subscriptions: whether its `type` is one of [`TYPES`].
pub fn is_entry(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Type<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
    }
    // The usual case needs no reading of the whole text: clients write the type first.
    if let Some(rest) = text.strip_prefix("{\"type\":\"")
        && let Some((kind, _)) = rest.split_once('"')
    {
        return TYPES.contains(&kind);
    }
    serde_json::from_str::<Type>(text).is_ok_and(|message| TYPES.contains(&message.r#type.as_ref()))
}

/// An answer. `request_id` is the text that the request had.
#[derive(Serialize)]
struct Answer<'a, T: Serialize> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a RawValue>,
    #[serde(flatten)]
    content: T,
}

#[derive(Serialize)]
struct One {
    result: Outcome,
}

#[derive(Serialize)]
struct Many {
    cancel: Vec<Outcome>,
    place: Vec<Outcome>,
}

#[derive(Serialize)]
struct CanceledAll {
    order_ids: Vec<uuid::Uuid>,
}

#[derive(Serialize)]
struct Armed {
    timeout_ms: u64,
}

#[derive(Serialize)]
struct Enabled {
    enabled: bool,
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct Failed<'a> {
    code: &'a str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<u32>,
}

fn text(answer: &impl Serialize) -> ByteString {
    // Such values can always be written.
    serde_json::to_string(answer).unwrap_or_default().into()
}

fn failed(request_id: Option<&RawValue>, error: &ApiError) -> ByteString {
    let content = Failed { code: error.code(), message: error.to_string(), part: error.part() };
    text(&Answer { r#type: "request_failed", request_id, content })
}

/// What a connection has for its orders.
#[derive(Debug, Default)]
pub struct Desk {
    token: Option<String>,
    /// Who has signed a message with an API key, unless a token came later.
    signed: Option<Caller>,
    in_flight: usize,
    /// Whose orders go when the connection ends.
    tied: Option<AccountId>,
    /// Comes when the newest request's turn is over.
    last_turn: Option<oneshot::Receiver<()>>,
    switch: NewestSwitch,
}

/// The dead man's switch that a connection has asked for last, and whose: those before it count no more.
type NewestSwitch = Rc<Cell<Option<(AccountId, Duration)>>>;

/// A request that was taken.
#[derive(Debug)]
pub struct Taken {
    account: AccountId,
    request_id: Option<Box<RawValue>>,
    wish: Wish,
    turn: Turn,
    switch: NewestSwitch,
}

/// A request's turn to hand over what it asks for. It is over when this is dropped; no request is dropped before it is
/// done but with its connection, and all others of it.
#[derive(Debug)]
struct Turn {
    /// Comes when the turn of the request before is over.
    before: Option<oneshot::Receiver<()>>,
    _over: oneshot::Sender<()>,
}

impl Turn {
    /// Waits for those before it.
    async fn begins(&mut self) {
        if let Some(before) = self.before.take() {
            // Nothing is ever sent: the other end is dropped.
            let _ = before.await;
        }
    }

    /// Does what hands over all that it is to hand over as soon as it is polled. Then it is the next one's turn, while
    /// this waits for its outcomes.
    async fn hands_over<T>(self, work: impl Future<Output = T>) -> T {
        let mut turn = Some(self);
        let mut work = pin!(work);
        poll_fn(|cx| {
            let polled = work.as_mut().poll(cx);
            drop(turn.take());
            polled
        })
        .await
    }
}

impl Desk {
    /// The connection has proved with this token who it is.
    pub fn signed_in(&mut self, token: &str) {
        self.token = Some(token.to_owned());
        self.signed = None;
    }

    /// The connection has proved with an API key who it is.
    pub fn signed_by(&mut self, caller: Caller) {
        self.signed = Some(caller);
        self.token = None;
    }

    /// Takes a request, or answers it at once. The token or key that the connection has shown must count still.
    ///
    /// # Errors
    /// The answer.
    pub fn take(&mut self, state: &AppState, message: &str) -> Result<Taken, ByteString> {
        let read = serde_json::from_str::<Raw>(message);
        let mut raw = read.map_err(|error| failed(request_id(message), &unreadable(&error)))?;
        let id = raw.request_id;
        if id.is_some_and(|id| !is_short(&id)) {
            // Whoever sent it could not tell whose answer it is.
            let message = format!("a request_id has at most {LONGEST_REQUEST_ID} bytes");
            return Err(failed(None, &ApiError::bad_request("invalid_body", message)));
        }
        let account = self.authorize(state, raw.token.take()).map_err(|error| failed(id, &error))?;
        let places = if FREEING.contains(&raw.r#type.as_ref()) { IN_FLIGHT + KEPT_FREE } else { IN_FLIGHT };
        if self.in_flight >= places {
            let message = "too many requests of this connection are under way";
            return Err(failed(id, &ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message)));
        }
        let wish = wish(raw, |body| batch::understand(state, account, body)).map_err(|error| failed(id, &error))?;
        match wish {
            Wish::CancelOnDisconnect(enabled) => self.tie(state, enabled.then_some(account)),
            // The client is alive, whatever its requests wait for.
            Wish::CancelAllAfter(timeout) => {
                self.switch.set(Some((account, timeout)));
                state.switches.arm(&state.trading, account, timeout);
            }
            _ => {}
        }
        self.in_flight += 1;
        let (request_id, switch) = (id.map(ToOwned::to_owned), self.switch.clone());
        Ok(Taken { account, request_id, wish, turn: self.next_turn(), switch })
    }

    fn next_turn(&mut self) -> Turn {
        let (over, is_over) = oneshot::channel();
        Turn { before: self.last_turn.replace(is_over), _over: over }
    }

    fn authorize(&mut self, state: &AppState, token: Option<String>) -> Result<AccountId, ApiError> {
        let caller = match (token.as_ref().or(self.token.as_ref()), self.signed) {
            (Some(token), _) => state.accounts.authenticate(token)?,
            (None, Some(caller)) if state.accounts.still_counts(&caller) => caller,
            (None, Some(_)) => return Err(AuthError::UnknownKey.into()),
            (None, None) => return Err(AuthError::TokenMissing.into()),
        };
        if let Some(rule) = routing::find("POST", "/v1/orders").and_then(|route| route.rule) {
            rule.access.check(&caller)?;
        }
        if let Some(token) = token {
            self.signed_in(&token);
        }
        Ok(caller.user)
    }

    /// From now on the orders of this user, or of nobody, go when the connection ends.
    fn tie(&mut self, state: &AppState, account: Option<AccountId>) {
        if let Some(before) = self.tied.take() {
            state.switches.untie(before);
        }
        if let Some(account) = account {
            state.switches.tie(account);
        }
        self.tied = account;
    }

    /// A request was answered.
    pub fn answered(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// The connection has ended.
    pub fn disconnected(&mut self, state: &AppState) {
        if let Some(account) = self.tied.take() {
            state.switches.disconnected(&state.trading, account);
        }
    }
}

/// Whether a request id is one that answers repeat.
fn is_short(id: &&RawValue) -> bool {
    id.get().len() <= LONGEST_REQUEST_ID
}

/// The id of a request of which nothing else can be read.
fn request_id(message: &str) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        request_id: Option<&'a RawValue>,
    }
    let named: Named = serde_json::from_str(message).ok()?;
    named.request_id.filter(is_short)
}

fn unreadable(error: &serde_json::Error) -> ApiError {
    ApiError::bad_request("invalid_body", format!("the message cannot be read: {error}"))
}

/// Carries a request out when its turn has come; its answer.
pub async fn carry_out(state: web::Data<AppState>, taken: Taken) -> ByteString {
    let Taken { account, request_id, wish, mut turn, switch } = taken;
    let id = request_id.as_deref();
    let mut carried_out = pin!(async {
        turn.begins().await;
        if let Wish::CancelAllAfter(timeout) = wish {
            arm_again(&state, account, timeout, &switch);
        }
        fulfil(&state, account, id, wish, turn).await.unwrap_or_else(|error| failed(id, &error))
    });
    poll_fn(|cx| {
        let polled = carried_out.as_mut().poll(cx);
        // While its client does not read, a connection is not polled, and all others of the thread would wait for it.
        state.trading.hand_over_now();
        polled
    })
    .await
}

/// Arms a switch at its turn, from when on all that was sent before it is with the markets: its time may have been over
/// before that. What the connection has asked for after it is armed already, and so counts in its place.
fn arm_again(state: &AppState, account: AccountId, timeout: Duration, newest: &NewestSwitch) {
    let timeout = newest.get().filter(|(whose, _)| *whose == account).map_or(timeout, |(_, newest)| newest);
    state.switches.arm(&state.trading, account, timeout);
}

fn wish<'a>(raw: Raw<'a>, understand: impl Fn(NewOrderBody<'a>) -> Read) -> Result<Wish, ApiError> {
    let missing = |field: &str| ApiError::bad_request("invalid_body", format!("{field} is missing"));
    let name = |order: Option<String>, client: Option<String>| {
        order.or(client.map(|id| format!("client:{id}"))).ok_or_else(|| missing("order_id or client_oid"))
    };
    Ok(match raw.r#type.as_ref() {
        "place" => Wish::Place(understand(raw.order.ok_or_else(|| missing("order"))?)),
        "cancel" => Wish::Cancel(name(raw.order_id, raw.client_oid)?),
        "amend" => Wish::Amend(AmendBody::new(name(raw.order_id, raw.client_oid)?, raw.price, raw.size)),
        "cancel_all" => Wish::CancelAll(raw.product_id),
        "batch" => {
            let (cancel, place) = (raw.cancel.unwrap_or_default(), raw.place.unwrap_or_default());
            let amend = raw.amend.unwrap_or_default();
            batch::check_count(cancel.len() + amend.len() + place.len())?;
            if raw.atomic == Some(true) {
                let place = place.into_iter().map(understand).collect();
                return Ok(Wish::Atomic { cancel, amend, place });
            }
            if !amend.is_empty() {
                return Err(ApiError::bad_request("invalid_batch", "only an atomic batch has amends"));
            }
            Wish::Batch { cancel, place: place.into_iter().map(understand).collect() }
        }
        "cancel_all_after" => {
            let timeout = Duration::from_millis(raw.timeout_ms.ok_or_else(|| missing("timeout_ms"))?);
            if timeout > LONGEST_SWITCH {
                return Err(ApiError::bad_request("invalid_timeout", "timeout_ms is at most a day"));
            }
            Wish::CancelAllAfter(timeout)
        }
        "cancel_on_disconnect" => Wish::CancelOnDisconnect(raw.enabled.unwrap_or(true)),
        _ => Wish::Authenticate,
    })
}

async fn fulfil(
    state: &AppState,
    account: AccountId,
    request_id: Option<&RawValue>,
    wish: Wish,
    turn: Turn,
) -> Result<ByteString, ApiError> {
    Ok(match wish {
        Wish::Authenticate => text(&Answer { r#type: "authenticated", request_id, content: Nothing {} }),
        Wish::Place(order) => {
            let mut outcomes = turn.hands_over(batch::place_each(state, account, vec![order])).await;
            let result = outcomes.pop().ok_or_else(ApiError::not_found)?;
            text(&Answer { r#type: "placed", request_id, content: One { result } })
        }
        Wish::Cancel(name) => {
            let found = batch::find_each(state, account, &[name]).await;
            let mut outcomes = turn.hands_over(batch::cancel_each(state, account, found)).await;
            let result = outcomes.pop().ok_or_else(ApiError::not_found)?;
            text(&Answer { r#type: "canceled", request_id, content: One { result } })
        }
        Wish::CancelAll(product) => {
            if product.as_deref().is_some_and(|symbol| state.trading.market(symbol).is_none()) {
                return Err(ApiError::not_found());
            }
            let canceled = orders::cancel_all(state, account, product.as_deref(), None);
            let order_ids = turn.hands_over(canceled).await?;
            text(&Answer { r#type: "canceled_all", request_id, content: CanceledAll { order_ids } })
        }
        Wish::Amend(body) => {
            let change = body.read(state, account, None).await?;
            let record = turn.hands_over(amend::carry_out(state, account, &change)).await?;
            let result = Outcome::placed(&change.market, &record);
            text(&Answer { r#type: "amended", request_id, content: One { result } })
        }
        Wish::Atomic { cancel, amend, place } => {
            let batch = atomic::understand(state, account, &cancel, amend, place).await?;
            let content = turn.hands_over(atomic::carry_out(state, batch)).await?;
            text(&Answer { r#type: "batch_done", request_id, content })
        }
        Wish::Batch { cancel, place } => {
            let found = batch::find_each(state, account, &cancel).await;
            // The cancels are handed over first and wait for the disk together with the orders.
            let cancel = batch::cancel_each(state, account, found);
            let place = batch::place_each(state, account, place);
            let (cancel, place) = turn.hands_over(join(cancel, place)).await;
            text(&Answer { r#type: "batch_done", request_id, content: Many { cancel, place } })
        }
        Wish::CancelAllAfter(timeout) => {
            let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            text(&Answer { r#type: "cancel_all_after", request_id, content: Armed { timeout_ms } })
        }
        Wish::CancelOnDisconnect(enabled) => {
            text(&Answer { r#type: "cancel_on_disconnect", request_id, content: Enabled { enabled } })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn messages_about_orders_are_told_from_others() {
        assert!(is_entry(r#"{"type":"place","price":"1"}"#));
        assert!(is_entry(r#"{ "request_id": 1, "type": "batch" }"#));
        for other in [r#"{"type":"subscribe"}"#, r#"{"type":"places"}"#, "{", r#"{"place":1}"#] {
            assert!(!is_entry(other), "{other}");
        }
    }

    #[test]
    fn a_request_says_what_is_missing() {
        let of = |text: &'static str| wish(serde_json::from_str(text).unwrap(), |_| Err(ApiError::not_found()));
        assert!(matches!(of(r#"{"type":"cancel","client_oid":"x"}"#), Ok(Wish::Cancel(name)) if name == "client:x"));
        assert_eq!(of(r#"{"type":"cancel"}"#).err().unwrap().code(), "invalid_body");
        assert_eq!(of(r#"{"type":"batch"}"#).err().unwrap().code(), "invalid_batch");
        assert_eq!(of(r#"{"type":"cancel_all_after"}"#).err().unwrap().code(), "invalid_body");
        assert_eq!(
            of(r#"{"type":"cancel_all_after","timeout_ms":99999999999}"#).err().unwrap().code(),
            "invalid_timeout"
        );
    }

    /// Neither does it matter who is polled first, nor does one overtake what another has still to look up.
    #[actix_web::test]
    async fn requests_hand_over_in_the_order_in_which_they_came() {
        let mut desk = Desk::default();
        let handed_over = RefCell::new(Vec::new());
        let all = &handed_over;
        let request = |number: u32, mut turn: Turn| async move {
            turn.begins().await;
            // The first has the most to look up.
            for _ in number..4 {
                tokio::task::yield_now().await;
            }
            turn.hands_over(async { all.borrow_mut().push(number) }).await;
        };
        let [first, second, third] = [(); 3].map(|()| desk.next_turn());
        tokio::join!(biased; request(3, third), request(2, second), request(1, first));
        assert_eq!(handed_over.into_inner(), [1, 2, 3]);
    }

    /// Only what is done when it is polled first is waited for.
    #[actix_web::test]
    async fn outcomes_are_waited_for_together() {
        let mut desk = Desk::default();
        let (first, mut second) = (desk.next_turn(), desk.next_turn());
        let (outcome, unknown) = oneshot::channel::<()>();
        let first = first.hands_over(unknown);
        let second = async {
            second.begins().await;
            outcome.send(()).unwrap();
        };
        let both = async { tokio::join!(biased; first, second) };
        let (known, ()) = tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
        assert!(known.is_ok());
    }

    #[test]
    fn the_answer_to_what_cannot_be_read_names_it_all_the_same() {
        let named = |text: &'static str| request_id(text).map(RawValue::get);
        assert_eq!(named(r#"{"type":"place","order":7,"request_id":"a"}"#), Some("\"a\""));
        assert_eq!(named(r#"{"request_id":[1, 2],"timeout_ms":-1}"#), Some("[1, 2]"));
        for without in ["{", r#"{"request_id":null}"#, r#"{"type":"place"}"#] {
            assert_eq!(named(without), None, "{without}");
        }
        let long = format!(r#"{{"request_id":"{}"}}"#, "x".repeat(LONGEST_REQUEST_ID));
        assert!(request_id(&long).is_none());
    }
}
