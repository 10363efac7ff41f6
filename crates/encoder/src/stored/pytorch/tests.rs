use crate::stored::Stored;
use std::io::Write;
use std::path::Path;

/// Pickled values, put together by hand.
fn text(text: &str) -> Vec<u8> {
    [
        b"X",
        &(text.len() as u32).to_le_bytes()[..],
        text.as_bytes(),
    ]
    .concat()
}

fn int(n: usize) -> Vec<u8> {
    [b"J", &(n as i32).to_le_bytes()[..]].concat()
}

fn class(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

fn tuple(values: &[Vec<u8>]) -> Vec<u8> {
    [b"(", &values.concat()[..], b"t"].concat()
}

fn counts(numbers: &[usize]) -> Vec<u8> {
    let numbers: Vec<_> = numbers.iter().map(|&n| int(n)).collect();
    tuple(&numbers)
}

fn call(function: Vec<u8>, arguments: &[Vec<u8>]) -> Vec<u8> {
    [function, tuple(arguments), b"R".to_vec()].concat()
}

/// A storage of so many numbers by its key, with what PyTorch before 0.4 says of a part of it.
fn storage(class_name: &str, key: &str, count: usize, part: &[Vec<u8>]) -> Vec<u8> {
    let name = [
        text("storage"),
        class("torch", class_name),
        text(key),
        text("cpu"),
        int(count),
    ];
    [tuple(&[&name, part].concat()), b"Q".to_vec()].concat()
}

fn tensor(storage: Vec<u8>, offset: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
    let hooks = call(class("collections", "OrderedDict"), &[]);
    let rest = [
        int(offset),
        counts(shape),
        counts(strides),
        b"\x89".to_vec(),
        hooks,
    ];
    let arguments = [&[storage][..], &rest].concat();
    call(class("torch._utils", "_rebuild_tensor_v2"), &arguments)
}

/// A table of tensors, with the state that PyTorch gives it.
fn table(tensors: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries = tensors
        .iter()
        .map(|(name, tensor)| [text(name), tensor.clone()].concat());
    [
        b"\x80\x02".to_vec(),
        call(class("collections", "OrderedDict"), &[]),
        b"(".to_vec(),
        entries.collect::<Vec<_>>().concat(),
        b"u}".to_vec(),
        text("_metadata"),
        call(class("collections", "OrderedDict"), &[]),
        b"sb.".to_vec(),
    ]
    .concat()
}

fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// A file of before version 1.6: a table, the keys of the storages, and of each its count and bytes.
fn old(table: &[u8], storages: &[(&str, u64, Vec<u8>)]) -> Vec<u8> {
    let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    file.extend(b"\x80\x02M\xe9\x03.");
    let system = [&b"\x80\x02}"[..], &text("little_endian"), b"\x88s."].concat();
    file.extend([&system, table, b"\x80\x02]("].concat());
    for (key, ..) in storages {
        file.extend(text(key));
    }
    file.extend(b"e.");
    for (_, count, bytes) in storages {
        file.extend(count.to_le_bytes());
        file.extend(bytes);
    }
    file
}

/// Two tensors of one storage, one of them transposed and a parameter; halves; a part of a storage.
fn example() -> Vec<(&'static str, Vec<u8>)> {
    let shared = || storage("FloatStorage", "7", 8, &[b"N".to_vec()]);
    let part = tuple(&[text("9"), int(2), int(2)]);
    let turned = tensor(shared(), 2, &[3, 2], &[1, 3]);
    let parameter = [turned, b"\x88N".to_vec()];
    vec![
        ("a", tensor(shared(), 0, &[2, 1], &[1, 5])),
        (
            "b",
            call(class("torch._utils", "_rebuild_parameter"), &parameter),
        ),
        (
            "half",
            tensor(
                storage("HalfStorage", "8", 2, &[b"N".to_vec()]),
                1,
                &[],
                &[],
            ),
        ),
        (
            "part",
            tensor(storage("FloatStorage", "9", 4, &[part]), 1, &[1], &[1]),
        ),
        ("name", text("not a tensor")),
    ]
}

fn numbers() -> [(&'static str, u64, Vec<u8>); 3] {
    [
        ("7", 8, floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])),
        (
            "8",
            2,
            [0x3c00_u16, 0xc000]
                .iter()
                .flat_map(|x| x.to_le_bytes())
                .collect(),
        ),
        ("9", 4, floats(&[-1.0, -2.0, -3.0, -4.0])),
    ]
}

fn assert_example(path: &Path) {
    let stored = Stored::open(path).unwrap();
    let read = |name| stored.tensor(name).unwrap();
    assert_eq!(read("a"), (vec![2, 1], vec![0.0, 1.0]));
    assert_eq!(read("b"), (vec![3, 2], vec![2.0, 5.0, 3.0, 6.0, 4.0, 7.0]));
    assert_eq!(read("half"), (vec![], vec![-2.0]));
    assert_eq!(stored.names().count(), 4);
}

fn error(path: &Path, bytes: &[u8]) -> String {
    fs_err::write(path, bytes).unwrap();
    let read = |stored: Stored| {
        let names: Vec<String> = stored.names().map(str::to_owned).collect();
        names
            .iter()
            .try_for_each(|name| stored.tensor(name).map(drop))
    };
    Stored::open(path).and_then(read).unwrap_err().to_string()
}

#[test]
fn a_file_of_before_version_1_6_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pytorch_model.bin");
    let file = old(&table(&example()), &numbers());
    let framed = [b"\x80\x04\x95\x0d\0\0\0\0\0\0\0", &file[2..]].concat();
    fs_err::write(&path, framed).unwrap();
    assert_example(&path);
    fs_err::write(&path, file).unwrap();
    assert_example(&path);
    let stored = Stored::open(&path).unwrap();
    // The part begins at number 2, the tensor one further.
    assert_eq!(stored.tensor("part").unwrap().1, [-4.0]);
}

#[test]
fn an_archive_is_read_and_a_compressed_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pytorch_model.bin");
    let write = |method| {
        let mut archive = zip::ZipWriter::new(fs_err::File::create(&path).unwrap());
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        archive.start_file("model/data.pkl", options).unwrap();
        archive.write_all(&table(&example())).unwrap();
        for (key, _, bytes) in numbers() {
            archive
                .start_file(format!("model/data/{key}"), options)
                .unwrap();
            archive.write_all(&bytes).unwrap();
        }
        archive.finish().unwrap();
    };
    write(zip::CompressionMethod::Stored);
    assert_example(&path);
    write(zip::CompressionMethod::Deflated);
    let error = Stored::open(&path).map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("model/data.pkl in the archive is compressed"),
        "{error}"
    );
}

#[test]
fn shards_are_read_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (name, number) in [("a", 1.0), ("b", 2.0)] {
        let one = tensor(
            storage("FloatStorage", "0", 1, &[b"N".to_vec()]),
            0,
            &[1],
            &[1],
        );
        let file = old(&table(&[(name, one)]), &[("0", 1, floats(&[number]))]);
        fs_err::write(path(&format!("{name}.bin")), file).unwrap();
    }
    let index = path("pytorch_model.bin.index.json");
    fs_err::write(&index, r#"{"weight_map": {"a": "a.bin", "b": "b.bin"}}"#).unwrap();
    let stored = Stored::open(&index).unwrap();
    assert_eq!(stored.tensor("a").unwrap().1, [1.0]);
    assert_eq!(stored.tensor("b").unwrap().1, [2.0]);
}

#[test]
fn what_a_file_says_beyond_what_it_has_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pytorch_model.bin");
    let of = |offset, shape: &[usize], strides: &[usize]| {
        let storage = storage("FloatStorage", "0", 4, &[b"N".to_vec()]);
        table(&[("w", tensor(storage, offset, shape, strides))])
    };
    let good = of(0, &[4], &[1]);
    let four = || floats(&[1.0; 4]);
    let cases = [
        (
            good.clone(),
            ("0", 1 << 60, four()),
            "storage \"0\" has 1152921504606846976 numbers, expected 4",
        ),
        (
            good.clone(),
            ("0", 4, floats(&[1.0; 3])),
            "storage \"0\" of 4 numbers ends beyond the file",
        ),
        (
            good.clone(),
            ("1", 4, four()),
            "storage \"1\" is of no tensor",
        ),
        (
            of(1, &[4], &[1]),
            ("0", 4, four()),
            "tensor \"w\": shape [4] with strides [1] from 1 on",
        ),
        (
            of(0, &[1 << 30, 1 << 30, 1 << 30], &[1, 1, 1]),
            ("0", 4, four()),
            "tensor \"w\": shape",
        ),
        (
            of(0, &[1 << 30], &[0]),
            ("0", 4, four()),
            "its storage of 4 numbers has not",
        ),
        (
            of(0, &[4], &[1, 1]),
            ("0", 4, four()),
            "tensor \"w\": shape [4] with strides [1, 1]",
        ),
        (
            b"\x80\x02K\x01.".to_vec(),
            ("0", 4, four()),
            "no table of tensors",
        ),
    ];
    for (table, storage, words) in cases {
        let error = error(&path, &old(&table, &[storage]));
        assert!(
            error.contains("pytorch_model.bin: ") && error.contains(words),
            "{error}"
        );
    }
    let error = error(&path, b"version https://git-lfs.github.com/spec/v1");
    assert!(
        error.contains("neither a zip archive nor pickles"),
        "{error}"
    );
}

#[test]
fn what_nobody_asks_for_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pytorch_model.bin");
    let of = |shape: &[usize]| {
        let storage = storage("FloatStorage", "0", 1, &[b"N".to_vec()]);
        tensor(storage, 0, shape, &vec![1; shape.len()])
    };
    let both = table(&[("good", of(&[1])), ("deep", of(&[1; 65]))]);
    fs_err::write(&path, old(&both, &[("0", 1, floats(&[7.0]))])).unwrap();
    let stored = Stored::open(&path).unwrap();
    assert_eq!(stored.tensor("good").unwrap().1, [7.0]);
    let error = stored.tensor("deep").unwrap_err().to_string();
    assert!(error.contains("tensor \"deep\": not made of"), "{error}");
    let empty = old(&table(&[("state_dict", text("?"))]), &[]);
    assert!(self::error(&path, &empty).contains("no tensors, but [\"state_dict\"]"));
}

#[test]
fn numbers_in_another_order_of_bytes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pytorch_model.bin");
    let mut big = old(&table(&example()), &numbers());
    let flag = big.windows(2).position(|two| two == b"\x88s").unwrap();
    big[flag] = 0x89;
    assert!(error(&path, &big).contains("big-endian"));
}

#[test]
fn a_file_that_is_cut_short_is_an_error_and_a_changed_one_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pytorch_model.bin");
    let whole = old(&table(&example()), &numbers());
    for end in 0..whole.len() {
        error(&path, &whole[..end]);
    }
    for at in 0..whole.len() {
        for byte in [0x00, 0x7f, 0xff, b'h', b'.'] {
            let mut changed = whole.clone();
            changed[at] = byte;
            fs_err::write(&path, changed).unwrap();
            if let Ok(stored) = Stored::open(&path) {
                for name in stored.names() {
                    let _ = stored.tensor(name);
                }
            }
        }
    }
}
