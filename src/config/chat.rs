//! Chat: what is allowed, and where images are kept.

use crate::persistence::objects::{ObjectError, Objects};
use clap::Args;
use std::path::{Path, PathBuf};

/// The settings of chat.
#[derive(Args, Clone, Debug)]
pub struct ChatConfig {
    /// The most bytes of a message's text; at most 16000.
    #[arg(long, env = "AGORA_CHAT_MESSAGE_BYTES", default_value_t = 4_000, value_name = "BYTES")]
    pub chat_message_bytes: usize,
    /// Messages, edits and reactions of one user in ten seconds, over all rooms; 0 is no limit.
    #[arg(long, env = "AGORA_CHAT_USER_RATE", default_value_t = 30, value_name = "COUNT")]
    pub chat_user_rate: u32,
    /// Messages, edits and reactions in one room in ten seconds; 0 is no limit.
    #[arg(long, env = "AGORA_CHAT_ROOM_RATE", default_value_t = 2_000, value_name = "COUNT")]
    pub chat_room_rate: u32,
    /// Rooms that one user may own.
    #[arg(long, env = "AGORA_CHAT_ROOMS_OWNED", default_value_t = 50, value_name = "COUNT")]
    pub chat_rooms_owned: u32,
    /// Rooms that one user may be in.
    #[arg(long, env = "AGORA_CHAT_ROOMS_JOINED", default_value_t = 500, value_name = "COUNT")]
    pub chat_rooms_joined: u32,
    /// Words that a message must not contain, whatever their case, separated by commas.
    #[arg(long, env = "AGORA_CHAT_BLOCKED_WORDS", default_value = "", value_name = "WORDS", hide_default_value = true)]
    pub chat_blocked_words: String,
    /// Links that messages may contain: `any`, `none`, or hosts separated by commas (with all below them).
    #[arg(long, env = "AGORA_CHAT_LINKS", default_value = "any", value_name = "WHICH")]
    pub chat_links: String,
    /// Trades worth at least so many whole units of the quote currency are told in the market's room; 0: none are.
    #[arg(long, env = "AGORA_CHAT_BIG_TRADE", default_value_t = 0, value_name = "AMOUNT")]
    pub chat_big_trade: u64,
    /// A room without use is taken out of memory after so many seconds.
    #[arg(long, env = "AGORA_CHAT_ROOM_IDLE_S", default_value_t = 120, value_name = "SECONDS")]
    pub chat_room_idle_s: u64,
    /// The most bytes of an image.
    #[arg(long, env = "AGORA_CHAT_IMAGE_BYTES", default_value_t = 2 << 20, value_name = "BYTES")]
    pub chat_image_bytes: usize,
    /// Where images are kept: a folder (default: `images` in the data folder), or with the settings below an S3 bucket.
    #[arg(long, env = "AGORA_CHAT_IMAGES", value_name = "DIR")]
    pub chat_images: Option<PathBuf>,
    /// The address of an S3 server, as https://HOST.
    #[arg(long, env = "AGORA_CHAT_S3_ENDPOINT", value_name = "URL")]
    pub chat_s3_endpoint: Option<String>,
    /// The bucket.
    #[arg(long, env = "AGORA_CHAT_S3_BUCKET", default_value = "agora", value_name = "NAME")]
    pub chat_s3_bucket: String,
    /// The region that requests are signed for.
    #[arg(long, env = "AGORA_CHAT_S3_REGION", default_value = "us-east-1", value_name = "NAME")]
    pub chat_s3_region: String,
    /// The access key.
    #[arg(long, env = "AGORA_CHAT_S3_KEY", default_value = "", hide_env_values = true, value_name = "KEY")]
    pub chat_s3_key: String,
    /// The secret that belongs to the key.
    #[arg(long, env = "AGORA_CHAT_S3_SECRET", default_value = "", hide_env_values = true, value_name = "SECRET")]
    pub chat_s3_secret: String,
}

impl ChatConfig {
    /// Where images are kept; `data` is the data folder.
    ///
    /// # Errors
    /// [`ObjectError`] when the folder cannot be made or the server's address is none.
    pub fn objects(&self, data: &Path) -> Result<Objects, ObjectError> {
        match &self.chat_s3_endpoint {
            Some(endpoint) => {
                let (bucket, region) = (&self.chat_s3_bucket, &self.chat_s3_region);
                Objects::s3(endpoint, bucket, region, &self.chat_s3_key, &self.chat_s3_secret)
            }
            None => Objects::folder(&self.chat_images.clone().unwrap_or_else(|| data.join("images"))),
        }
    }
}
