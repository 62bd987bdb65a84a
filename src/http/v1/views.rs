//! The shapes of the dialect's answers.

use crate::actors::trading::Market;
use crate::actors::trading::listing::PhaseView;
use crate::custody::Network;
use crate::domain::event::PhaseReason;
use crate::domain::ids::AccountId;
use crate::domain::market::{Currency, MarketState, Phase};
use crate::domain::money::{Amount, Ppm, Size};
use crate::domain::order::{Kind, OrderRecord, SelfTrade, Side, Status, TimeInForce, Trigger};
use crate::http::{ids, wire};
use crate::persistence::fills::FillRow;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

/// `buy` or `sell`.
pub fn side(side: Side) -> &'static str {
    match side {
        Side::Buy => "buy",
        Side::Sell => "sell",
    }
}

/// An order.
#[derive(Debug, Serialize)]
pub struct OrderView {
    /// Its id.
    pub id: Uuid,
    product_id: String,
    profile_id: Uuid,
    side: &'static str,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    funds: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    specified_funds: Option<String>,
    stp: &'static str,
    time_in_force: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_time: Option<String>,
    post_only: bool,
    settled: bool,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<&'static str>,
    /// `open`, `active` or `done`.
    pub status: &'static str,
    fill_fees: String,
    filled_size: String,
    executed_value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_oid: Option<Uuid>,
}

impl OrderView {
    /// The order as the dialect shows it.
    pub fn new(market: &Market, order: &OrderRecord) -> OrderView {
        let config = &market.config;
        let (time_in_force, expires_at, post_only) = match order.kind {
            Kind::Limit { time_in_force, post_only, .. } => match time_in_force {
                TimeInForce::GoodTillCanceled => ("GTC", None, post_only),
                TimeInForce::GoodTillTime(at) => ("GTT", Some(at), post_only),
                TimeInForce::ImmediateOrCancel => ("IOC", None, post_only),
                TimeInForce::FillOrKill => ("FOK", None, post_only),
            },
            Kind::Market { .. } => ("GTC", None, false),
        };
        let funds = match order.kind {
            Kind::Market { funds } => funds.map(|funds| wire::amount(funds, &market.quote)),
            Kind::Limit { .. } => None,
        };
        let (status, done) = match order.status {
            Status::Active => ("active", None),
            Status::Open => ("open", None),
            Status::Done(reason, at) => ("done", Some((reason, at))),
        };
        OrderView {
            id: ids::order(market.id, order.id),
            product_id: config.symbol.clone(),
            profile_id: ids::profile(order.account),
            side: side(order.side),
            r#type: if order.price().is_some() { "limit" } else { "market" },
            price: order.price().map(|price| wire::price(price, config)),
            size: if order.size.is_zero() { None } else { Some(wire::size(order.size, config)) },
            specified_funds: funds.clone(),
            funds,
            stp: match order.self_trade {
                SelfTrade::DecrementAndCancel => "dc",
                SelfTrade::CancelOldest => "co",
                SelfTrade::CancelNewest => "cn",
                SelfTrade::CancelBoth => "cb",
            },
            time_in_force,
            expire_time: expires_at.map(wire::time),
            post_only,
            settled: done.is_some(),
            created_at: wire::time(order.created_at),
            done_at: done.map(|(_, at)| wire::time(at)),
            done_reason: done.map(|(reason, _)| reason.wire()),
            status,
            fill_fees: wire::amount(order.fees, &market.quote),
            filled_size: wire::size(order.filled, config),
            executed_value: wire::amount(order.executed, &market.quote),
            stop: order.stop.map(|stop| match stop.trigger {
                Trigger::Loss => "loss",
                Trigger::Entry => "entry",
            }),
            stop_price: order.stop.map(|stop| wire::price(stop.price, config)),
            client_oid: order.client_id.map(|id| Uuid::from_u128(id.0)),
        }
    }
}

/// A market.
#[derive(Debug, Serialize)]
pub struct ProductView {
    id: String,
    base_currency: String,
    quote_currency: String,
    base_increment: String,
    quote_increment: String,
    base_min_size: String,
    base_max_size: String,
    min_market_funds: String,
    max_market_funds: String,
    display_name: String,
    status: &'static str,
    status_message: String,
    max_slippage_percentage: &'static str,
    margin_enabled: bool,
    post_only: bool,
    limit_only: bool,
    cancel_only: bool,
    trading_disabled: bool,
    fx_stablecoin: bool,
    auction_mode: bool,
    /// Ours: `trading`, `auction` or `stopped`.
    phase: &'static str,
    /// Ours: why the phase is what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    phase_reason: Option<&'static str>,
    /// Ours: the auction that goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    auction: Option<AuctionView>,
    /// Ours, as all that follow: rates are shares of one.
    maker_fee_rate: String,
    taker_fee_rate: String,
    max_open_orders: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    price_band: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    halt: Option<String>,
}

/// A call auction.
#[derive(Debug, Serialize)]
pub struct AuctionView {
    ends_at: String,
    /// The price at which it would trade now, if anything could.
    indicative_price: Option<String>,
    /// How much it would trade now.
    indicative_size: String,
}

impl AuctionView {
    /// The auction in what goes on in a market, if it is one.
    pub fn of(market: &Market, shown: &PhaseView) -> Option<AuctionView> {
        let Phase::Auction { ends_at } = shown.phase else { return None };
        let volume = shown.indication.map_or(0, |clearing| clearing.volume);
        Some(AuctionView {
            ends_at: wire::time(ends_at),
            indicative_price: shown.indication.map(|clearing| wire::price(clearing.price, &market.config)),
            indicative_size: wire::size(Size(u64::try_from(volume).unwrap_or(u64::MAX)), &market.config),
        })
    }
}

impl ProductView {
    /// The market as the dialect shows it.
    pub fn new(market: &Market) -> ProductView {
        let config = &market.config;
        let fault = market.fault();
        let shown = market.phase.view();
        let auction = AuctionView::of(market, &shown);
        let phase = match shown.phase {
            Phase::Trading => "trading",
            Phase::Killed => "stopped",
            Phase::Auction { .. } => "auction",
        };
        let reason = shown.reason.filter(|_| shown.phase != Phase::Trading);
        let share = |rate: Ppm| if rate.0 == 0 { None } else { Some(wire::rate(rate)) };
        let status_message = match (&fault, reason) {
            (Some(fault), _) => format!("halted: {}", fault.reason),
            (None, Some(reason)) => reason.rule().to_owned(),
            (None, None) => String::new(),
        };
        ProductView {
            id: config.symbol.clone(),
            base_currency: market.base.code.clone(),
            quote_currency: market.quote.code.clone(),
            base_increment: wire::steps(1, config.lot),
            quote_increment: wire::steps(1, config.tick),
            base_min_size: wire::size(config.min_size, config),
            base_max_size: wire::size(config.max_size, config),
            min_market_funds: wire::amount(config.min_funds, &market.quote),
            max_market_funds: wire::amount(config.max_funds, &market.quote),
            display_name: format!("{}/{}", market.base.code, market.quote.code),
            status: if fault.is_some() { "offline" } else { "online" },
            trading_disabled: config.state == MarketState::Halted || shown.phase == Phase::Killed || fault.is_some(),
            status_message,
            max_slippage_percentage: "0.10000000",
            margin_enabled: false,
            post_only: config.state == MarketState::PostOnly,
            limit_only: config.state == MarketState::LimitOnly,
            cancel_only: config.state == MarketState::CancelOnly,
            fx_stablecoin: false,
            auction_mode: auction.is_some(),
            phase,
            phase_reason: reason.map(PhaseReason::code),
            auction,
            maker_fee_rate: wire::rate(config.maker_fee),
            taker_fee_rate: wire::rate(config.taker_fee),
            max_open_orders: config.max_open_orders,
            price_band: share(config.band),
            halt: share(config.safety.halt),
        }
    }
}

/// A currency.
#[derive(Debug, Serialize)]
pub struct CurrencyView {
    id: String,
    name: String,
    min_size: String,
    status: &'static str,
    /// Some text or null; absent where it would stand at the top of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Option<String>>,
    max_precision: String,
    convertible_to: [String; 0],
    display_name: String,
    default_network: &'static str,
    supported_networks: Vec<NetworkView>,
    details: CurrencyDetails,
}

#[derive(Debug, Serialize)]
struct NetworkView {
    id: &'static str,
    name: &'static str,
    status: &'static str,
    contract_address: &'static str,
    crypto_address_link: &'static str,
    crypto_transaction_link: &'static str,
    min_withdrawal_amount: Box<RawValue>,
    max_withdrawal_amount: Box<RawValue>,
    network_confirmations: u32,
    processing_time_seconds: Option<u32>,
}

#[derive(Debug, Serialize)]
struct CurrencyDetails {
    r#type: &'static str,
    symbol: String,
    network_confirmations: u32,
    sort_order: u16,
    crypto_address_link: &'static str,
    crypto_transaction_link: &'static str,
    push_payment_methods: [String; 1],
    group_types: [String; 0],
    display_name: String,
    processing_time_seconds: Option<u32>,
    min_withdrawal_amount: Box<RawValue>,
    max_withdrawal_amount: Box<RawValue>,
}

/// An exact decimal as a JSON number.
fn number(amount: Amount, currency: &Currency) -> Box<RawValue> {
    RawValue::from_string(wire::amount(amount, currency)).unwrap_or_default()
}

impl CurrencyView {
    /// The currency as an answer of its own.
    pub fn alone(self) -> CurrencyView {
        CurrencyView { message: None, ..self }
    }

    /// The currency as the dialect shows it, with the networks on which it moves, the usual one first.
    pub fn new(currency: &Currency, networks: &[Network]) -> CurrencyView {
        let atom = wire::amount(Amount(1), currency);
        let usual = networks.first();
        let bounds = usual.map_or((Amount::ZERO, Amount::ZERO), |network| (network.least, network.most));
        let network = |network: &Network| NetworkView {
            id: network.id,
            name: network.name,
            status: "online",
            contract_address: "",
            crypto_address_link: "",
            crypto_transaction_link: "",
            min_withdrawal_amount: number(network.least, currency),
            max_withdrawal_amount: number(network.most, currency),
            network_confirmations: network.confirmations,
            processing_time_seconds: None,
        };
        CurrencyView {
            id: currency.code.clone(),
            name: currency.name.clone(),
            min_size: atom.clone(),
            status: "online",
            message: Some(None),
            max_precision: atom,
            convertible_to: [],
            display_name: currency.name.clone(),
            default_network: usual.map_or("", |network| network.id),
            supported_networks: networks.iter().map(network).collect(),
            details: CurrencyDetails {
                r#type: if currency.fiat { "fiat" } else { "crypto" },
                symbol: currency.code.clone(),
                network_confirmations: usual.map_or(0, |network| network.confirmations),
                sort_order: currency.id.0,
                crypto_address_link: "",
                crypto_transaction_link: "",
                push_payment_methods: [if currency.fiat { "bank".into() } else { "crypto".into() }],
                group_types: [],
                display_name: currency.name.clone(),
                processing_time_seconds: None,
                min_withdrawal_amount: number(bounds.0, currency),
                max_withdrawal_amount: number(bounds.1, currency),
            },
        }
    }
}

/// One party's view of a trade.
#[derive(Debug, Serialize)]
pub struct FillView {
    trade_id: u64,
    product_id: String,
    order_id: Uuid,
    user_id: Uuid,
    profile_id: Uuid,
    liquidity: &'static str,
    price: String,
    size: String,
    fee: String,
    side: &'static str,
    settled: bool,
    usd_volume: Option<String>,
    created_at: String,
}

impl FillView {
    /// The trade as this user sees it; `None` when it is none of theirs.
    pub fn new(market: &Market, row: &FillRow, account: AccountId) -> Option<FillView> {
        let fill = &row.fill;
        let (liquidity, order, fee, own_side) = if fill.maker_account == account {
            ("M", fill.maker, fill.maker_fee, fill.maker_side)
        } else if fill.taker_account == account {
            ("T", fill.taker, fill.taker_fee, fill.maker_side.opposite())
        } else {
            return None;
        };
        Some(FillView {
            trade_id: fill.trade.0,
            product_id: market.config.symbol.clone(),
            order_id: ids::order(market.id, order),
            user_id: ids::user(account),
            profile_id: ids::profile(account),
            liquidity,
            price: wire::price(fill.price, &market.config),
            size: wire::size(fill.size, &market.config),
            fee: wire::amount(fee, &market.quote),
            side: side(own_side),
            settled: true,
            usd_volume: None,
            created_at: wire::time(row.at),
        })
    }
}
