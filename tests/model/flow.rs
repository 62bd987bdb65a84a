//! Random commands: prices close together, few accounts, so that ties, partial fills, self trades
//! and cascades are frequent. Commands name orders by how new they are, not by id, so that a sequence
//! stays meaningful when the shrinker takes some of it away.

use crate::reference::UNSOUND;
use crate::rng::Rng;
use agora::domain::ids::{AccountId, ClientOrderId, CurrencyId, MarketId};
use agora::domain::market::{Currency, MarketConfig, MarketState, Safety, Step};
use agora::domain::money::{Amount, MAX_AMOUNT, MAX_UNITS, Ppm, Price, Size};
use agora::domain::order::{Kind, SelfTrade, Side, Stop, TimeInForce, Trigger};
use agora::domain::time::Timestamp;

/// Who asks for a cancel or an amend: the order's owner, or this account.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    Owner,
    Account(AccountId),
}

/// What somebody asks for. `back` counts from the newest accepted order: 0 is one not yet accepted.
#[derive(Clone, Debug)]
pub enum Command {
    Place(Wish),
    Cancel {
        who: Who,
        back: u64,
    },
    CancelAll {
        account: AccountId,
        side: Option<Side>,
    },
    /// `skew` is added to the extra hold that it needs.
    Amend {
        who: Who,
        back: u64,
        price: Option<Price>,
        size: Option<Size>,
        skew: i128,
    },
    /// Cancels and amends name the account's live orders by their place in its list, newest first; beyond the
    /// list an order of somebody else may be meant.
    Atomic {
        account: AccountId,
        cancels: Vec<u64>,
        amends: Vec<(u64, Option<Price>, Option<Size>)>,
        places: Vec<Wish>,
    },
    Configure(Box<MarketConfig>),
    Reconfigure(Box<MarketConfig>),
    Kill {
        account: Option<AccountId>,
        engaged: bool,
    },
    /// So long from now.
    BeginAuction(i64),
    Tick,
    Deposit {
        account: AccountId,
        currency: CurrencyId,
        amount: Amount,
        repeat: bool,
    },
    Withdraw {
        account: AccountId,
        currency: CurrencyId,
        amount: Amount,
    },
    Transfer {
        account: AccountId,
        to: AccountId,
        currency: CurrencyId,
        amount: Amount,
    },
    Freeze {
        account: AccountId,
        frozen: bool,
    },
}

/// An order without ticket, fees and hold, which admission adds. `skew` is added to the hold.
#[derive(Clone, Debug)]
pub struct Wish {
    pub account: AccountId,
    pub client_id: Option<ClientOrderId>,
    pub side: Side,
    pub kind: Kind,
    pub size: Size,
    pub stop: Option<Stop>,
    pub self_trade: SelfTrade,
    pub skew: i128,
}

/// A command, how long after the one before it comes, and whether all that was admitted is now
/// committed and applied.
#[derive(Clone, Debug)]
pub struct Move {
    pub after: i64,
    pub command: Command,
    pub flush: bool,
}

/// When a sequence begins.
pub const START: i64 = 1_000;

/// A world to run commands in.
#[derive(Clone, Debug)]
pub struct Scene {
    pub config: MarketConfig,
    pub currencies: [Currency; 2],
    pub accounts: u32,
    pub funds: [Amount; 2],
    price: (u64, u64),
    size: (u64, u64),
    all_rules: bool,
    /// Whether bids tend to be below asks, so that the book gets deep.
    calm: bool,
}

impl Scene {
    /// Makes a scene; `all_rules` mixes in limits, bands, states, stops and the ledger's own entries.
    pub fn new(rng: &mut Rng, all_rules: bool) -> Scene {
        let step = |units, decimals| Step { units, decimals };
        let (tick, lot) = rng.pick(&[
            (step(1, 2), step(1, 4)),
            (step(7, 2), step(3, 4)),
            (step(1, 0), step(1, 0)),
            (step(5, 1), step(2, 5)),
        ]);
        // The third choice is far above any market: amounts beyond 64 bits.
        let (price, size) = rng.pick(&[
            ((95, 105), (1, 12)),
            ((1, 4), (1, 30)),
            ((1 << 40, (1 << 40) + 5), (1 << 30, 1 << 36)),
            ((9_990, 10_010), (1, 3)),
            ((250, 262), (1, 100)),
        ]);
        let fees = [0, 1, 999, 2_500, 3_333, 100_000];
        let rich = Amount((1 << 99) - 1);
        let poor = Amount(i128::from(price.1) * i128::from(size.1) * 100);
        let currency = |id, code: &str, decimals| Currency {
            id: CurrencyId(id),
            code: code.into(),
            name: code.into(),
            decimals,
            fiat: false,
        };
        let limits = all_rules && rng.one_in(3);
        let config = MarketConfig {
            id: MarketId(0),
            symbol: "BTC-USDT".into(),
            base: CurrencyId(0),
            quote: CurrencyId(1),
            tick,
            lot,
            maker_fee: Ppm(rng.pick(&fees)),
            taker_fee: Ppm(rng.pick(&fees)),
            min_size: if limits { Size(size.0 + 1) } else { Size(1) },
            max_size: if limits { Size(size.1 - size.1 / 4) } else { Size(MAX_UNITS) },
            min_funds: Amount(if limits { i128::from(price.0) * i128::from(size.0) * 2 } else { 0 }),
            max_funds: MAX_AMOUNT,
            band: Ppm(if all_rules { rng.pick(&[0, 0, 0, 20_000, 200_000]) } else { 0 }),
            reference_price: Price(if rng.one_in(2) { price.0 } else { 0 }),
            max_open_orders: if all_rules { rng.pick(&[0, 0, 3, 8]) } else { 0 },
            safety: if all_rules && rng.one_in(2) {
                Safety { halt: Ppm(rng.pick(&[10_000, 30_000, 300_000])), window_ms: 1, auction_ms: 1 }
            } else {
                Safety::default()
            },
            state: MarketState::Online,
        };
        Scene {
            config,
            currencies: [currency(0, "BTC", 8), currency(1, "USDT", 6)],
            accounts: rng.within(2, 6) as u32,
            funds: [rng.pick(&[rich, rich, poor]), rng.pick(&[rich, rich, poor])],
            price,
            size,
            all_rules,
            calm: rng.one_in(2),
        }
    }

    fn account(&self, rng: &mut Rng) -> AccountId {
        AccountId(2 + rng.below(u64::from(self.accounts)) as u32)
    }

    fn price(&self, rng: &mut Rng) -> Price {
        if self.all_rules && rng.one_in(200) {
            return Price(rng.pick(&[0, 1, MAX_UNITS, MAX_UNITS + 1, u64::MAX, self.price.1 * 2]));
        }
        Price(rng.within(self.price.0, self.price.1))
    }

    /// A limit price; in a calm scene mostly from the half of its own side.
    fn limit(&self, rng: &mut Rng, side: Side) -> Price {
        let middle = self.price.0 + (self.price.1 - self.price.0) / 2;
        match side {
            _ if !self.calm || rng.one_in(4) => self.price(rng),
            Side::Buy => Price(rng.within(self.price.0, middle)),
            Side::Sell => Price(rng.within(middle, self.price.1)),
        }
    }

    fn size(&self, rng: &mut Rng) -> Size {
        if self.all_rules && rng.one_in(200) {
            return Size(rng.pick(&[0, 1, MAX_UNITS, MAX_UNITS + 1, u64::MAX]));
        }
        Size(rng.within(self.size.0, self.size.1))
    }

    /// The next command; `now` is the time.
    pub fn command(&self, rng: &mut Rng, now: i64) -> Command {
        let account = self.account(rng);
        let who = if rng.one_in(6) { Who::Account(account) } else { Who::Owner };
        // The newest orders are the likeliest to be alive.
        let furthest = rng.pick(&[8, 30, 90]);
        let back = rng.below(furthest);
        let roll = rng.below(100);
        if roll < if self.calm { 72 } else { 62 } {
            return Command::Place(self.wish(rng, account, now));
        }
        if roll < 78 {
            return Command::Cancel { who, back };
        }
        if roll < 80 {
            return Command::CancelAll { account, side: rng.pick(&[None, Some(Side::Buy), Some(Side::Sell)]) };
        }
        if roll < 90 {
            let price = if rng.one_in(2) { Some(self.price(rng)) } else { None };
            let size = if rng.one_in(3) { None } else { Some(self.size(rng)) };
            let skew = if rng.one_in(10) { rng.pick(&[-1, 1, 1_000]) } else { 0 };
            return Command::Amend { who, back, price, size, skew };
        }
        if roll < 91 || (roll < 93 && !self.all_rules) {
            return Command::Tick;
        }
        if roll < 95 {
            return self.atomic(rng, account, now);
        }
        if !self.all_rules {
            return Command::Tick;
        }
        let currency = CurrencyId(rng.below(2) as u16);
        let amount = Amount(i128::from(self.price.1) * i128::from(rng.within(1, self.size.1)));
        match rng.below(18) {
            0 => Command::Configure(Box::new(self.other_config(rng))),
            1 => Command::Configure(Box::new(self.config.clone())),
            2 => Command::Reconfigure(Box::new(self.config.clone())),
            12 => Command::Reconfigure(Box::new(self.other_config(rng))),
            13 => Command::Kill { account: Some(account), engaged: !rng.one_in(4) },
            14 => Command::Kill { account: None, engaged: rng.one_in(2) },
            15 => Command::Kill { account: None, engaged: false },
            16 | 17 => Command::BeginAuction(rng.within(0, 150) as i64),
            3 => Command::Freeze { account, frozen: true },
            4 | 5 => Command::Freeze { account, frozen: false },
            6 | 7 => Command::Deposit { account, currency, amount, repeat: rng.one_in(3) },
            8 | 9 => Command::Withdraw { account, currency, amount },
            _ => Command::Transfer { account, to: self.account(rng), currency, amount },
        }
    }

    fn atomic(&self, rng: &mut Rng, account: AccountId, now: i64) -> Command {
        let mut which = 0;
        let mut next = |rng: &mut Rng| {
            // Twice the same now and then, and beyond the list.
            which += u64::from(!rng.one_in(30));
            if rng.one_in(30) { 1_000 + rng.below(30) } else { which }
        };
        let cancels = (0..rng.below(3)).map(|_| next(rng)).collect();
        let amends = (0..rng.below(3))
            .map(|_| {
                let price = if rng.one_in(2) { Some(self.price(rng)) } else { None };
                let size = if price.is_some() && rng.one_in(2) { None } else { Some(self.size(rng)) };
                (next(rng), price, size)
            })
            .collect();
        let places = (0..rng.below(4)).map(|_| self.wish(rng, account, now)).collect();
        Command::Atomic { account, cancels, amends, places }
    }

    fn other_config(&self, rng: &mut Rng) -> MarketConfig {
        let mut config = self.config.clone();
        match rng.below(11) {
            9 => config.safety = Safety { halt: Ppm(20_000), window_ms: 1, auction_ms: 1 },
            10 => (config.max_open_orders, config.maker_fee) = (UNSOUND, Ppm(1_000_000)),
            0 => config.state = MarketState::PostOnly,
            1 => config.state = MarketState::LimitOnly,
            2 => config.state = MarketState::CancelOnly,
            3 => config.state = MarketState::Halted,
            4 => config.band = Ppm(10_000),
            5 => config.max_open_orders = 2,
            6 => config.taker_fee = Ppm(rng.below(100_000) as u32),
            7 => config.maker_fee = Ppm(rng.below(100_000) as u32),
            // Steps never change, so this one is ignored.
            _ => config.tick.units += 1,
        }
        config
    }

    fn wish(&self, rng: &mut Rng, account: AccountId, now: i64) -> Wish {
        let side = rng.pick(&[Side::Buy, Side::Sell]);
        let mut size = self.size(rng);
        let kind = if rng.one_in(8) {
            let per_lot = i128::from(self.price.1) * if rng.one_in(2) { 1 } else { 10_000 };
            let funds = Amount(per_lot * i128::from(rng.within(1, self.size.1)) + i128::from(rng.below(50)));
            let by_funds = rng.one_in(2);
            let odd = self.all_rules && rng.one_in(40);
            if by_funds && rng.one_in(2) {
                size = Size(0);
            }
            Kind::Market { funds: if by_funds != odd { Some(funds) } else { None } }
        } else {
            let until = Timestamp(now + rng.within(0, 300) as i64);
            let time_in_force = match rng.below(12) {
                0 => TimeInForce::ImmediateOrCancel,
                1 => TimeInForce::FillOrKill,
                2 | 3 => TimeInForce::GoodTillTime(until),
                _ => TimeInForce::GoodTillCanceled,
            };
            let odd = self.all_rules && rng.one_in(40);
            let rests = matches!(time_in_force, TimeInForce::GoodTillCanceled | TimeInForce::GoodTillTime(_));
            Kind::Limit { price: self.limit(rng, side), time_in_force, post_only: rng.one_in(8) && (rests || odd) }
        };
        let stop = if self.all_rules && rng.one_in(5) {
            let fitting = (side == Side::Buy) != rng.one_in(60);
            let trigger = if fitting { Trigger::Entry } else { Trigger::Loss };
            Some(Stop { trigger, price: self.price(rng) })
        } else {
            None
        };
        Wish {
            account,
            client_id: if rng.one_in(4) { Some(ClientOrderId(u128::from(rng.below(200)))) } else { None },
            side,
            kind,
            size,
            stop,
            self_trade: rng.pick(&[
                SelfTrade::DecrementAndCancel,
                SelfTrade::CancelOldest,
                SelfTrade::CancelNewest,
                SelfTrade::CancelBoth,
            ]),
            skew: if rng.one_in(25) { rng.pick(&[-1, 1, 777, -1_000_000]) } else { 0 },
        }
    }
}

/// A whole sequence of steps.
pub fn sequence(scene: &Scene, rng: &mut Rng, length: usize) -> Vec<Move> {
    let mut now = START;
    (0..length)
        .map(|_| {
            let after = rng.within(0, 9) as i64;
            now += after;
            Move { after, command: scene.command(rng, now), flush: !rng.one_in(3) }
        })
        .collect()
}
