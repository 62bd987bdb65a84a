//! A small S3 server in memory: PUT, GET and DELETE of objects by path, with presigned URLs whose
//! signature (AWS Signature Version 4) it computes itself.

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

pub const KEY: &str = "test-key";
pub const SECRET: &str = "test-secret";
pub const REGION: &str = "eu-test-1";

/// What is stored: content by path.
pub type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A running server; it ends with the test's process.
pub struct S3 {
    pub address: SocketAddr,
    pub objects: Objects,
}

impl S3 {
    pub fn start() -> S3 {
        let objects = Objects::default();
        let shared = objects.clone();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    let data = web::Data::new(shared.clone());
                    App::new()
                        .app_data(data)
                        .app_data(web::PayloadConfig::new(32 << 20))
                        .default_service(web::to(serve))
                });
                let server = server.workers(1).bind("127.0.0.1:0").unwrap();
                tell.send(server.addrs()[0]).unwrap();
                server.run().await.unwrap();
            });
        });
        S3 { address: told.recv().unwrap(), objects }
    }
}

async fn serve(request: HttpRequest, objects: web::Data<Objects>, body: web::Bytes) -> HttpResponse {
    if let Err(why) = verify(&request) {
        return HttpResponse::Forbidden().body(why);
    }
    let mut objects = objects.lock().unwrap();
    let path = request.path().to_owned();
    match request.method().as_str() {
        "PUT" => {
            objects.insert(path, body.to_vec());
            HttpResponse::Ok().finish()
        }
        "GET" => match objects.get(&path) {
            Some(content) => HttpResponse::Ok().body(content.clone()),
            None => HttpResponse::NotFound().finish(),
        },
        "DELETE" => {
            objects.remove(&path);
            HttpResponse::NoContent().finish()
        }
        _ => HttpResponse::MethodNotAllowed().finish(),
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The signature over method, path, query and host, as AWS describes it.
fn verify(request: &HttpRequest) -> Result<(), String> {
    let mut query: Vec<&str> = request.query_string().split('&').collect();
    let signature = query.iter().position(|part| part.starts_with("X-Amz-Signature=")).ok_or("no signature")?;
    let signature = query.remove(signature).trim_start_matches("X-Amz-Signature=");
    query.sort_unstable();
    let field = |name: &str| query.iter().find_map(|part| part.strip_prefix(&format!("{name}="))).unwrap_or_default();
    let at = field("X-Amz-Date");
    let scope = format!("{}/{REGION}/s3/aws4_request", at.get(..8).unwrap_or_default());
    if field("X-Amz-Credential") != format!("{KEY}/{scope}").replace('/', "%2F") {
        return Err(format!("credential {}", field("X-Amz-Credential")));
    }
    let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let canonical =
        format!("{}\n{}\n{}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD", request.method(), request.path(), query.join("&"));
    let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let mut key = mac(format!("AWS4{SECRET}").as_bytes(), at.get(..8).unwrap_or_default());
    for part in [REGION, "s3", "aws4_request"] {
        key = mac(&key, part);
    }
    if hex(&mac(&key, &to_sign)) == signature { Ok(()) } else { Err("the signature is wrong".into()) }
}
