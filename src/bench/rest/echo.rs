//! The limit of the measurement: a bare server that reads an order and answers one, and does nothing
//! in between.

use actix_web::{App, HttpResponse, HttpServer, web};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The body of an order, as the load generator sends it.
#[derive(Deserialize)]
struct Order {
    side: String,
    product_id: String,
    price: String,
    size: String,
}

/// An answer of the fields and the size that the venue gives.
#[derive(Serialize)]
struct Answer {
    id: &'static str,
    product_id: String,
    profile_id: &'static str,
    side: String,
    r#type: &'static str,
    price: String,
    size: String,
    stp: &'static str,
    time_in_force: &'static str,
    post_only: bool,
    settled: bool,
    created_at: &'static str,
    status: &'static str,
    fill_fees: &'static str,
    filled_size: &'static str,
    executed_value: &'static str,
}

async fn echo(order: web::Json<Order>) -> HttpResponse {
    let Order { side, product_id, price, size } = order.into_inner();
    HttpResponse::Ok().json(Answer {
        id: "00000000-0000-8000-8000-000000000000",
        product_id,
        profile_id: "00000000-0000-8000-8000-000000000000",
        side,
        r#type: "limit",
        price,
        size,
        stp: "dc",
        time_in_force: "GTC",
        post_only: false,
        settled: false,
        created_at: "2024-06-01T00:00:00.000000Z",
        status: "open",
        fill_fees: "0.00000000",
        filled_size: "0.000000",
        executed_value: "0.00000000",
    })
}

/// Serves on this address until the process ends, and prints where.
///
/// # Errors
/// When the address is taken.
pub async fn serve(listen: SocketAddr, workers: usize) -> anyhow::Result<()> {
    let app = || App::new().route("/v1/orders", web::post().to(echo)).route("/health/ready", web::get().to(ready));
    let server = HttpServer::new(app).workers(workers).tcp_nodelay(true).bind(listen)?;
    for address in server.addrs() {
        println!("echo http://{address}/");
    }
    Ok(server.run().await?)
}

async fn ready() -> HttpResponse {
    HttpResponse::Ok().finish()
}
