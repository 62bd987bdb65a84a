//! What an order book answers from memory.

use super::super::twin::Twin;
use super::{
    BookState, FullBook, GetFills, GetFullBook, GetOrder, GetOrders, GetSequence, IsOpen, OrderBook, OrdersOf,
};
use crate::domain::book::Book;
use crate::domain::order::Side;
use actix::prelude::*;

impl Handler<GetOrder> for OrderBook {
    type Result = MessageResult<GetOrder>;

    fn handle(&mut self, GetOrder(id): GetOrder, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.known(id))
    }
}

impl Handler<GetOrders> for OrderBook {
    type Result = MessageResult<GetOrders>;

    fn handle(&mut self, GetOrders { account, ended }: GetOrders, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.state.as_ref().map_or_else(OrdersOf::default, |state| OrdersOf {
            applied: Some(state.replica.stream.sequence),
            live: state.replica.book.orders_of(account).collect(),
            ended: if ended { state.recent.orders_of(account) } else { Vec::new() },
        }))
    }
}

impl Handler<GetFills> for OrderBook {
    type Result = MessageResult<GetFills>;

    fn handle(&mut self, GetFills(account): GetFills, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.state.as_ref().map(|state| state.recent.fills_of(account)).unwrap_or_default())
    }
}

impl Handler<GetFullBook> for OrderBook {
    type Result = MessageResult<GetFullBook>;

    fn handle(&mut self, _: GetFullBook, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.state.as_ref().map(|state| full(&state.replica.book)))
    }
}

impl Handler<GetFullBook> for Twin<BookState> {
    type Result = MessageResult<GetFullBook>;

    fn handle(&mut self, _: GetFullBook, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.state().map(|state| full(&state.replica.book)))
    }
}

fn full(book: &Book) -> FullBook {
    FullBook {
        sequence: book.feed_sequence(),
        bids: book.resting(Side::Buy).collect(),
        asks: book.resting(Side::Sell).collect(),
    }
}

impl Handler<IsOpen> for OrderBook {
    type Result = bool;

    fn handle(&mut self, _: IsOpen, _: &mut Self::Context) -> Self::Result {
        self.active
    }
}

impl Handler<GetSequence> for OrderBook {
    type Result = MessageResult<GetSequence>;

    fn handle(&mut self, _: GetSequence, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.state.as_ref().map(|state| state.replica.stream.sequence).unwrap_or_default())
    }
}
