//! Frames as servers send them: final and without a mask (RFC 6455, 5.2).

use bytes::{BufMut, Bytes, BytesMut};

const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
const CLOSE: u8 = 0x88;
/// The close code of a policy (RFC 6455, 7.4.1).
const POLICY: u16 = 1_008;
/// The longest payload of a control frame.
const LONGEST_CONTROL: usize = 125;
/// The longest head of a frame.
const LONGEST_HEAD: usize = 10;

/// A text as a frame of its own.
pub fn text(text: &str) -> Bytes {
    let mut frames = BytesMut::with_capacity(text.len() + LONGEST_HEAD);
    put_text(&mut frames, text);
    frames.freeze()
}

/// Adds a text.
pub fn put_text(frames: &mut BytesMut, text: &str) {
    put(frames, TEXT, text.as_bytes());
}

/// Adds a ping.
pub fn put_ping(frames: &mut BytesMut) {
    put(frames, PING, b"");
}

/// Adds the end of a connection against whose client there is a policy, with as much of the reason as fits.
pub fn put_close(frames: &mut BytesMut, reason: &str) {
    let reason = reason.as_bytes().get(..LONGEST_CONTROL - 2).unwrap_or(reason.as_bytes());
    put(frames, CLOSE, &[POLICY.to_be_bytes().as_slice(), reason].concat());
}

fn put(frames: &mut BytesMut, kind: u8, payload: &[u8]) {
    frames.reserve(payload.len() + LONGEST_HEAD);
    frames.put_u8(kind);
    match payload.len() {
        // Both fit: that is what the arms say.
        short @ 0..126 => frames.put_u8(short as u8),
        medium @ 126..65_536 => {
            frames.put_u8(126);
            frames.put_u16(medium as u16);
        }
        long => {
            frames.put_u8(127);
            frames.put_u64(long as u64);
        }
    }
    frames.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_say_how_long_they_are() {
        for (length, head) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xff, 0xff]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = text(&"x".repeat(length));
            assert_eq!(frame.len(), head.len() + length);
            assert_eq!(&frame[..head.len()], head);
        }
    }
}
