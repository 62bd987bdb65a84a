//! The orders behind client ids, for whoever names an order by the id that its client gave it.
//!
//! Invariant: nobody is told that no order has an id while one with it is on its way, which may rest afterwards.

use super::ledger::{ClientIdAnswer, FindClientId};
use super::order_book::GetSequence;
use super::remote::{Command, Done};
use super::{LOOK_AGAIN, LOOKS, PATIENCE, Refused, Trading, Unavailable, outbox, unanswered, within};
use crate::actors::supervision::Unreachable;
use crate::domain::ids::{AccountId, ClientOrderId};
use futures_util::future::join_all;

impl Trading {
    /// The order behind a client id, as far as memory knows. One that is on its way is waited for, as by a repeat.
    ///
    /// # Errors
    /// [`Refused`]: [`Unavailable::OutcomeUnknown`] when it stays on its way, or the node that would know does not
    /// answer.
    pub async fn find_client_id(&self, account: AccountId, id: ClientOrderId) -> Result<ClientIdAnswer, Refused> {
        self.look_for_client_id(account, id, false).await
    }

    /// The same for whoever names an order that may have been sent a moment ago: that nobody has the id is said once
    /// all that was sent to the markets before has reached the ledger.
    ///
    /// # Errors
    /// As [`Trading::find_client_id`]; also when a market does not answer.
    pub async fn find_named(&self, account: AccountId, id: ClientOrderId) -> Result<ClientIdAnswer, Refused> {
        self.look_for_client_id(account, id, true).await
    }

    async fn look_for_client_id(
        &self,
        account: AccountId,
        id: ClientOrderId,
        behind_all: bool,
    ) -> Result<ClientIdAnswer, Refused> {
        if !self.is_elsewhere() {
            return self.find_client_id_here(account, id, behind_all).await;
        }
        let known = within(self.inner.ledger.send(FindClientId(account, id))).await?;
        if known.order.is_some() {
            return Ok(known);
        }
        // What is on its way is known to the node alone that has admitted it.
        match self.perform(Command::FindClientId(account, id)).await? {
            Done::ClientId(known) => Ok(known),
            _ => Err(Unavailable::OutcomeUnknown.into()),
        }
    }

    pub(super) async fn find_client_id_here(
        &self,
        account: AccountId,
        id: ClientOrderId,
        behind_all: bool,
    ) -> Result<ClientIdAnswer, Refused> {
        let mut patience = LOOKS;
        let mut is_behind = !behind_all;
        loop {
            let known = within(self.inner.ledger.send(FindClientId(account, id))).await?;
            if known.in_flight {
                if patience == 0 {
                    return Err(Unavailable::OutcomeUnknown.into());
                }
                patience -= 1;
                tokio::time::sleep(LOOK_AGAIN).await;
            } else if known.order.is_some() || known.starting || is_behind {
                return Ok(known);
            } else {
                self.come_behind_all().await?;
                is_behind = true;
            }
        }
    }

    /// Waits until all that this thread has submitted, and all else that the markets were sent before, has reached the
    /// ledger or was refused: a book asks the ledger when it takes a command, and answers what comes after that later.
    async fn come_behind_all(&self) -> Result<(), Unavailable> {
        outbox::hand_over_now();
        let answers = self.markets().iter().map(|market| market.book.send(GetSequence).within(PATIENCE));
        for answer in join_all(answers).await {
            match answer {
                // A book that is not there has taken nothing that the ledger has not heard of.
                Ok(_) | Err(Unreachable::Restarting | Unreachable::Closed) => {}
                Err(why) => return Err(unanswered(why)),
            }
        }
        Ok(())
    }
}
