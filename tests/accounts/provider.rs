//! A sign-in provider on this machine: discovery, keys, tokens, and a verify endpoint like LINE's.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

pub const CLIENT: &str = "client-1";
pub const SECRET: &str = "client-secret";

/// Somebody who has said yes: the claims of the id token, and the PKCE challenge that was shown.
#[derive(Clone)]
struct Grant {
    claims: Value,
    challenge: String,
}

#[derive(Clone)]
pub struct Provider {
    pub address: SocketAddr,
    key: Arc<EncodingKey>,
    jwk: Value,
    grants: Arc<Mutex<HashMap<String, Grant>>>,
}

pub fn new_key() -> (EncodingKey, Value) {
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).unwrap();
    let public = DecodingKey::from_ec_der(pair.public_key().as_ref());
    let mut jwk = Jwk::from_decoding_key(&public, Some(Algorithm::ES256)).unwrap();
    jwk.common.key_id = Some("key-1".into());
    (EncodingKey::from_ec_der(document.as_ref()), serde_json::to_value(jwk).unwrap())
}

impl Provider {
    pub fn start() -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (key, jwk) = new_key();
        let provider = Provider { address, key: Arc::new(key), jwk, grants: Arc::default() };
        let serving = provider.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let serving = serving.clone();
                thread::spawn(move || drop(serving.serve(stream.unwrap())));
            }
        });
        provider
    }

    pub fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The file that makes a server know this provider, once plain and once in the manner of LINE.
    pub fn settings(&self) -> String {
        let issuer = self.issuer();
        format!(
            "[[provider]]\nid = \"local\"\nname = \"Local\"\nissuer = \"{issuer}\"\nclient_id = \"{CLIENT}\"\n\
             client_secret = \"{SECRET}\"\n\n[[provider]]\nid = \"line\"\npreset = \"line\"\nissuer = \"{issuer}\"\n\
             client_id = \"{CLIENT}\"\nclient_secret = \"{SECRET}\"\nauthorize_url = \"{issuer}/authorize\"\n\
             token_url = \"{issuer}/token\"\nverify_url = \"{issuer}/verify\"\n"
        )
    }

    /// Claims that pass, for this subject.
    pub fn claims(&self, subject: &str, nonce: &str) -> Value {
        json!({"iss": self.issuer(), "sub": subject, "aud": CLIENT, "exp": 4_000_000_000_u64, "nonce": nonce})
    }

    /// Claims of a token that an app gets by itself.
    pub fn claims_of_app(&self, subject: &str) -> Value {
        let mut claims = self.claims(subject, "");
        claims.as_object_mut().unwrap().remove("nonce");
        claims
    }

    /// Says yes to what an authorize address asks for; gives code and state.
    pub fn consent(&self, url: &str, change: impl FnOnce(&mut Value), subject: &str) -> (String, String) {
        let query: HashMap<String, String> = parse(url.split_once('?').unwrap().1);
        assert_eq!((query["response_type"].as_str(), query["client_id"].as_str()), ("code", CLIENT));
        assert_eq!(query["code_challenge_method"], "S256");
        let mut claims = self.claims(subject, &query["nonce"]);
        change(&mut claims);
        let code = format!("code-{}", uuid::Uuid::new_v4());
        let grant = Grant { claims, challenge: query["code_challenge"].clone() };
        self.grants.lock().unwrap().insert(code.clone(), grant);
        (code, query["state"].clone())
    }

    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some("key-1".into()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }

    fn answer(&self, path: &str, body: &str) -> (u16, Value) {
        let form = parse(body);
        match path {
            "/.well-known/openid-configuration" => {
                let issuer = self.issuer();
                let found = json!({"issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
                    "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys")});
                (200, found)
            }
            "/keys" => (200, json!({"keys": [self.jwk]})),
            "/token" => {
                let grant = form.get("code").and_then(|code| self.grants.lock().unwrap().remove(code));
                let verifier = Sha256::digest(form.get("code_verifier").map(String::as_str).unwrap_or_default());
                use base64::Engine;
                let challenge = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(verifier);
                match grant {
                    Some(grant) if grant.challenge == challenge && form["client_secret"] == SECRET => (
                        200,
                        json!({"id_token": self.sign(&grant.claims), "access_token": "x", "token_type": "Bearer"}),
                    ),
                    _ => (400, json!({"error": "invalid_grant"})),
                }
            }
            "/verify" => {
                // The payload of a token of ours; a real one checks the signature first.
                let payload = form["id_token"].split('.').nth(1).unwrap_or_default();
                use base64::Engine;
                let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
                match serde_json::from_slice::<Value>(&claims) {
                    Ok(claims) if form["client_id"] == CLIENT => (200, claims),
                    _ => (400, json!({"error": "invalid_request"})),
                }
            }
            _ => (404, json!({})),
        }
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut first = String::new();
        while reader.read_line(&mut first)? > 0 {
            let (mut length, mut line) = (0, String::new());
            while reader.read_line(&mut line)? > 2 {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
            let (status, answer) = self.answer(&path, &String::from_utf8_lossy(&body));
            let text = answer.to_string();
            write!(
                stream,
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            )?;
            first.clear();
        }
        Ok(())
    }
}

/// A query or form.
fn parse(text: &str) -> HashMap<String, String> {
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            let mut hex = || char::from(rest.next().unwrap());
            bytes.push(match byte {
                b'%' => u8::from_str_radix(&[hex(), hex()].iter().collect::<String>(), 16).unwrap(),
                b'+' => b' ',
                other => other,
            });
        }
        String::from_utf8(bytes).unwrap()
    };
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}
