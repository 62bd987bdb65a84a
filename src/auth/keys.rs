//! The venue's key pair for access tokens: ECDSA on P-256 with SHA-256 (ES256).
//!
//! Kept as PKCS#8 in PEM form in `DATA/keys/es256.pem`, readable by its owner alone, and made on the
//! first start. Whoever has this file can be anybody, so a file that others can read is refused.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Permission bits that a key file may not have: writing by the group, anything by others.
const FORBIDDEN_MODE: u32 = 0o027;

/// Why there is no key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The operating system refused.
    #[error("the key file {file} cannot be used: {source}")]
    Io {
        /// The file or folder in question.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others could read the key.
    #[error("the key file {file} is open to others (mode {mode:o}); run `chmod 600` on it if nobody else has read it")]
    OpenToOthers {
        /// The file in question.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds no P-256 private key in PKCS#8 PEM form.
    #[error("the key file {0} holds no P-256 private key in PKCS#8 PEM form")]
    Malformed(PathBuf),
    /// The key for secrets at rest is not 32 bytes in base64.
    #[error("the key for secrets at rest (from {0}) must be 32 bytes in base64")]
    NotThirtyTwoBytes(String),
    /// The random source or the key generator failed.
    #[error("no key could be made")]
    Generation,
}

/// A key pair that signs and checks tokens, with its name and its public form for others.
pub struct SigningKey {
    pub(super) encoding: EncodingKey,
    pub(super) decoding: DecodingKey,
    /// RFC 7638 thumbprint of the public key.
    pub(super) id: String,
    /// The JWKS document, as JSON.
    pub(super) jwks: String,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads the key of this data folder, or makes it. Two processes that start at once end up with
    /// the same key, and a crash leaves either no key or a whole one.
    ///
    /// # Errors
    /// See [`KeyError`]. A file that is there but unfit is never replaced.
    pub fn load_or_create(data: &Path) -> Result<SigningKey, KeyError> {
        let file = data.join("keys").join("es256.pem");
        let text = private_file(&file, || {
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map(|document| pem(document.as_ref()))
                .map_err(|_| KeyError::Generation)
        })?;
        SigningKey::from_pem(&text).ok_or(KeyError::Malformed(file))
    }

    /// Reads the key of this file, which several nodes may have in common. It is never made here: nodes that
    /// each made one would refuse each other's tokens.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn load(file: &Path) -> Result<SigningKey, KeyError> {
        let missing = || {
            let source = io::Error::new(io::ErrorKind::NotFound, "there is no such file");
            KeyError::Io { file: file.to_owned(), source }
        };
        SigningKey::from_pem(&private_file(file, || Err(missing()))?)
            .ok_or_else(|| KeyError::Malformed(file.to_owned()))
    }

    fn from_pem(pem: &str) -> Option<SigningKey> {
        let encoding = EncodingKey::from_ec_pem(pem.as_bytes()).ok()?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, encoding.as_bytes()).ok()?;
        let decoding = DecodingKey::from_ec_der(pair.public_key().as_ref());
        let mut jwk = Jwk::from_decoding_key(&decoding, Some(Algorithm::ES256)).ok()?;
        let id = jwk.thumbprint(ThumbprintHash::SHA256).ok()?;
        jwk.common.key_id = Some(id.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        let jwks = serde_json::to_string(&JwkSet { keys: vec![jwk] }).ok()?;
        Some(SigningKey { encoding, decoding, id, jwks })
    }
}

/// The content of a file that only its owner may read; `make` gives it when there is no such file yet.
pub(super) fn private_file(file: &Path, make: impl FnOnce() -> Result<String, KeyError>) -> Result<String, KeyError> {
    let io = |source| KeyError::Io { file: file.to_owned(), source };
    let opened = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(file, &make()?)?;
            File::open(file)
        }
        other => other,
    };
    let opened = opened.map_err(io)?;
    let mode = opened.metadata().map_err(io)?.permissions().mode() & 0o777;
    if mode & FORBIDDEN_MODE != 0 {
        return Err(KeyError::OpenToOthers { file: file.to_owned(), mode });
    }
    io::read_to_string(&opened).map_err(io)
}

/// Puts a file in its place, unless somebody else was faster.
fn create(file: &Path, content: &str) -> Result<(), KeyError> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let draft = file.with_extension(format!("{}.new", uuid::Uuid::new_v4()));
    let write = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        new.write_all(content.as_bytes())?;
        new.sync_all()?;
        // Unlike a rename, a link never replaces a key that is there already.
        match fs::hard_link(&draft, file) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        Ok(())
    };
    let written = write();
    let removed = fs::remove_file(&draft);
    written
        .and(removed)
        .and_then(|()| File::open(folder)?.sync_all())
        .map_err(|source| KeyError::Io { file: file.to_owned(), source })
}

/// RFC 7468: base64 in lines of 64 characters between two labels.
fn pem(der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = String::from("-----BEGIN PRIVATE KEY-----\n");
    for (place, character) in encoded.chars().enumerate() {
        if place > 0 && place % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str("\n-----END PRIVATE KEY-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_first_start_makes_a_private_key_and_the_next_reads_it() {
        let data = tempfile::tempdir().unwrap();
        let first = SigningKey::load_or_create(data.path()).unwrap();
        let second = SigningKey::load_or_create(data.path()).unwrap();
        assert_eq!(first.id, second.id);
        assert_eq!(mode(&data.path().join("keys")), 0o700);
        assert_eq!(mode(&data.path().join("keys/es256.pem")), 0o600);
        assert_eq!(fs::read_dir(data.path().join("keys")).unwrap().count(), 1, "no draft is left");

        let elsewhere = tempfile::tempdir().unwrap();
        assert_ne!(SigningKey::load_or_create(elsewhere.path()).unwrap().id, first.id);
    }

    #[test]
    fn processes_that_start_at_once_share_one_key() {
        let data = tempfile::tempdir().unwrap();
        let ids: Vec<String> = std::thread::scope(|scope| {
            let starts: Vec<_> =
                (0..8).map(|_| scope.spawn(|| SigningKey::load_or_create(data.path()).unwrap().id)).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }

    #[test]
    fn an_unfit_file_is_refused_and_left_alone() {
        let data = tempfile::tempdir().unwrap();
        SigningKey::load_or_create(data.path()).unwrap();
        let file = data.path().join("keys/es256.pem");
        let key = fs::read(&file).unwrap();

        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = SigningKey::load_or_create(data.path()).unwrap_err();
        assert!(matches!(refused, KeyError::OpenToOthers { mode: 0o644, .. }), "{refused}");
        assert_eq!(fs::read(&file).unwrap(), key);

        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, &key[..key.len() / 2]).unwrap();
        assert!(matches!(SigningKey::load_or_create(data.path()).unwrap_err(), KeyError::Malformed(_)));
        assert_eq!(fs::read(&file).unwrap(), key[..key.len() / 2]);
    }

    #[test]
    fn the_public_document_holds_the_public_half_alone() {
        let data = tempfile::tempdir().unwrap();
        let key = SigningKey::load_or_create(data.path()).unwrap();
        let document: serde_json::Value = serde_json::from_str(&key.jwks).unwrap();
        let jwk = &document["keys"][0];
        for (name, value) in
            [("kty", "EC"), ("crv", "P-256"), ("alg", "ES256"), ("use", "sig"), ("kid", key.id.as_str())]
        {
            assert_eq!(jwk[name], value, "{name}");
        }
        assert!(jwk["x"].is_string() && jwk["y"].is_string() && jwk.get("d").is_none());
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("SigningKey {{ id: {:?}, .. }}", key.id));
    }
}
