//! The orders behind client ids, for whoever names an order by the id that its client gave it.
//!
//! Invariants: nobody is told that no order has an id while one with it is on its way, which may rest afterwards; what
//! is looked for together takes the time and the messages to the books of one look.

use super::ledger::{ClientIdAnswer, FindClientId};
use super::order_book::GetSequence;
use super::remote::{Command, Done};
use super::{LOOK_AGAIN, PATIENCE, Refused, Trading, Unavailable, outbox, unanswered};
use crate::actors::supervision::Unreachable;
use crate::domain::ids::{AccountId, ClientOrderId};
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time::Instant;

/// How long an order that is on its way is waited for, and how long all of a look for named orders may take where they
/// are admitted.
const LOOK_WITHIN: Duration = Duration::from_secs(1);
/// How long another node waits for what is found there.
pub(super) const FOUND_ELSEWHERE_WITHIN: Duration = Duration::from_secs(2);

/// What is known about a client id. [`Unavailable::OutcomeUnknown`] when an order with it stays on its way, or whoever
/// would know does not answer in time.
pub type Found = Result<ClientIdAnswer, Refused>;

/// How long whoever is asked in a look may take.
fn patience(behind_all: bool, deadline: Instant) -> Duration {
    // Others wait behind a look for named orders.
    if behind_all { deadline.saturating_duration_since(Instant::now()) } else { PATIENCE }
}

/// Why a look has no answer.
fn untold(why: Unreachable) -> Unavailable {
    match why {
        Unreachable::Late => Unavailable::OutcomeUnknown,
        why => unanswered(why),
    }
}

impl Trading {
    /// The orders behind client ids of one user, as far as memory knows: one answer for each id, in their order. One
    /// that is on its way is waited for, as by a repeat.
    pub async fn find_client_ids(&self, account: AccountId, ids: &[ClientOrderId]) -> Vec<Found> {
        self.look_for_client_ids(account, ids, false).await
    }

    /// The same for whoever names orders that may have been sent a moment ago: that nobody has an id is said once all
    /// that was sent to the markets before has reached the ledger.
    pub async fn find_named(&self, account: AccountId, ids: &[ClientOrderId]) -> Vec<Found> {
        self.look_for_client_ids(account, ids, true).await
    }

    async fn look_for_client_ids(&self, account: AccountId, ids: &[ClientOrderId], behind_all: bool) -> Vec<Found> {
        if !self.is_elsewhere() {
            return self.find_client_ids_here(account, ids, behind_all).await;
        }
        let patience = patience(behind_all, Instant::now() + LOOK_WITHIN);
        let here = join_all(ids.iter().map(|id| self.known(account, *id, patience))).await;
        let is_unknown =
            |known: &Result<ClientIdAnswer, Unavailable>| known.as_ref().is_ok_and(|known| known.order.is_none());
        let asked: Vec<ClientOrderId> =
            ids.iter().zip(&here).filter_map(|(id, known)| is_unknown(known).then_some(*id)).collect();
        let count = asked.len();
        // What is on its way is known to the node alone that has admitted it.
        let there = match count {
            0 => Vec::new(),
            _ => match self.perform(Command::FindClientIds(account, asked, behind_all)).await {
                Ok(Done::ClientIds(found)) => found,
                Ok(_) => Vec::new(),
                Err(why) => vec![Err(why); count],
            },
        };
        let mut there = there.into_iter();
        let found = here.into_iter().map(|known| match known {
            Ok(known) if known.order.is_none() => there.next().unwrap_or(Err(Unavailable::OutcomeUnknown.into())),
            known => known.map_err(Refused::from),
        });
        found.collect()
    }

    pub(super) async fn find_client_ids_here(
        &self,
        account: AccountId,
        ids: &[ClientOrderId],
        behind_all: bool,
    ) -> Vec<Found> {
        let deadline = Instant::now() + LOOK_WITHIN;
        let mut is_behind = !behind_all;
        let mut looks: Vec<(ClientOrderId, Option<Found>)> = ids.iter().map(|id| (*id, None)).collect();
        loop {
            let wait = patience(behind_all, deadline);
            let open: Vec<&mut (ClientOrderId, Option<Found>)> =
                looks.iter_mut().filter(|look| look.1.is_none()).collect();
            let answers = join_all(open.iter().map(|look| self.known(account, look.0, wait))).await;
            let (mut on_its_way, mut unknown) = (false, false);
            for (look, known) in open.into_iter().zip(answers) {
                match known {
                    Ok(known) if known.in_flight => on_its_way = true,
                    Ok(known) if known.order.is_none() && !known.starting && !is_behind => unknown = true,
                    told => look.1 = Some(told.map_err(Refused::from)),
                }
            }
            let rest = if unknown {
                match self.come_behind_all(patience(behind_all, deadline)).await {
                    Ok(()) => {
                        is_behind = true;
                        continue;
                    }
                    Err(why) => why,
                }
            } else if on_its_way && Instant::now() < deadline {
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            } else {
                Unavailable::OutcomeUnknown
            };
            return looks.into_iter().map(|(_, found)| found.unwrap_or(Err(rest.into()))).collect();
        }
    }

    /// What this node's ledger knows about an id.
    async fn known(
        &self,
        account: AccountId,
        id: ClientOrderId,
        patience: Duration,
    ) -> Result<ClientIdAnswer, Unavailable> {
        self.inner.ledger.send(FindClientId(account, id)).within(patience).await.map_err(untold)
    }

    /// Waits until all that this thread has submitted, and all else that the markets were sent before, has reached the
    /// ledger or was refused: a book asks the ledger when it takes a command, and answers what comes after that later.
    async fn come_behind_all(&self, patience: Duration) -> Result<(), Unavailable> {
        outbox::hand_over_now();
        let answers = self.markets().iter().map(|market| market.book.send(GetSequence).within(patience));
        for answer in join_all(answers).await {
            match answer {
                // A book that is not there has taken nothing that the ledger has not heard of.
                Ok(_) | Err(Unreachable::Restarting | Unreachable::Closed) => {}
                Err(why) => return Err(untold(why)),
            }
        }
        Ok(())
    }
}
