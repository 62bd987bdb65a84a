//! Runs a sequence through the domain and the reference side by side, as the actors would: admit,
//! commit, apply, settle. Everything that can be compared is compared after every entry.

use crate::bank::{BASE, Bank, QUOTE, held};
use crate::coverage::Coverage;
use crate::flow::{Command, Move, START, Scene, Who, Wish};
use crate::real::{Differs, Real, named, without_slots};
use crate::reference::{Market, UNSOUND};
use agora::domain::admission::{Admission, Known, Refusal, Request};
use agora::domain::batch::Batch;
use agora::domain::book::Book;
use agora::domain::client_ids::ClientIds;
use agora::domain::codec::Coded;
use agora::domain::entry::{Amend, Atomic, LedgerEntry, MarketEntry, Movement};
use agora::domain::event::Event;
use agora::domain::ids::{AccountId, ClientOrderId, CurrencyId, Epoch, MarketId, OrderId, StreamId, Ticket};
use agora::domain::ledger::{Ledger, needs};
use agora::domain::market::{MarketConfig, Safety};
use agora::domain::money::{Amount, Price, Size};
use agora::domain::order::{Kind, NewOrder, OrderRecord, Reject, Side};
use agora::domain::time::Timestamp;
use bytes::Bytes;
use std::collections::HashMap;

/// Compares and says what differs, and how.
macro_rules! same {
    ($real:expr, $model:expr, $($what:tt)+) => {{
        let (real, model) = (&$real, &$model);
        if real != model {
            return Err(format!("{}:\n     is {:?}\n should {:?}", format!($($what)+), real, model));
        }
    }};
}

#[derive(Clone, Debug)]
enum Entry {
    Market(MarketEntry),
    Ledger(LedgerEntry),
}

/// Whose, in which currency, how much.
type Held = (AccountId, CurrencyId, i128);

const MARKET: StreamId = StreamId::Market(MarketId(0));
const EPOCH: Epoch = Epoch { counter: 1, node: 0 };

pub struct World {
    scene: Scene,
    real: Real,
    admission: Admission,
    taken: ClientIds,
    market: Market,
    bank: Bank,
    client_ids: HashMap<(AccountId, ClientOrderId), Option<u64>>,
    records: HashMap<u64, OrderRecord>,
    slots: HashMap<u64, u32>,
    /// What was admitted and waits to be committed, with what the model holds for it.
    waiting: Vec<(Entry, Vec<Held>)>,
    /// Encoded batches, one entry each.
    pub log: Vec<Bytes>,
    now: i64,
    tickets: u64,
    transfers: u128,
    feed_sequence: u64,
    digest: u64,
    events: Vec<Event>,
    pub coverage: Coverage,
}

impl World {
    pub fn new(scene: &Scene) -> Result<World, Differs> {
        let [base, quote] = &scene.currencies;
        let scale = scene.config.validate(base, quote).map_err(|e| e.to_string())?;
        let mut world = World {
            scene: scene.clone(),
            real: Real { book: Book::new(scene.config.clone(), scale), ledger: Ledger::new() },
            admission: Admission::default(),
            taken: ClientIds::default(),
            market: Market::new(scene.config.clone(), scale),
            bank: Bank::default(),
            client_ids: HashMap::new(),
            records: HashMap::new(),
            slots: HashMap::new(),
            waiting: Vec::new(),
            log: Vec::new(),
            now: START,
            tickets: 0,
            transfers: 0,
            feed_sequence: 0,
            digest: 0,
            events: Vec::new(),
            coverage: Coverage::default(),
        };
        world.opening().into_iter().try_for_each(|entry| world.commit(&Entry::Ledger(entry)))?;
        Ok(world)
    }

    /// Currencies, market, accounts and their first deposits.
    fn opening(&mut self) -> Vec<LedgerEntry> {
        let scene = self.scene.clone();
        let mut entries: Vec<LedgerEntry> =
            scene.currencies.iter().map(|c| LedgerEntry::ListCurrency(Box::new(c.clone()))).collect();
        let config = Box::new(scene.config.clone());
        entries.push(LedgerEntry::AddMarket { ticket: Ticket(0), config });
        for account in (2..2 + scene.accounts).map(AccountId) {
            entries.push(LedgerEntry::OpenAccount { ticket: Ticket(0), account });
            for (currency, amount) in [(BASE, scene.funds[0]), (QUOTE, scene.funds[1])] {
                self.transfers += 1;
                let transfer = self.transfers;
                entries.push(LedgerEntry::Deposit(Movement { ticket: Ticket(0), account, currency, amount, transfer }));
            }
        }
        entries
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// Takes one command in and, if it says so, commits all that waits.
    pub fn step(&mut self, step: &Move) -> Result<(), Differs> {
        self.now += step.after;
        self.admit(&step.command)?;
        if step.flush { self.flush() } else { Ok(()) }
    }

    pub fn flush(&mut self) -> Result<(), Differs> {
        for (entry, pending) in std::mem::take(&mut self.waiting) {
            for (account, currency, amount) in pending {
                *self.bank.pending.entry((account, currency)).or_default() -= amount;
            }
            self.commit(&entry)?;
        }
        Ok(())
    }

    fn owner(&self, who: Who, number: u64) -> AccountId {
        match who {
            Who::Account(account) => account,
            Who::Owner => self.records.get(&number).map_or(AccountId(2), |record| record.account),
        }
    }

    /// The number of the order so far back from the newest accepted one. Nobody can know an id before
    /// its order was accepted, so 0 gives one that never will be.
    fn number(&self, back: u64) -> u64 {
        if back == 0 { 1 << 40 } else { (self.real.book.accepted_orders() + 1).saturating_sub(back) }
    }

    fn id(&self, number: u64) -> OrderId {
        OrderId { number, slot: self.slots.get(&number).copied().unwrap_or(7) }
    }

    fn admit(&mut self, command: &Command) -> Result<(), Differs> {
        let free = |entry| (Entry::Market(entry), Vec::new());
        let admitted = match command {
            Command::Place(wish) => return self.admit_order(wish),
            Command::Cancel { who, back } => {
                let number = self.number(*back);
                let (account, order) = (self.owner(*who, number), self.id(number));
                free(MarketEntry::Cancel { ticket: self.ticket(), account, order })
            }
            Command::CancelAll { account, side } => {
                free(MarketEntry::CancelAll { ticket: self.ticket(), account: *account, side: *side })
            }
            Command::Amend { who, back, price, size, skew } => {
                let number = self.number(*back);
                return self.admit_amend(self.owner(*who, number), number, *price, *size, *skew);
            }
            Command::Atomic { account, cancels, amends, places } => {
                return self.admit_atomic(*account, cancels, amends, places);
            }
            Command::Reconfigure(config) => {
                let (ticket, config) = (self.ticket(), config.clone());
                free(MarketEntry::Reconfigure { ticket, config })
            }
            Command::Kill { account, engaged } => {
                free(MarketEntry::Kill { ticket: self.ticket(), account: *account, engaged: *engaged })
            }
            Command::BeginAuction(after) => {
                let ends_at = Timestamp(self.now + after);
                free(MarketEntry::BeginAuction { ticket: self.ticket(), ends_at })
            }
            // The first such entry knew nothing of halts.
            Command::Configure(config) => {
                let sound = if config.max_open_orders == UNSOUND { &self.scene.config } else { &**config };
                let config = MarketConfig { safety: Safety::default(), ..sound.clone() };
                free(MarketEntry::Configure(Box::new(config)))
            }
            Command::Tick => free(MarketEntry::Tick),
            Command::Freeze { account, frozen } => {
                let entry = LedgerEntry::SetFrozen { ticket: self.ticket(), account: *account, frozen: *frozen };
                (Entry::Ledger(entry), Vec::new())
            }
            Command::Deposit { account, currency, amount, repeat } => {
                self.transfers += u128::from(!repeat);
                let (ticket, transfer) = (self.ticket(), self.transfers);
                let (account, currency, amount) = (*account, *currency, *amount);
                let movement = Movement { ticket, account, currency, amount, transfer };
                (Entry::Ledger(LedgerEntry::Deposit(movement)), Vec::new())
            }
            Command::Withdraw { account, currency, amount } | Command::Transfer { account, currency, amount, .. } => {
                self.transfers += 1;
                let (ticket, transfer) = (self.ticket(), self.transfers);
                let (account, currency, amount) = (*account, *currency, *amount);
                let movement = Movement { ticket, account, currency, amount, transfer };
                let entry = match command {
                    Command::Transfer { to, .. } => LedgerEntry::Transfer { movement, to: *to },
                    _ => LedgerEntry::Withdraw(movement),
                };
                same!(needs(&entry), Some((ticket, account, currency, amount)), "what a payment needs");
                let entry = Entry::Ledger(entry);
                let held = self.ask(StreamId::Ledger, ticket, account, currency, amount.0, None)?;
                self.waiting.extend(held.map(|held| (entry, vec![held])));
                return Ok(());
            }
        };
        self.waiting.push(admitted);
        Ok(())
    }

    fn admit_order(&mut self, wish: &Wish) -> Result<(), Differs> {
        let order = self.order_of(wish)?;
        let first = crate::rules::first_reject(&self.market, &order, Timestamp(self.now));
        let early = first.filter(|reason| *reason < Reject::AccountFrozen);
        same!(self.real.book.check(&order, Timestamp(self.now)).err(), early, "the check of {order:?}");
        let amount = order.hold.0.max(0);
        let held = self.ask(MARKET, order.ticket, order.account, held(order.side), amount, order.client_id)?;
        self.waiting.extend(held.map(|held| (Entry::Market(MarketEntry::Place(order)), vec![held])));
        Ok(())
    }

    /// All parts are admitted, or none.
    fn admit_atomic(
        &mut self,
        account: AccountId,
        cancels: &[u64],
        amends: &[(u64, Option<Price>, Option<Size>)],
        places: &[Wish],
    ) -> Result<(), Differs> {
        let own: Vec<u64> = self.market.orders_of(account).iter().map(|order| order.number).collect();
        let at = |place: u64| own.get(place as usize).copied().unwrap_or_else(|| self.number(place % 1_000));
        let cancels = cancels.iter().map(|place| self.id(at(*place))).collect();
        let amends: Vec<_> = amends.iter().map(|(place, price, size)| (self.id(at(*place)), *price, *size)).collect();
        let mut batch = Atomic { ticket: self.ticket(), account, cancels, amends: Vec::new(), places: Vec::new() };
        let mut asked = Vec::new();
        for (order, price, size) in amends {
            let mut amend = Amend { ticket: self.ticket(), account, order, price, size, extra_hold: Amount(0) };
            amend.extra_hold = self.real.book.extra_hold_for(&amend);
            let side = self.records.get(&order.number).map_or(Side::Buy, |record| record.side);
            asked.push((amend.ticket, held(side), amend.extra_hold.0, None));
            batch.amends.push(amend);
        }
        for wish in places {
            let order = self.order_of(&Wish { account, ..wish.clone() })?;
            asked.push((order.ticket, held(order.side), order.hold.0.max(0), order.client_id));
            batch.places.push(order);
        }
        let now = Timestamp(self.now);
        same!(self.real.book.check_atomic(&batch, now), self.market.judge(now, &batch), "the judgement of {batch:?}");
        let mut holds: Vec<Held> = Vec::new();
        for (done, (ticket, currency, amount, client_id)) in asked.iter().enumerate() {
            if let Some(held) = self.ask(MARKET, *ticket, account, *currency, *amount, *client_id)? {
                holds.push(held);
                continue;
            }
            for ((ticket, .., client_id), (account, currency, amount)) in asked[..done].iter().zip(holds) {
                self.admission.settle(MARKET, EPOCH, *ticket);
                *self.bank.pending.entry((account, currency)).or_default() -= amount;
                if let Some(id) = client_id {
                    self.client_ids.remove(&(account, *id));
                }
            }
            return Ok(());
        }
        self.waiting.push((Entry::Market(MarketEntry::Atomic(Box::new(batch))), holds));
        Ok(())
    }

    /// The order with what admission adds to it.
    fn order_of(&mut self, wish: &Wish) -> Result<NewOrder, Differs> {
        let Wish { account, client_id, side, kind, size, stop, self_trade, skew } = wish.clone();
        let (book, market) = (&self.real.book, &self.market);
        let (maker_fee, taker_fee) = (book.config().maker_fee, book.config().taker_fee);
        let sane = size <= Size::MAX;
        let wakes_at = stop.map(|stop| stop.price).filter(|price| sane && (1..=Price::MAX.0).contains(&price.0));
        let (hold, should) = match (kind, side) {
            (Kind::Limit { price, .. }, _) if sane && price <= Price::MAX => (
                book.hold_for(side, price, size, book.config().worst_fee()).0,
                market.hold_for(side, price.0, size.0, maker_fee.max(taker_fee).0),
            ),
            (Kind::Market { funds: Some(funds) }, Side::Sell) if size.is_zero() && stop.is_some() => {
                let there = |price: Price| {
                    let base = book.scale().base(book.lots_to_obtain_at(price, funds)).0;
                    (base, market.base_to_obtain_at(price.0, funds.0))
                };
                wakes_at.map_or((0, 0), there)
            }
            (Kind::Market { funds: Some(funds) }, Side::Sell) if size.is_zero() => {
                let (lots, further) = book.lots_to_obtain(funds);
                let (base, beyond) = market.base_to_obtain(funds.0);
                same!(book.scale().base(further).0, beyond, "what is not looked at, for {funds:?}");
                (book.scale().base(lots).0, base)
            }
            (Kind::Market { .. }, Side::Sell) if sane => {
                (book.scale().base(size).0, i128::from(size.0) * market.scale.1)
            }
            (Kind::Market { funds: Some(funds) }, Side::Buy) => (funds.0, funds.0),
            (Kind::Market { funds: None }, Side::Buy) if stop.is_some() => {
                let there = |price: Price| {
                    let cost = book.cost_at(price, size, taker_fee).ok().map(|cost| cost.0);
                    (cost, market.cost_at(price.0, size.0, taker_fee.0))
                };
                let (cost, should) = wakes_at.map_or((None, None), there);
                (cost.unwrap_or(0), should.unwrap_or(0))
            }
            (Kind::Market { funds: None }, Side::Buy) => {
                let cost = book.cost_of(size, taker_fee);
                let told = cost.ok().map(|(cost, further)| (cost.0, further.0));
                same!(told, market.cost_of(size.0, taker_fee.0), "the cost of {size:?}");
                told.map_or((0, 0), |(cost, _)| (cost, cost))
            }
            _ => (0, 0),
        };
        same!(hold, should, "the hold for {wish:?}");
        let hold = Amount(hold + skew);
        let ticket = self.ticket();
        Ok(NewOrder { ticket, account, client_id, side, kind, size, stop, self_trade, maker_fee, taker_fee, hold })
    }

    fn admit_amend(
        &mut self,
        account: AccountId,
        number: u64,
        price: Option<Price>,
        size: Option<Size>,
        skew: i128,
    ) -> Result<(), Differs> {
        let ticket = self.ticket();
        let order = self.id(number);
        let mut amend = Amend { ticket, account, order, price, size, extra_hold: Amount(0) };
        let extra = self.real.book.extra_hold_for(&amend).0;
        same!(extra, self.market.extra_hold_for(&amend), "the extra hold of {amend:?}");
        amend.extra_hold = Amount(extra + skew);
        let side = self.records.get(&number).map_or(Side::Buy, |record| record.side);
        let held = self.ask(MARKET, ticket, account, held(side), (extra + skew).max(0), None)?;
        self.waiting.extend(held.map(|held| (Entry::Market(MarketEntry::Amend(amend)), vec![held])));
        Ok(())
    }

    /// Asks admission, and compares its answer with the rule; what is held then, or nothing when it was refused.
    fn ask(
        &mut self,
        stream: StreamId,
        ticket: Ticket,
        account: AccountId,
        currency: CurrencyId,
        amount: i128,
        client_id: Option<ClientOrderId>,
    ) -> Result<Option<Held>, Differs> {
        let taken = client_id.and_then(|id| self.client_ids.get(&(account, id)).copied());
        let should = match taken {
            Some(None) => Err(Refusal::Repeat(Known::InFlight)),
            Some(Some(number)) => Err(Refusal::Repeat(Known::Order(MarketId(0), self.id(number)))),
            None if self.real.ledger.is_frozen(account) => Err(Refusal::Reject(Reject::AccountFrozen)),
            None if self.bank.spendable(account, currency) < amount => Err(Refusal::Reject(Reject::InsufficientFunds)),
            None => Ok(()),
        };
        let spendable = self.admission.spendable(&self.real.ledger, account, currency);
        same!(spendable.0, self.bank.spendable(account, currency), "what {account:?} may spend");
        let amount_held = Amount(amount);
        let request =
            Request { stream, ticket, epoch: EPOCH, account, currency, amount: amount_held, client_id, vouched: None };
        let is = self.admission.admit(&self.real.ledger, &self.taken, request);
        same!(is, should, "the admission of {request:?}");
        if is.is_err() {
            return Ok(None);
        }
        *self.bank.pending.entry((account, currency)).or_default() += amount;
        if let Some(id) = client_id {
            self.client_ids.insert((account, id), None);
        }
        Ok(Some((account, currency, amount)))
    }

    /// Writes an entry to the log and applies it on both sides.
    fn commit(&mut self, entry: &Entry) -> Result<(), Differs> {
        let mut payload = Vec::new();
        let stream = match entry {
            Entry::Market(entry) => {
                entry.encode(&mut payload);
                MARKET
            }
            Entry::Ledger(entry) => {
                entry.encode(&mut payload);
                StreamId::Ledger
            }
        };
        let (number, at) = (self.log.len() as u64 + 1, Timestamp(self.now));
        let mut bytes = Vec::new();
        Batch { stream, epoch: EPOCH, number, at, count: 1, payload: payload.into() }.encode(&mut bytes);
        self.log.push(bytes.into());
        match entry {
            Entry::Market(entry) => self.apply_market(entry)?,
            Entry::Ledger(entry) => self.apply_ledger(entry),
        }
        self.compare()
    }

    fn apply_ledger(&mut self, entry: &LedgerEntry) {
        let done = self.real.ledger.apply(entry, &mut Vec::new()).is_done();
        self.admission.settle(StreamId::Ledger, EPOCH, entry.ticket());
        match entry {
            LedgerEntry::Deposit(m) if done => {
                self.bank.transfer(AccountId::OUTSIDE, m.account, m.currency, m.amount.0)
            }
            LedgerEntry::Withdraw(m) => self.bank.transfer(m.account, AccountId::OUTSIDE, m.currency, m.amount.0),
            LedgerEntry::Transfer { movement: m, to } => self.bank.transfer(m.account, *to, m.currency, m.amount.0),
            _ => {}
        }
    }

    fn apply_market(&mut self, entry: &MarketEntry) -> Result<(), Differs> {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let at = Timestamp(self.now);
        self.real.apply(at, entry, &mut events);
        let placed = match entry {
            MarketEntry::Place(order) => std::slice::from_ref(order),
            MarketEntry::Atomic(batch) => batch.places.as_slice(),
            _ => &[],
        };
        for order in placed {
            order.client_id.map(|id| self.client_ids.remove(&(order.account, id)));
        }
        entry.holds(|ticket| self.admission.settle(MARKET, EPOCH, ticket));
        let should = self.market.apply(at, entry);
        let is: Vec<Event> = events.iter().cloned().map(without_slots).collect();
        same!(is, should, "the events of {entry:?}");
        self.coverage.note(&events);
        if let MarketEntry::Atomic(batch) = entry
            && !events.iter().any(|event| matches!(event, Event::BatchRefused { .. }))
        {
            self.coverage.note_batch(batch);
        }
        for event in &events {
            self.bank.apply(event);
            self.fold(event, at)?;
        }
        self.events = events;
        Ok(())
    }

    fn fold(&mut self, event: &Event, at: Timestamp) -> Result<(), Differs> {
        self.feed_sequence += u64::from(event.is_public());
        if let Event::Accepted(id, order) = event {
            self.records.insert(id.number, OrderRecord::accepted(*id, order, at));
            self.slots.insert(id.number, id.slot);
            if let Some(client_id) = order.client_id {
                self.client_ids.insert((order.account, client_id), Some(id.number));
                self.taken.remember(order.account, client_id, MarketId(0), *id);
            }
        }
        if let Some(fill) = event.fill() {
            for value in [fill.maker.number, fill.taker.number, fill.price.0, fill.size.0] {
                self.digest = (self.digest ^ value).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
            }
        }
        for id in named(event).into_iter().flatten() {
            let record = self.records.get_mut(&id.number).ok_or("an event names an unknown order")?;
            same!(id, record.id, "the id of an order in {event:?}");
            record.fold(event, at);
        }
        Ok(())
    }

    /// Everything that both sides know.
    fn compare(&self) -> Result<(), Differs> {
        let (book, market) = (&self.real.book, &self.market);
        for side in [Side::Buy, Side::Sell] {
            let should: Vec<_> = market.rows(side).iter().map(|o| (o.limit.unwrap(), o.remaining, o.number)).collect();
            let is: Vec<_> = book.resting(side).map(|row| (row.price.0, row.remaining.0, row.id.number)).collect();
            same!(is, should, "the {side:?} side of the book");
            same!(book.best(side).map(|p| p.0), should.first().map(|row| row.0), "the best {side:?}");
        }
        if let (Some(bid), Some(ask)) = (book.best(Side::Buy), book.best(Side::Sell))
            && bid >= ask
            && !market.in_auction()
        {
            return Err(format!("the book is crossed: {bid:?} {ask:?}"));
        }
        same!(book.phase(), market.phase, "the phase");
        let clearing = book.clearing().map(|clearing| (clearing.price.0, clearing.volume));
        same!(clearing, market.clearing(), "what an auction would do");
        same!(book.live_orders(), market.live.len(), "the number of live orders");
        same!(book.last_price().map(|p| p.0), market.last_price, "the last price");
        same!(book.accepted_orders(), market.accepted, "the number of accepted orders");
        same!(book.feed_sequence(), self.feed_sequence, "the feed sequence");
        same!(book.fill_digest(), self.digest, "the digest of fills");
        same!(book.config(), &market.config, "the configuration");
        let mut holds: HashMap<_, i128> = HashMap::new();
        for order in &market.live {
            let record = self.records.get(&order.number).ok_or("a live order was never accepted")?;
            same!(book.order(record.id), Some(*record), "order {} and the fold of its events", order.number);
            same!(record.hold.0, order.hold, "the hold of order {}", order.number);
            *holds.entry((order.asked.account, held(order.asked.side))).or_default() += order.hold;
        }
        let mut sums = [0i128; 2];
        for (account, balances) in self.real.ledger.balances() {
            if account >= AccountId::FIRST_USER {
                let should: Vec<u64> = market.orders_of(account).iter().map(|o| o.number).collect();
                let is: Vec<u64> = book.orders_of(account).map(|record| record.id.number).collect();
                same!(is, should, "the orders of {account:?}");
            }
            for (index, currency) in [BASE, QUOTE].into_iter().enumerate() {
                let balance = self.real.ledger.balance(account, currency);
                same!((balance.available.0, balance.hold.0), self.bank.balance(account, currency), "{account:?}");
                sums[index] += balance.total().0;
                let hold = holds.get(&(account, currency)).copied().unwrap_or(0);
                same!(balance.hold.0, hold, "the hold of {account:?} and the sum of its orders' holds");
                if account != AccountId::OUTSIDE && (balance.available.0 < 0 || balance.hold.0 < 0) {
                    return Err(format!("{account:?} has {balance:?}"));
                }
            }
            same!(balances.len() <= 2, true, "the number of balances");
        }
        same!(sums, [0, 0], "the sums over all accounts");
        Ok(())
    }

    /// The state as bytes, for snapshots and hashes.
    pub fn image(&self) -> Result<Vec<u8>, Differs> {
        self.real.image()
    }

    /// After everything was applied nothing is pending.
    pub fn finish(&mut self) -> Result<(), Differs> {
        self.flush()?;
        same!(self.admission.pending(), 0, "pending holds at the end");
        Ok(())
    }
}
