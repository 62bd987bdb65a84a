//! The limit of what reaches many sockets: a bare server that gives what one socket says to all of them, and stores
//! nothing. `bench chat` and `bench feed` start it as a process of its own.

use actix::prelude::*;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use actix_web_actors::ws;
use bytestring::ByteString;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;

type All = Arc<Mutex<Vec<Recipient<Say>>>>;

#[derive(Clone, Message)]
#[rtype(result = "()")]
struct Say(ByteString);

struct Listener(All);

impl Actor for Listener {
    type Context = ws::WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(4_096);
        self.0.lock().push(ctx.address().recipient());
    }
}

impl Handler<Say> for Listener {
    type Result = ();

    fn handle(&mut self, Say(text): Say, ctx: &mut Self::Context) {
        ctx.text(text);
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Listener {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, ctx: &mut Self::Context) {
        match message {
            Ok(ws::Message::Text(text)) => {
                self.0.lock().retain(|other| other.try_send(Say(text.clone())).is_ok());
                ctx.text(r#"{"type":"ack"}"#);
            }
            Ok(ws::Message::Ping(content)) => ctx.pong(&content),
            Ok(ws::Message::Close(_)) | Err(_) => ctx.stop(),
            Ok(_) => {}
        }
    }
}

async fn connect(all: web::Data<All>, request: HttpRequest, body: web::Payload) -> actix_web::Result<HttpResponse> {
    ws::start(Listener(all.get_ref().clone()), &request, body)
}

/// Serves until it is killed.
///
/// # Errors
/// When the address is taken.
pub async fn serve(listen: SocketAddr, workers: Option<usize>) -> std::io::Result<()> {
    let all = web::Data::new(All::default());
    let server = HttpServer::new(move || App::new().app_data(all.clone()).route("/ws", web::get().to(connect)));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let server = server.workers(workers.unwrap_or(cores)).tcp_nodelay(true).bind(listen)?;
    for address in server.addrs() {
        println!("page http://{address}/");
    }
    server.run().await
}
