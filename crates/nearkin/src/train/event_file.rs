//! The curves of a run as `TensorBoard` reads them.

use crate::error::Result;
use nearkin_encoder::weights::write_beside;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The file's name in the folder of a run; `TensorBoard` knows its files by `tfevents`.
pub const NAME: &str = "events.out.tfevents.0.nearkin";

/// An event file that is being written: the numbers of the journal, each a scalar by its name, at its step.
///
/// A record is its length and its bytes, each followed by a masked CRC-32C, in little-endian order; its bytes are an `Event`
/// of `TensorFlow`'s protocol buffers (`event.proto`, `summary.proto`). The time of an event is that at which it was written, for
/// those that a resumed run takes over from its journal the time at which it was resumed.
pub struct EventFile {
    file: fs_err::File,
}

impl EventFile {
    /// Starts the file of a run anew, with the lines that its journal has kept.
    ///
    /// # Errors
    /// The file cannot be written; an older one stays as it was.
    pub fn start(run: &Path, lines: &str) -> Result<Self> {
        let path = run.join(NAME);
        let mut bytes = record(&file_version());
        for line in lines.lines() {
            let value: Value = serde_json::from_str(line).unwrap_or_default();
            bytes.extend(
                event(&value)
                    .map(|event| record(&event))
                    .unwrap_or_default(),
            );
        }
        write_beside(&path, &bytes)?;
        let file = fs_err::OpenOptions::new().append(true).open(&path)?;
        Ok(Self { file })
    }

    /// Appends what a line of the journal says.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, line: &Value) -> Result<()> {
        if let Some(event) = event(line) {
            self.file.write_all(&record(&event))?;
        }
        Ok(())
    }
}

/// The first event of a file.
fn file_version() -> Vec<u8> {
    let mut event = wall_time();
    push_bytes(&mut event, 3, b"brain.Event:2");
    event
}

/// A line's numbers at its step; none of a line without a step.
fn event(line: &Value) -> Option<Vec<u8>> {
    let step = line["step"].as_u64()?;
    let part = line["part"].as_str();
    let mut summary = Vec::new();
    let numbers = line.as_object()?.iter().filter(|(name, _)| *name != "step");
    for (name, number) in numbers.filter_map(|(name, value)| Some((name, value.as_f64()?))) {
        let tag = part.map_or_else(|| format!("train/{name}"), |part| format!("{part}/{name}"));
        let mut value = Vec::new();
        push_bytes(&mut value, 1, tag.as_bytes());
        push_key(&mut value, 2, FIXED_32);
        value.extend((number as f32).to_le_bytes());
        push_bytes(&mut summary, 1, &value);
    }
    let mut event = wall_time();
    push_key(&mut event, 2, VARINT);
    push_varint(&mut event, step);
    push_bytes(&mut event, 5, &summary);
    Some(event)
}

fn wall_time() -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut event = Vec::new();
    push_key(&mut event, 1, FIXED_64);
    event.extend(now.map_or(0.0, |now| now.as_secs_f64()).to_le_bytes());
    event
}

/// How a field is written, in protocol buffers.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;

fn push_key(bytes: &mut Vec<u8>, field: u64, kind: u64) {
    push_varint(bytes, field << 3 | kind);
}

fn push_bytes(bytes: &mut Vec<u8>, field: u64, value: &[u8]) {
    push_key(bytes, field, DELIMITED);
    push_varint(bytes, value.len() as u64);
    bytes.extend(value);
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn push_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn record(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    let sums = [&length[..], event].map(|bytes| masked(crc_32c(bytes)).to_le_bytes());
    [&length[..], &sums[0], event, &sums[1]].concat()
}

/// A checksum of bytes that hold checksums would be weak, so records turn theirs and add a constant.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The CRC with Castagnoli's polynomial, bit by bit: records are short.
fn crc_32c(bytes: &[u8]) -> u32 {
    let of_byte = |crc: u32, &byte: &u8| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(!0, of_byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // RFC 3720, B.4, and the usual check value.
        assert_eq!(crc_32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc_32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc_32c(&[0xff; 32]), 0x62a8_ab43);
    }

    /// Step, tag and value of each scalar, read as the formats say.
    fn read(bytes: &[u8]) -> Vec<(u64, String, f32)> {
        let mut scalars = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let event = &rest[12..12 + length];
            for (bytes, sum) in [(&rest[..8], &rest[8..12]), (event, &rest[12 + length..])] {
                assert_eq!(masked(crc_32c(bytes)).to_le_bytes(), sum[..4]);
            }
            let fields = fields(event);
            let step = fields.iter().find(|f| f.0 == 2).map_or(0, |f| f.1);
            for (_, _, summary) in fields.iter().filter(|f| f.0 == 5) {
                for (_, _, value) in self::fields(summary) {
                    let value = self::fields(value);
                    let tag = String::from_utf8(value[0].2.to_vec()).unwrap();
                    scalars.push((step, tag, f32::from_bits(value[1].1 as u32)));
                }
            }
            rest = &rest[16 + length..];
        }
        scalars
    }

    /// Field, number and bytes of a message.
    fn fields(mut message: &[u8]) -> Vec<(u64, u64, &[u8])> {
        fn varint(message: &mut &[u8]) -> u64 {
            let mut number = 0;
            for shift in (0..).step_by(7) {
                let (byte, rest) = message.split_first().unwrap();
                *message = rest;
                number |= u64::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            number
        }
        let mut found = Vec::new();
        while !message.is_empty() {
            let key = varint(&mut message);
            let (number, bytes) = match key & 7 {
                0 => (varint(&mut message), 0),
                1 => (u64::from_le_bytes(message[..8].try_into().unwrap()), 8),
                5 => (
                    u32::from_le_bytes(message[..4].try_into().unwrap()).into(),
                    4,
                ),
                _ => (0, varint(&mut message) as usize),
            };
            let (value, rest) = message.split_at(bytes);
            found.push((key >> 3, number, value));
            message = rest;
        }
        found
    }

    #[test]
    fn a_run_and_a_resumed_run_have_their_numbers() {
        let run = tempfile::tempdir().unwrap();
        let kept = "{\"step\":1,\"loss\":0.5}\n{\"step\":300,\"part\":\"validation\",\"map_at_r\":0.25,\"best\":true}\n";
        let mut file = EventFile::start(run.path(), kept).unwrap();
        file.write(&json!({"step": 301, "loss": 0.125, "name": "text"}))
            .unwrap();
        file.write(&json!({"loss": 9.0})).unwrap();
        let bytes = fs_err::read(run.path().join(NAME)).unwrap();
        let scalars = [
            (1, "train/loss", 0.5),
            (300, "validation/map_at_r", 0.25),
            (301, "train/loss", 0.125),
        ];
        assert_eq!(
            read(&bytes),
            scalars.map(|(s, tag, v)| (s, tag.to_owned(), v))
        );
    }
}
