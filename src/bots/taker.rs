//! A taker for demos: small market orders at random moments.

use super::client::Client;
use rand::RngExt;
use serde_json::json;
use std::time::Duration;

/// Trades until an error.
///
/// # Errors
/// When the server cannot be reached or the session is over.
pub async fn run(client: Client) -> anyhow::Result<()> {
    let products = client.get("/products").await?;
    let symbols: Vec<&str> = products.as_array().into_iter().flatten().filter_map(|p| p["id"].as_str()).collect();
    for round in 0u64.. {
        if round % 100 == 0 {
            for (currency, amount) in [("USDT", "50000"), ("BTC", "2"), ("ETH", "20")] {
                client.top_up(currency, amount).await?;
            }
        }
        let symbol = symbols.get(rand::rng().random_range(0..symbols.len().max(1))).copied().unwrap_or("BTC-USDT");
        let (least, most, decimals) = if symbol.starts_with("BTC") { (200, 30_000, 6) } else { (20, 900, 3) };
        let units = i128::from(rand::rng().random_range(least..most));
        let size = crate::domain::money::Decimal { units, decimals }.to_string();
        let side = if rand::rng().random_bool(0.5) { "buy" } else { "sell" };
        let order = json!({"type": "market", "side": side, "product_id": symbol, "size": size});
        if let Err(refusal) = client.place(&order).await? {
            tracing::debug!(symbol, refusal, "a market order was refused");
        }
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(150..900))).await;
    }
    Ok(())
}
