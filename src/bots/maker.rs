//! A market maker for demos: a ladder of quotes on both sides of a price that wanders.

use super::client::Client;
use rand::RngExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Levels on each side.
const LEVELS: i64 = 12;
/// Between two rounds over all markets.
const ROUND: Duration = Duration::from_millis(700);

struct Market {
    symbol: String,
    /// Smallest price and size steps, as powers of ten.
    price_decimals: u32,
    size_decimals: u32,
    /// The wandering middle, in ticks.
    middle: i64,
    /// Where it is drawn back to.
    anchor: i64,
    /// Ticks between two levels.
    gap: i64,
    /// The usual size of a quote, in lots.
    size: i64,
    orders: Vec<String>,
}

fn decimals(step: &str) -> u32 {
    step.split_once('.').map_or(0, |(_, fraction)| fraction.len() as u32)
}

fn text(units: i64, decimals: u32) -> String {
    crate::domain::money::Decimal { units: i128::from(units), decimals: decimals as u8 }.to_string()
}

fn markets(products: &Value) -> Vec<Market> {
    // Whole units of quote for one of base, about what these trade at in the world.
    let anchors = BTreeMap::from([("BTC-USDT", 64_000.0), ("ETH-USDT", 3_200.0), ("ETH-BTC", 0.05)]);
    let mut markets = Vec::new();
    for product in products.as_array().into_iter().flatten() {
        let field = |name: &str| product[name].as_str().unwrap_or_default().to_owned();
        let (price_decimals, size_decimals) = (decimals(&field("quote_increment")), decimals(&field("base_increment")));
        let symbol = field("id");
        let anchor = anchors.get(symbol.as_str()).copied().unwrap_or(100.0);
        let ticks = (anchor * 10f64.powi(price_decimals as i32)) as i64;
        let usual = if symbol.starts_with("BTC") { 0.05 } else { 0.8 };
        markets.push(Market {
            symbol,
            price_decimals,
            size_decimals,
            middle: ticks,
            anchor: ticks,
            gap: (ticks / 8_000).max(1),
            size: ((usual * 10f64.powi(size_decimals as i32)) as i64).max(1),
            orders: Vec::new(),
        });
    }
    markets
}

/// Quotes until an error.
///
/// # Errors
/// When the server cannot be reached or the session is over.
pub async fn run(client: Client) -> anyhow::Result<()> {
    client.cancel_all().await?;
    let mut markets = markets(&client.get("/products").await?);
    for round in 0u64.. {
        if round % 200 == 0 {
            for account in client.get("/accounts").await?.as_array().into_iter().flatten() {
                let low = account["available"].as_str().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
                let currency = account["currency"].as_str().unwrap_or_default();
                let (least, amount) = if currency.starts_with("USD") { (500_000.0, "1000000") } else { (50.0, "200") };
                if low < least {
                    client.top_up(currency, amount).await?;
                }
            }
        }
        for market in &mut markets {
            quote(&client, market).await?;
        }
        tokio::time::sleep(ROUND).await;
    }
    Ok(())
}

/// Moves the middle a little and replaces a few quotes.
async fn quote(client: &Client, market: &mut Market) -> anyhow::Result<()> {
    let pull = (market.anchor - market.middle) / 200;
    market.middle += pull + rand::rng().random_range(-market.gap..=market.gap);
    market.middle = market.middle.max(LEVELS * market.gap * 2);
    let stale = market.orders.len().saturating_sub(LEVELS as usize * 2 - 6);
    let mut left = Vec::new();
    for id in market.orders.drain(..stale.min(8)).collect::<Vec<_>>() {
        if !client.cancel(&id).await? {
            left.push(id);
        }
    }
    // What rests still is canceled first the next time.
    drop(market.orders.splice(..0, left));
    for _ in 0..6 {
        let buys = rand::rng().random_bool(0.5);
        let level = rand::rng().random_range(1..=LEVELS) * market.gap - rand::rng().random_range(0..market.gap);
        let price = if buys { market.middle - level } else { market.middle + level };
        let size = rand::rng().random_range(market.size / 4 + 1..=market.size * 2);
        let order = json!({
            "type": "limit", "side": if buys { "buy" } else { "sell" }, "product_id": market.symbol,
            "price": text(price.max(1), market.price_decimals), "size": text(size, market.size_decimals),
            "stp": "co",
        });
        match client.place(&order).await? {
            Ok(order) if order["status"] == "open" => {
                market.orders.extend(order["id"].as_str().map(str::to_owned));
            }
            Ok(_) => {}
            Err(refusal) => tracing::debug!(market = market.symbol, refusal, "a quote was refused"),
        }
    }
    Ok(())
}
