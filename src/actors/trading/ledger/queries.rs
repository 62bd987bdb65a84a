//! What the ledger answers from memory.

use super::{
    ClientIdAnswer, FindClientId, ForgottenIds, GetBalances, GetListed, GetNextAccount, GetWithdrawals, IsReady,
    LedgerActor, Listed,
};
use crate::domain::client_ids::ClientIds;
use crate::domain::ids::CurrencyId;
use crate::domain::replica::LedgerReplica;
use actix::prelude::*;

impl Handler<IsReady> for LedgerActor {
    type Result = bool;

    fn handle(&mut self, _: IsReady, _: &mut Self::Context) -> Self::Result {
        self.ready().is_some()
    }
}

impl Handler<GetBalances> for LedgerActor {
    type Result = MessageResult<GetBalances>;

    fn handle(&mut self, GetBalances(account): GetBalances, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.replica().filter(|replica| replica.ledger.is_open(account)).map(|replica| {
            let currencies = replica.ledger.currencies().len() as u16;
            (0..currencies).map(|index| replica.ledger.balance(account, CurrencyId(index))).collect()
        }))
    }
}

impl Handler<GetListed> for LedgerActor {
    type Result = MessageResult<GetListed>;

    fn handle(&mut self, _: GetListed, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.replica().map(|LedgerReplica { ledger, .. }| Listed {
            currencies: ledger.currencies().to_vec(),
            markets: ledger.markets().to_vec(),
            stopped: ledger.is_stopped(),
        }))
    }
}

impl Handler<GetWithdrawals> for LedgerActor {
    type Result = MessageResult<GetWithdrawals>;

    fn handle(&mut self, _: GetWithdrawals, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.replica().map(|replica| replica.ledger.withdrawals().copied().collect()))
    }
}

impl Handler<GetNextAccount> for LedgerActor {
    type Result = MessageResult<GetNextAccount>;

    fn handle(&mut self, _: GetNextAccount, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.replica().map(|replica| replica.ledger.next_account()))
    }
}

impl Handler<FindClientId> for LedgerActor {
    type Result = MessageResult<FindClientId>;

    fn handle(&mut self, FindClientId(account, id): FindClientId, _: &mut Self::Context) -> Self::Result {
        let ids: Option<&ClientIds> = self.replica().map(|replica| &replica.client_ids);
        let order = ids.and_then(|ids| ids.get(account, id));
        let asks = |ids: &&ClientIds| order.is_none() && ids.may_be_forgotten(account, id);
        let forgotten = ids
            .filter(asks)
            .map(|ids| ForgottenIds { count: ids.forgotten(), newest: ids.newest_forgotten().collect() });
        MessageResult(ClientIdAnswer {
            starting: self.ready().is_none(),
            order,
            in_flight: order.is_none() && self.admission.is_in_flight(account, id),
            forgotten,
        })
    }
}
