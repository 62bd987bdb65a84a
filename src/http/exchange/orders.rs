//! Orders: place, cancel, look up, list.

use super::client_ids::{self, Holder};
use crate::actors::trading::order_book::{GetOrders, OrdersOf};
use crate::actors::trading::{Market, Refused, Unavailable};
use crate::domain::admission::Known;
use crate::domain::ids::{AccountId, ClientOrderId, MarketId, OrderId};
use crate::domain::order::{Kind, NewOrder, OrderRecord, Reject, Side, Status};
use crate::domain::time::Timestamp;
use crate::http::error::ApiError;
use crate::http::{AppState, ids, wire};
use crate::persistence::orders::{self, DoneFilter, OrderFilter};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// An order's place in lists: when it was accepted, and what tells it from others of that moment.
pub type Cursor = (Timestamp, MarketId, u64);

/// An order with its market.
pub type Found = (Arc<Market>, OrderRecord);

/// 400 for an order of a product that does not exist.
pub fn product_not_found() -> ApiError {
    ApiError::bad_request("product_not_found", "Product not found")
}

/// Places an order. A client id that was used before leads to the first order, as it stands.
///
/// # Errors
/// Why it was refused, in words for this market; 503 when it cannot be done now.
pub async fn place(state: &AppState, market: &Arc<Market>, order: NewOrder) -> Result<Found, ApiError> {
    let account = order.account;
    let by_funds = matches!(order.kind, Kind::Market { funds: Some(_) });
    let first = state.trading.place(market, order).await;
    match place_again(state, market, order, first).await? {
        Ok(record) => Ok((market.clone(), record)),
        Err(Refused::Repeat(Known::Order(market, id))) => find(state, account, market, id).await,
        Err(Refused::Reject(reject)) => Err(wire::explain(reject, market, by_funds)),
        Err(other) => Err(other.into()),
    }
}

/// Goes on from the outcome of a first try: a client id that may have been taken long ago is looked up, and the order
/// placed when it was not. The market refuses before anybody looks at the client id; so it is looked up then too: whoever
/// asks again for an order that was accepted must not hear that there is none, whatever the market takes by now.
///
/// # Errors
/// 503 when the database has to be asked for the client id and cannot be.
pub async fn place_again(
    state: &AppState,
    market: &Market,
    order: NewOrder,
    first: Result<OrderRecord, Refused>,
) -> Result<Result<OrderRecord, Refused>, ApiError> {
    let (Err(Refused::Repeat(Known::Forgotten) | Refused::Reject(_)), Some(id)) = (first, order.client_id) else {
        return Ok(first);
    };
    Ok(match client_ids::look_up(state, order.account, id).await? {
        Holder::Order(market, id) => Err(Refused::Repeat(Known::Order(market, id))),
        Holder::Nobody(vouched) if matches!(first, Err(Refused::Repeat(_))) => {
            state.trading.place_vouched(market, order, vouched).await
        }
        Holder::Nobody(_) => first,
    })
}

/// A user's order, from memory or else from the database.
///
/// # Errors
/// 404, also for another user's; 503 when it cannot be told now.
pub async fn find(state: &AppState, account: AccountId, market: MarketId, id: OrderId) -> Result<Found, ApiError> {
    let market = state.trading.market_by_id(market).ok_or_else(ApiError::not_found)?.clone();
    let mut record = match state.trading.order(&market, id).await {
        // A faulted market has no memory, but the database has its orders as they were.
        Err(_) if market.fault().is_some() => {
            state.history_catches_up().await?;
            None
        }
        known => known?,
    };
    if record.is_none() {
        // Looked at before the database is asked: what is written in between, that answer lacks.
        let whole = state.history_is_whole(&market);
        let place = market.id;
        record = state.query(move |c| orders::get(c, place, id.number)).await?.filter(|record| record.id == id);
        if record.is_none() {
            whole?;
        }
    }
    // Another user's order is answered as if it did not exist.
    record.filter(|record| record.account == account).map(|record| (market, record)).ok_or_else(ApiError::not_found)
}

/// A user's orders as a market's memory has them. A faulted market has none; then those that live as the database has
/// them, as far as `filter` and `rows` ask for them.
///
/// # Errors
/// 503 when it cannot be told now.
async fn in_memory(
    state: &AppState,
    market: &Market,
    account: AccountId,
    ended: bool,
    filter: OrderFilter,
    rows: i64,
) -> Result<OrdersOf, ApiError> {
    match market.book.send(GetOrders { account, ended }).await {
        Ok(memory) => Ok(memory),
        Err(_) if market.fault().is_some() => {
            state.history_catches_up().await?;
            let live = state.query(move |c| orders::list(c, account, &filter, rows)).await?;
            Ok(OrdersOf { live: live.into_iter().map(|(_, record)| record).collect(), ..OrdersOf::default() })
        }
        Err(why) => Err(Unavailable::from(why).into()),
    }
}

/// All orders of a user that live in a market, also while that is faulted.
///
/// # Errors
/// 503 when it cannot be told now.
pub async fn live(state: &AppState, market: &Market, account: AccountId) -> Result<Vec<OrderRecord>, ApiError> {
    let filter = OrderFilter { market: Some(market.id), done: Some(DoneFilter::Live), ..OrderFilter::default() };
    Ok(in_memory(state, market, account, false, filter, i64::MAX).await?.live)
}

/// The order that somebody names, if there is one by that name.
pub type Named = Result<Option<(MarketId, OrderId)>, ApiError>;

/// A name that was read.
enum Name {
    /// Our UUID, and the order that it can be.
    Ours(Option<(MarketId, OrderId)>),
    /// The client's.
    OfClient(ClientOrderId),
}

impl Name {
    fn read(text: &str) -> Result<Name, ApiError> {
        if let Some(text) = text.strip_prefix("client:") {
            return parse_client_id(text).map(Name::OfClient);
        }
        let invalid = |_| ApiError::bad_request("invalid_order_id", "Invalid order id");
        Uuid::try_parse(text).map(|id| Name::Ours(ids::parse_order(id))).map_err(invalid)
    }
}

/// The order that a path names: our UUID, or `client:` and the client's. One that is on its way is waited for.
///
/// # Errors
/// 400 when it is neither; 503 when it cannot be told now.
pub async fn named(state: &AppState, account: AccountId, name: &str) -> Named {
    named_all(state, account, &[name]).await.pop().unwrap_or(Ok(None))
}

/// The same for several names together, in their order: they are looked up in the time of one.
pub async fn named_all(state: &AppState, account: AccountId, names: &[&str]) -> Vec<Named> {
    let names: Vec<Result<Name, ApiError>> = names.iter().map(|name| Name::read(name)).collect();
    let of_clients: Vec<ClientOrderId> = names
        .iter()
        .filter_map(|name| match name {
            Ok(Name::OfClient(id)) => Some(*id),
            Ok(Name::Ours(_)) | Err(_) => None,
        })
        .collect();
    let mut holders = client_ids::look_up_named(state, account, &of_clients).await.into_iter();
    let found = names.into_iter().map(|name| -> Named {
        match name? {
            Name::Ours(order) => Ok(order),
            Name::OfClient(_) => match holders.next().unwrap_or(Err(Unavailable::OutcomeUnknown.into()))? {
                Holder::Order(market, order) => Ok(Some((market, order))),
                Holder::Nobody(_) => Ok(None),
            },
        }
    });
    found.collect()
}

/// A client's id of an order: a UUID in its usual form.
///
/// # Errors
/// 400.
pub fn parse_client_id(text: &str) -> Result<ClientOrderId, ApiError> {
    let invalid = |_| ApiError::bad_request("invalid_client_oid", "client_oid must be a UUID");
    Uuid::try_parse(text).map(|id| ClientOrderId(id.as_u128())).map_err(invalid)
}

/// Cancels the order of this name.
///
/// # Errors
/// Those of [`named`]; 404 when the user has no such order; [`Reject::OrderDone`]; 503 when it cannot be done now.
pub async fn cancel(state: &AppState, account: AccountId, name: &str) -> Result<Uuid, ApiError> {
    let missing = || ApiError::from(Reject::OrderNotFound);
    let (market, id) = named(state, account, name).await?.ok_or_else(missing)?;
    let market = state.trading.market_by_id(market).ok_or_else(missing)?;
    match state.trading.cancel(market, account, id).await {
        Ok(id) => Ok(ids::order(market.id, id)),
        Err(Refused::Reject(Reject::OrderDone)) => Err(why_over(state, account, market.id, id).await),
        Err(other) => Err(other.into()),
    }
}

/// What whoever wanted to cancel or change an order hears when its market says that it is over: [`Reject::OrderDone`].
/// It may be another user's, or never have existed in this form; then it is not theirs to know. Or that nobody can tell
/// now which of these it is.
pub async fn why_over(state: &AppState, account: AccountId, market: MarketId, id: OrderId) -> ApiError {
    match find(state, account, market, id).await {
        Ok(_) => Reject::OrderDone.into(),
        Err(error) if error.code() == ApiError::not_found().code() => Reject::OrderNotFound.into(),
        Err(error) => error,
    }
}

/// Whether a market refuses because it stands still as a whole, so that asking again soon does not help.
pub fn stands_still(why: &Refused) -> bool {
    matches!(why, Refused::Reject(Reject::MarketHalted) | Refused::Unavailable(Unavailable::MarketFaulted))
}

/// Cancels all orders of a user, or those of one product or side; tells which. All markets are asked at once, and none
/// keeps the others from it.
///
/// # Errors
/// [`product_not_found`]; why a market that has such orders did not let them go, once the others have.
pub async fn cancel_all(
    state: &AppState,
    account: AccountId,
    product: Option<&str>,
    side: Option<Side>,
) -> Result<Vec<Uuid>, ApiError> {
    let markets: Vec<Arc<Market>> = match product {
        Some(symbol) => vec![state.trading.market(symbol).ok_or_else(product_not_found)?.clone()],
        None => state.trading.markets().to_vec(),
    };
    let outcomes = join_all(markets.iter().map(|market| cancel_in(state, market, account, side))).await;
    let (mut canceled, mut failed) = (Vec::new(), None);
    for (market, outcome) in markets.iter().zip(outcomes) {
        match outcome {
            Ok(done) => canceled.extend(done.into_iter().map(|id| ids::order(market.id, id))),
            Err(why) => failed = failed.or(Some(why)),
        }
    }
    failed.map_or(Ok(canceled), Err)
}

/// The same in one market. One that stands still is no failure when the user has nothing there.
async fn cancel_in(
    state: &AppState,
    market: &Market,
    account: AccountId,
    side: Option<Side>,
) -> Result<Vec<OrderId>, ApiError> {
    let why = match state.trading.cancel_all(market, account, side).await {
        Ok(canceled) => return Ok(canceled),
        Err(why) => why,
    };
    let of_side = |record: &OrderRecord| side.is_none_or(|side| side == record.side);
    if stands_still(&why) && !live(state, market, account).await?.iter().any(of_side) {
        return Ok(Vec::new());
    }
    Err(why.into())
}

/// Which states of orders a list wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Those in the book, or on their way there.
    pub open: bool,
    /// Stops that sleep.
    pub active: bool,
    /// Those that are over and filled.
    pub filled: bool,
    /// Those that are over and were canceled, for whatever reason.
    pub canceled: bool,
}

impl Wanted {
    /// All there are.
    pub const ALL: Wanted = Wanted { open: true, active: true, filled: true, canceled: true };

    fn takes(self, record: &OrderRecord) -> bool {
        match record.status {
            Status::Open => self.open,
            Status::Active => self.active,
            Status::Done(reason, _) if reason.is_filled() => self.filled,
            Status::Done(..) => self.canceled,
        }
    }

    /// Whether any is wanted that is over.
    pub fn any_done(self) -> bool {
        self.filled || self.canceled
    }

    fn done(self) -> DoneFilter {
        match (self.filled, self.canceled) {
            (true, false) => DoneFilter::Filled,
            (false, true) => DoneFilter::Canceled,
            _ => DoneFilter::Done,
        }
    }
}

/// Which orders of a user are wanted, and which page of them.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// Only this market.
    pub market: Option<MarketId>,
    /// Only this side.
    pub side: Option<Side>,
    /// Which states.
    pub wanted: Wanted,
    /// Strictly older than this.
    pub after: Option<Cursor>,
    /// Strictly newer than this.
    pub before: Option<Cursor>,
    /// Of too many, those next to `before` rather than the newest.
    pub nearest: bool,
    /// So many of the chosen ones are left out at the beginning.
    pub skip: usize,
    /// At most so many.
    pub limit: usize,
}

/// A page of a user's orders, newest first: live ones from memory, finished ones from memory and database together.
///
/// # Errors
/// 503 when it cannot be told now.
pub async fn list(state: &AppState, account: AccountId, query: Query) -> Result<Vec<(Cursor, OrderRecord)>, ApiError> {
    let Query { market: only, side, wanted, after, before, nearest, skip, limit } = query;
    let most = skip.saturating_add(limit);
    let filter = |market, done| OrderFilter { market, done: Some(done), side, after, before, oldest_first: nearest };
    let rows = i64::try_from(most).unwrap_or(i64::MAX);
    let mut found = BTreeMap::<Cursor, OrderRecord>::new();
    // Memory first: then the database has what memory has dropped by now, or it is known here that it lacks some of it.
    for market in state.trading.markets().iter().filter(|market| only.is_none_or(|only| only == market.id)) {
        let live = filter(Some(market.id), DoneFilter::Live);
        let memory = in_memory(state, market, account, wanted.any_done(), live, rows).await?;
        if wanted.any_done() {
            state.history_is_whole(market)?;
        }
        for record in memory.live.into_iter().chain(memory.ended) {
            if wanted.takes(&record) && side.is_none_or(|side| side == record.side) {
                found.insert((record.created_at, market.id, record.id.number), record);
            }
        }
    }
    if wanted.any_done() {
        let filter = filter(only, wanted.done());
        // Of an order that was live a moment ago this is the newer state: nothing comes after its end.
        for (market, record) in state.query(move |c| orders::list(c, account, &filter, rows)).await? {
            found.insert((record.created_at, market, record.id.number), record);
        }
    }
    let inside =
        |cursor: &Cursor| after.is_none_or(|after| *cursor < after) && before.is_none_or(|before| *cursor > before);
    let inside = found.into_iter().filter(|(cursor, _)| inside(cursor));
    if nearest {
        let mut page: Vec<_> = inside.skip(skip).take(limit).collect();
        page.reverse();
        return Ok(page);
    }
    Ok(inside.rev().skip(skip).take(limit).collect())
}

/// How many orders of a user there are of this kind, whichever page is shown.
///
/// # Errors
/// 503 when it cannot be told now.
pub async fn count(state: &AppState, account: AccountId, query: Query) -> Result<u64, ApiError> {
    let Query { market, side, wanted, .. } = query;
    let mut all = 0;
    if wanted.any_done() {
        state.history_catches_up().await?;
        let filter = OrderFilter { market, side, done: Some(wanted.done()), ..OrderFilter::default() };
        all += state.query(move |c| orders::count(c, account, &filter)).await?;
    }
    let live = Wanted { filled: false, canceled: false, ..wanted };
    if live.open || live.active {
        let query = Query { wanted: live, after: None, before: None, skip: 0, limit: usize::MAX, ..query };
        all += list(state, account, query).await?.len() as u64;
    }
    Ok(all)
}
