//! Where a tensor lies in a file, and its numbers.

use safetensors::Dtype;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// Bytes that are turned into numbers at a time.
const PIECE: usize = 1 << 16;

/// A tensor in a file.
pub struct Place {
    pub file: PathBuf,
    /// The byte at which its first number begins.
    pub start: u64,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Numbers from one index of each dimension to the next, where they do not lie row by row.
    pub strides: Option<Vec<usize>>,
    /// Why it cannot be read, where that is known: a tensor that nobody asks for does no harm.
    pub fault: Option<String>,
}

impl Place {
    /// The numbers row by row.
    ///
    /// # Errors
    /// The file cannot be read, or holds no numbers that are read here.
    pub fn read(&self) -> Result<Vec<f32>, String> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let Some(strides) = &self.strides else {
            return self.span(self.shape.iter().product());
        };
        let last = self
            .shape
            .iter()
            .zip(strides)
            .map(|(n, stride)| n.saturating_sub(1) * stride);
        let span = self.span(last.sum::<usize>() + 1)?;
        let mut places = vec![0];
        for (&n, stride) in self.shape.iter().zip(strides) {
            let along = |at| (0..n).map(move |i| at + i * stride);
            places = places.into_iter().flat_map(along).collect();
        }
        Ok(places.into_iter().map(|at: usize| span[at]).collect())
    }

    /// So many numbers, as they lie.
    fn span(&self, count: usize) -> Result<Vec<f32>, String> {
        let convert = conversion(self.dtype)?;
        let mut file = fs_err::File::open(&self.file).map_err(|e| e.to_string())?;
        let start = file.seek(SeekFrom::Start(self.start));
        start.map_err(|e| e.to_string())?;
        let mut left = count * (self.dtype.bitsize() / 8);
        let mut numbers = Vec::with_capacity(count);
        let mut piece = vec![0; PIECE.min(left)];
        while left > 0 {
            let now = left.min(PIECE);
            let read = file.read_exact(&mut piece[..now]);
            read.map_err(|e| e.to_string())?;
            convert(&piece[..now], &mut numbers);
            left -= now;
        }
        Ok(numbers)
    }
}

/// Appends numbers to others.
type Convert = fn(&[u8], &mut Vec<f32>);

fn conversion(dtype: Dtype) -> Result<Convert, String> {
    Ok(match dtype {
        Dtype::F32 => |bytes, numbers| {
            let words = bytes.as_chunks::<4>().0;
            numbers.extend(words.iter().map(|word| f32::from_le_bytes(*word)));
        },
        Dtype::F64 => |bytes, numbers| {
            let words = bytes.as_chunks::<8>().0;
            numbers.extend(words.iter().map(|word| f64::from_le_bytes(*word) as f32));
        },
        Dtype::BF16 => |bytes, numbers| {
            let words = bytes.as_chunks::<2>().0;
            let wide = |word: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*word)) << 16);
            numbers.extend(words.iter().map(wide));
        },
        Dtype::F16 => |bytes, numbers| {
            let words = bytes.as_chunks::<2>().0;
            numbers.extend(words.iter().map(|word| half(u16::from_le_bytes(*word))));
        },
        // Tables of numbers of rows, all small enough to be exact.
        Dtype::I64 => |bytes, numbers| {
            let words = bytes.as_chunks::<8>().0;
            numbers.extend(words.iter().map(|word| i64::from_le_bytes(*word) as f32));
        },
        Dtype::I32 => |bytes, numbers| {
            let words = bytes.as_chunks::<4>().0;
            numbers.extend(words.iter().map(|word| i32::from_le_bytes(*word) as f32));
        },
        other => return Err(format!("holds {other:?}, expected F32, F16, BF16 or F64")),
    })
}

/// An IEEE half as `f32`.
fn half(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let (exponent, fraction) = (u32::from(bits >> 10) & 0x1f, u32::from(bits) & 0x3ff);
    match exponent {
        // 2⁻²⁴ is the smallest step below the normal numbers.
        0 => f32::from_bits(sign | (fraction as f32 / 16_777_216.0).to_bits()),
        0x1f => f32::from_bits(sign | 0x7f80_0000 | (fraction << 13)),
        _ => f32::from_bits(sign | ((exponent + 112) << 23) | (fraction << 13)),
    }
}
