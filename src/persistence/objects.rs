//! Objects (images): bytes by name, in a local folder or in an S3 bucket.
//!
//! Names are made by the program (letters, digits, hyphens), never by clients.

use bytes::Bytes;
use rusty_s3::actions::{DeleteObject, GetObject, PutObject, S3Action};
use rusty_s3::{Bucket, Credentials, UrlStyle};
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// How long a signed request is good for.
const SIGNED_FOR: Duration = Duration::from_secs(60);
/// How long an S3 server may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The largest object that is read.
const MAX_OBJECT: usize = 32 << 20;

/// Why an object was not stored or read.
#[derive(Debug, Error)]
pub enum ObjectError {
    /// There is no object of this name.
    #[error("there is no such object")]
    Missing,
    /// The folder does not work.
    #[error("the folder of objects: {0}")]
    Io(#[from] std::io::Error),
    /// The S3 server is away or refuses.
    #[error("the object store: {0}")]
    Remote(String),
    /// The settings do not make sense.
    #[error("the object store's settings: {0}")]
    Settings(String),
}

/// Where objects are kept. S3 is asked through a client that belongs to its thread, so futures stay on
/// the thread that made them.
#[derive(Clone, Debug)]
pub enum Objects {
    /// A folder, one file for each object.
    Folder(PathBuf),
    /// A bucket.
    S3(Box<S3>),
}

/// An S3 bucket with what signs requests.
#[derive(Clone)]
pub struct S3 {
    bucket: Bucket,
    credentials: Credentials,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3").field("bucket", &self.bucket.name()).finish_non_exhaustive()
    }
}

impl Objects {
    /// A folder, made when it is not there.
    ///
    /// # Errors
    /// [`ObjectError::Io`].
    pub fn folder(path: &Path) -> Result<Objects, ObjectError> {
        std::fs::create_dir_all(path)?;
        Ok(Objects::Folder(path.to_owned()))
    }

    /// A bucket of a server, addressed by path (`https://host/bucket/name`), as every S3 server can.
    ///
    /// # Errors
    /// [`ObjectError::Settings`].
    pub fn s3(endpoint: &str, bucket: &str, region: &str, key: &str, secret: &str) -> Result<Objects, ObjectError> {
        let settings = |error: &dyn std::fmt::Display| ObjectError::Settings(error.to_string());
        let endpoint = endpoint.parse().map_err(|error| settings(&error))?;
        let bucket = Bucket::new(endpoint, UrlStyle::Path, bucket.to_owned(), region.to_owned());
        let bucket = bucket.map_err(|error| settings(&error))?;
        Ok(Objects::S3(Box::new(S3 { bucket, credentials: Credentials::new(key, secret) })))
    }

    /// Stores an object; one of the same name is replaced.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn put(&self, name: &str, content: Bytes) -> Result<(), ObjectError> {
        match self {
            Objects::Folder(folder) => {
                let (path, part) = (folder.join(name), folder.join(format!("{name}.part")));
                let folder = folder.clone();
                blocking(move || {
                    use std::io::Write;
                    // Under another name until it is on the medium: nobody sees half an object.
                    let mut file = std::fs::File::create(&part)?;
                    file.write_all(&content)?;
                    file.sync_all()?;
                    std::fs::rename(&part, &path)?;
                    // The name too: a row that says that there is an object must find it after a crash.
                    std::fs::File::open(&folder)?.sync_all()
                })
                .await
            }
            Objects::S3(s3) => {
                let url = PutObject::new(&s3.bucket, Some(&s3.credentials), name).sign(SIGNED_FOR);
                let answer = client().put(url.as_str()).send_body(content).await;
                accepted(answer.map_err(remote)?.status())
            }
        }
    }

    /// An object's content.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn get(&self, name: &str) -> Result<Bytes, ObjectError> {
        match self {
            Objects::Folder(folder) => {
                let path = folder.join(name);
                blocking(move || std::fs::read(path).map(Bytes::from)).await
            }
            Objects::S3(s3) => {
                let url = GetObject::new(&s3.bucket, Some(&s3.credentials), name).sign(SIGNED_FOR);
                let mut answer = client().get(url.as_str()).send().await.map_err(remote)?;
                accepted(answer.status())?;
                answer.body().limit(MAX_OBJECT).await.map_err(remote)
            }
        }
    }

    /// Removes an object; one that is not there is as good.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn remove(&self, name: &str) -> Result<(), ObjectError> {
        let removed = match self {
            Objects::Folder(folder) => {
                let path = folder.join(name);
                blocking(move || std::fs::remove_file(path)).await
            }
            Objects::S3(s3) => {
                let url = DeleteObject::new(&s3.bucket, Some(&s3.credentials), name).sign(SIGNED_FOR);
                accepted(client().delete(url.as_str()).send().await.map_err(remote)?.status())
            }
        };
        if matches!(removed, Err(ObjectError::Missing)) { Ok(()) } else { removed }
    }
}

fn client() -> awc::Client {
    awc::Client::builder().timeout(PATIENCE).finish()
}

fn remote(error: impl std::fmt::Display) -> ObjectError {
    ObjectError::Remote(error.to_string())
}

fn accepted(status: awc::http::StatusCode) -> Result<(), ObjectError> {
    match status.as_u16() {
        200..=299 => Ok(()),
        404 => Err(ObjectError::Missing),
        other => Err(ObjectError::Remote(format!("it answers {other}"))),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, ObjectError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => Err(ObjectError::Missing),
        Ok(Err(error)) => Err(error.into()),
        Err(error) => Err(ObjectError::Io(std::io::Error::other(error))),
    }
}
