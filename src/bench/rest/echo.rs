//! The limits of the measurement: a bare server that reads an order and answers one, and does nothing in between; and the
//! same with a log, where one thread makes everything that waits durable with one flush, and each answer waits for
//! that. No venue that answers with durable outcomes can be quicker than the latter on the same machine.

use actix_web::error::ErrorInternalServerError;
use actix_web::{App, HttpResponse, HttpServer, web};
use crossbeam_channel::{Receiver, Sender};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::sync::oneshot;

/// Bytes of the log's file. It is written before, as a log's segments are, and from the beginning again at its end.
const LOG_BYTES: usize = 64 << 20;
/// Bytes of an order in the log, about as many as a venue's entry has.
const ENTRY: [u8; 64] = [7; 64];

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

/// How many orders may wait for the disk; further ones are answered with 500.
const MOST_WAITING: usize = 16_384;

/// Where orders wait for the disk; each is told when it is there.
type Log = Sender<oneshot::Sender<()>>;

/// Makes durable what waits, all of it with one flush, for as long as somebody may add to it.
fn keep(mut file: File, orders: &Receiver<oneshot::Sender<()>>) -> io::Result<()> {
    let (mut bytes, mut waiting, mut at) = (Vec::new(), Vec::new(), 0);
    while let Ok(order) = orders.recv() {
        waiting.push(order);
        waiting.extend(orders.try_iter());
        bytes.clear();
        waiting.iter().for_each(|_| bytes.extend_from_slice(&ENTRY));
        if at + bytes.len() > LOG_BYTES {
            at = 0;
            file.rewind()?;
        }
        at += bytes.len();
        file.write_all(&bytes)?;
        file.sync_data()?;
        for order in waiting.drain(..) {
            // A client that hung up does not want the answer.
            let _ = order.send(());
        }
    }
    Ok(())
}

/// A log in this file, with a thread of its own.
fn open(path: &PathBuf) -> io::Result<Log> {
    let mut file = File::create(path)?;
    file.write_all(&vec![0; LOG_BYTES])?;
    file.sync_all()?;
    file.rewind()?;
    let (log, orders) = crossbeam_channel::bounded(MOST_WAITING);
    let keeper = std::thread::Builder::new().name("log".into());
    // When the disk fails nobody takes what waits, and each order is answered with 500.
    keeper.spawn(move || keep(file, &orders).map_err(|error| eprintln!("the log has failed: {error}")))?;
    Ok(log)
}

async fn echo(order: web::Json<Order>, log: web::Data<Option<Log>>) -> actix_web::Result<HttpResponse> {
    if let Some(log) = log.as_ref() {
        let (done, is_done) = oneshot::channel();
        log.try_send(done).map_err(ErrorInternalServerError)?;
        is_done.await.map_err(ErrorInternalServerError)?;
    }
    let Order { side, product_id, price, size } = order.into_inner();
    Ok(HttpResponse::Ok().json(Answer {
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
    }))
}

/// Serves on this address until the process ends, and prints where; with a log in this file, if one is named.
///
/// # Errors
/// When the address is taken, or the file cannot be written.
pub async fn serve(listen: SocketAddr, workers: usize, log: Option<PathBuf>) -> anyhow::Result<()> {
    let log = web::Data::new(log.as_ref().map(open).transpose()?);
    let app = move || {
        let app = App::new().app_data(log.clone());
        app.route("/v1/orders", web::post().to(echo)).route("/health/ready", web::get().to(ready))
    };
    let server = HttpServer::new(app).workers(workers).tcp_nodelay(true).bind(listen)?;
    for address in server.addrs() {
        println!("echo http://{address}/");
    }
    Ok(server.run().await?)
}

async fn ready() -> HttpResponse {
    HttpResponse::Ok().finish()
}
