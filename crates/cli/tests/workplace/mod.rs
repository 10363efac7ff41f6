//! A temporary folder with tiny data, and the binary run in it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// The fewest steps that still evaluate and write checkpoints.
pub const FEW_STEPS: [&str; 10] = [
    "--set",
    "train.steps=4",
    "--set",
    "train.evaluate_every=2",
    "--set",
    "schedule.warmup=0",
    "--set",
    "network.convnet.widths=[4]",
    "--threads",
    "2",
];

/// A folder of one test.
pub struct Workplace(TempDir);

/// What a run of the binary said.
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Workplace {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Class folders `c0`, `c1`, … of 16 × 16 images, each class of its own brightness.
    pub fn images(&self, name: &str, classes: u8, per_class: u8) {
        for class in 0..classes {
            for item in 0..per_class {
                let gray = class.wrapping_mul(20).wrapping_add(item);
                self.write(&format!("{name}/c{class}/{item}.png"), &png(gray));
            }
        }
    }

    /// A list of pairs of eight classes of [`images`](Self::images), one of the same and one of different ones for each, in two folds.
    pub fn pairs(&self, name: &str) {
        let mut list = "first,second,same,fold\n".to_owned();
        for class in 0..8 {
            let (other, fold) = ((class + 4) % 8, class % 2);
            writeln!(list, "c{class}/0.png,c{class}/1.png,1,{fold}").unwrap();
            writeln!(list, "c{class}/2.png,c{other}/3.png,0,{fold}").unwrap();
        }
        self.write(name, list.as_bytes());
    }

    /// The binary in this folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nearkin"));
        command.current_dir(self.0.path()).args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        Said::from(self.command(arguments).output().unwrap())
    }

    /// Trains for [`FEW_STEPS`], then as `more` says.
    pub fn train(&self, recipe: &str, more: &[&str]) -> Said {
        self.run(&[&["train", recipe], &FEW_STEPS[..], more].concat())
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Said {
    /// Asserts exit code 0.
    #[track_caller]
    pub fn succeeds(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// Asserts the exit code and the parts of the message, and that nothing panicked.
    #[track_caller]
    pub fn fails(&self, code: i32, parts: &[&str]) {
        let text = &self.stderr;
        assert_eq!(self.code, Some(code), "{text}");
        assert!(
            !text.contains("panicked") && !text.contains("backtrace"),
            "{text}"
        );
        assert!(text.contains("error: "), "{text}");
        assert_eq!(self.stdout, "", "a failure prints no result");
        for part in parts {
            assert!(text.contains(part), "\"{part}\" is not in: {text}");
        }
    }
}

/// Runs the binary where no file may grow beyond so many blocks of 512 bytes, which fails a write as a
/// full disk does.
pub fn limited(place: &Workplace, blocks: u32, arguments: &[&str]) -> Said {
    let limit = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command
        .current_dir(place.path(""))
        .args(["-c", &limit, env!("CARGO_BIN_EXE_nearkin")]);
    Said::from(command.args(arguments).output().unwrap())
}

/// All files with their bytes.
pub fn everything_under(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything_under(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.push((path.display().to_string(), bytes));
        }
    }
    found.sort();
    found
}

/// Files that a failed command should have taken away.
pub fn half_written(folder: &Path) -> Vec<String> {
    let names = everything_under(folder).into_iter().map(|(name, _)| name);
    names
        .filter(|name| name.contains(".partial") || name.contains(".part") || name.contains(".old"))
        .collect()
}

/// A gray image of 16 × 16 pixels, with a little texture, as PNG without compression.
pub fn png(gray: u8) -> Vec<u8> {
    let mut rows = Vec::new();
    for y in 0..16u8 {
        rows.push(0);
        rows.extend((0..16u8).map(|x| gray.wrapping_add((x * 7) ^ (y * 3) & 15)));
    }
    let len = u16::try_from(rows.len()).unwrap();
    let mut stream = vec![0x78, 0x01, 0x01];
    stream.extend(len.to_le_bytes());
    stream.extend((!len).to_le_bytes());
    stream.extend(&rows);
    stream.extend(adler32(&rows).to_be_bytes());
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(
        &mut bytes,
        *b"IHDR",
        &[0, 0, 0, 16, 0, 0, 0, 16, 8, 0, 0, 0, 0],
    );
    chunk(&mut bytes, *b"IDAT", &stream);
    chunk(&mut bytes, *b"IEND", &[]);
    bytes
}

fn chunk(png: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    png.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
    let start = png.len();
    png.extend(kind);
    png.extend(data);
    let sum = crc32(&png[start..]);
    png.extend(sum.to_be_bytes());
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1u32, 0u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    b << 16 | a
}
