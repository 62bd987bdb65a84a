//! A reader of one market's feed on one node: it must hear of everything, once, in order.

use crate::actors::trading::Market;
use crate::actors::trading::market_data::{Interest, Subscribe, Updated};
use crate::domain::ids::MarketId;
use actix::prelude::*;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// Market data that are being rebuilt are asked again after so long.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// What a reader has heard: the market, the feed sequence after a batch, and a hash of its events; or what was missing.
pub(super) type Heard = Arc<Mutex<Vec<Result<(MarketId, u64, [u8; 32], u64), String>>>>;

/// See the module's documentation.
pub(super) struct Reader {
    market: Arc<Market>,
    heard: Heard,
    /// The feed sequence up to which everything is known, once subscribed.
    sequence: Option<u64>,
}

impl Reader {
    pub(super) fn new(market: Arc<Market>, heard: Heard) -> Reader {
        Reader { market, heard, sequence: None }
    }

    fn subscribe(&mut self, ctx: &mut Context<Self>) {
        self.sequence = None;
        let picture =
            self.market.data.send(Subscribe { to: ctx.address().recipient(), interest: Interest::Everything });
        ctx.wait(picture.into_actor(self).map(|picture, reader, ctx| match picture {
            Ok(Some(picture)) => reader.sequence = Some(picture.sequence),
            Ok(None) | Err(_) => {
                ctx.run_later(TRY_AGAIN, |reader, ctx| reader.subscribe(ctx));
            }
        }));
    }
}

impl Actor for Reader {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(100_000);
        self.subscribe(ctx);
    }
}

impl Handler<Updated> for Reader {
    type Result = ();

    fn handle(&mut self, updated: Updated, ctx: &mut Self::Context) {
        let update = match updated {
            Updated::Changes(update) => update,
            Updated::Lost(_) => return self.subscribe(ctx),
        };
        let outcomes = &update.outcomes;
        // What came before the picture was taken is in it.
        let Some(sequence) = self.sequence.filter(|sequence| outcomes.feed_after() > *sequence) else { return };
        let market = self.market.id;
        self.heard.lock().push(if outcomes.feed_before == sequence {
            let events = outcomes.events.len() as u64;
            Ok((market, outcomes.feed_after(), super::oracle::digest(outcomes), events))
        } else {
            let before = outcomes.feed_before;
            Err(format!(
                "a reader of market {} knew everything up to {sequence} and was told of what follows {before}",
                market.0
            ))
        });
        self.sequence = Some(outcomes.feed_after());
    }
}
