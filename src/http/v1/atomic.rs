//! `POST /orders/atomic`: cancels, amends and orders of one product that happen together or not at all.
//!
//! The WebSocket (`http/ws/entry.rs`, a `batch` with `atomic`) and REST share these lines.

use super::amend::AmendBody;
use super::batch::{self, Outcome, Read, check_count};
use super::new_order::NewOrderBody;
use crate::actors::trading::{Market, Refused};
use crate::domain::admission::Known;
use crate::domain::entry::{Amend, Atomic};
use crate::domain::ids::{AccountId, ClientOrderId, MarketId, OrderId, Ticket};
use crate::domain::money::Amount;
use crate::domain::order::{Kind, Reject};
use crate::http::error::ApiError;
use crate::http::exchange::client_ids::{self, Holder};
use crate::http::exchange::orders::named_all;
use crate::http::session::CurrentUser;
use crate::http::{AppState, ids, wire};
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The body; a list that is `null` is the same as an absent one.
#[derive(Debug, Deserialize)]
pub struct AtomicBody<'a> {
    cancel: Option<Vec<String>>,
    amend: Option<Vec<AmendBody>>,
    #[serde(borrow)]
    place: Option<Vec<NewOrderBody<'a>>>,
}

/// What an atomic batch did, part by part.
#[derive(Debug, Serialize)]
pub struct Together {
    cancel: Vec<Outcome>,
    amend: Vec<Outcome>,
    place: Vec<Outcome>,
}

/// The one market of all parts.
#[derive(Default)]
struct OneMarket(Option<Arc<Market>>);

impl OneMarket {
    fn is(&mut self, market: &Arc<Market>) -> Result<(), ApiError> {
        match &self.0 {
            Some(other) if other.id != market.id => {
                Err(ApiError::bad_request("invalid_batch", "all parts of an atomic batch are of one product"))
            }
            Some(_) => Ok(()),
            None => {
                self.0 = Some(market.clone());
                Ok(())
            }
        }
    }
}

/// An atomic batch that was read, its orders found, with its market.
pub type Batch = (Arc<Market>, Atomic);

/// Reads an atomic batch and finds the orders that it names. Parts are counted from 0: cancels, then amends, then
/// orders.
///
/// # Errors
/// Why the part that the error names cannot be done.
pub async fn understand(
    state: &AppState,
    account: AccountId,
    cancel: &[String],
    amend: Vec<AmendBody>,
    place: Vec<Read>,
) -> Result<Batch, ApiError> {
    check_count(cancel.len() + amend.len() + place.len())?;
    let mut one = OneMarket::default();
    let mut batch = Atomic { account, ..Atomic::default() };
    let mut part = 0;
    let amend: Vec<(Result<String, ApiError>, AmendBody)> =
        amend.into_iter().map(|body| (body.target(None), body)).collect();
    let targets = amend.iter().filter_map(|(target, _)| target.as_deref().ok());
    let names: Vec<&str> = cancel.iter().map(String::as_str).chain(targets).collect();
    let mut found = named_all(state, account, &names).await.into_iter();
    let mut next = || found.next().unwrap_or(Ok(None));
    for _ in cancel {
        let found = next().and_then(|found| {
            let (market, order) = found.ok_or(Reject::OrderNotFound)?;
            one.is(state.trading.market_by_id(market).ok_or(Reject::OrderNotFound)?)?;
            Ok(order)
        });
        batch.cancels.push(found.map_err(|error| error.of_part(part))?);
        part += 1;
    }
    for (target, body) in amend {
        let read = target.and_then(|_| body.read_for(state, next()));
        let change = read.and_then(|change| one.is(&change.market).map(|()| change));
        let change = change.map_err(|error| error.of_part(part))?;
        let (ticket, extra_hold) = (Ticket(0), Amount::ZERO);
        let (order, price, size) = (change.order, change.price, change.size);
        batch.amends.push(Amend { ticket, account, order, price, size, extra_hold });
        part += 1;
    }
    for read in place {
        let read = read.and_then(|(market, order)| one.is(&market).map(|()| order));
        batch.places.push(read.map_err(|error| error.of_part(part))?);
        part += 1;
    }
    Ok((one.0.ok_or_else(ApiError::not_found)?, batch))
}

/// Carries an atomic batch out.
///
/// # Errors
/// Why the part that the error names cannot be done; nothing was done then.
pub async fn carry_out(state: &AppState, (market, batch): Batch) -> Result<Together, ApiError> {
    let by_funds = |part: u32| {
        let place = (part as usize).checked_sub(batch.cancels.len() + batch.amends.len());
        let order = place.and_then(|place| batch.places.get(place));
        order.is_some_and(|order| matches!(order.kind, Kind::Market { funds: Some(_) }))
    };
    let mut outcome = state.trading.together(&market, batch.clone(), None).await;
    // The market refuses before anybody looks at the client ids: what a repeat asks for may be done, and so not be
    // possible any more.
    if let Err(Refused::PartRepeat(_, Known::Forgotten) | Refused::Part(..)) = outcome {
        outcome = match free(state, &batch).await? {
            Ok(_) if matches!(outcome, Err(Refused::Part(..))) => outcome,
            Ok(vouched) => state.trading.together(&market, batch.clone(), vouched).await,
            Err((part, market, order)) => Err(Refused::PartRepeat(part, Known::Order(market, order))),
        };
    }
    match outcome {
        Ok(done) => Ok(Together {
            cancel: done.canceled.iter().map(|order| Outcome::canceled(market.id, *order)).collect(),
            amend: done.amended.iter().map(|record| Outcome::placed(&market, record)).collect(),
            place: done.placed.iter().map(|record| Outcome::placed(&market, record)).collect(),
        }),
        Err(Refused::Part(part, reject)) => Err(wire::explain(reject, &market, by_funds(part)).of_part(part)),
        // Atomic as it is, a repeat of a batch whose answer was lost tells by this that all of it was done.
        Err(Refused::PartRepeat(part, Known::Order(market, order))) => {
            let message = format!("the client_oid is that of order {}", ids::order(market, order));
            Err(ApiError::bad_request("client_oid_taken", message).of_part(part))
        }
        Err(other) => Err(other.into()),
    }
}

/// Whether no order of long ago has any of the client ids, and as of when; else the first part whose id is taken.
async fn free(state: &AppState, batch: &Atomic) -> Result<Result<Option<u64>, (u32, MarketId, OrderId)>, ApiError> {
    let mut vouched: Option<u64> = None;
    let first = batch.cancels.len() + batch.amends.len();
    let named = batch.places.iter().enumerate().filter_map(|(at, order)| Some((at, order.client_id?)));
    let (places, ids): (Vec<usize>, Vec<ClientOrderId>) = named.unzip();
    for (at, holder) in places.into_iter().zip(client_ids::look_up_all(state, batch.account, &ids).await) {
        match holder? {
            Holder::Order(market, order) => return Ok(Err(((first + at) as u32, market, order))),
            // The oldest look is the one that counts for all.
            Holder::Nobody(Some(count)) => vouched = Some(vouched.map_or(count, |before| before.min(count))),
            Holder::Nobody(None) => {}
        }
    }
    Ok(Ok(vouched))
}

/// `POST /orders/atomic`.
pub async fn place(state: web::Data<AppState>, user: CurrentUser, body: web::Bytes) -> Result<HttpResponse, ApiError> {
    let AtomicBody { cancel, amend, place } = serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad_request("invalid_body", format!("the body is not a valid batch: {error}")))?;
    let account = user.0.user;
    let place = place.unwrap_or_default().into_iter().map(|body| batch::understand(&state, account, body)).collect();
    let (cancel, amend) = (cancel.unwrap_or_default(), amend.unwrap_or_default());
    let batch = understand(&state, account, &cancel, amend, place).await?;
    Ok(HttpResponse::Ok().json(carry_out(&state, batch).await?))
}
