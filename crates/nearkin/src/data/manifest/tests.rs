use super::*;

fn open(table: &str, options: &str) -> Result<Dataset, DataError> {
    let folder = tempfile::tempdir().unwrap();
    for file in ["1.png", "2.png", "3.png"] {
        fs_err::create_dir_all(folder.path().join("img")).unwrap();
        fs_err::write(folder.path().join("img").join(file), file).unwrap();
    }
    let path = folder.path().join("list.csv");
    fs_err::write(&path, table).unwrap();
    let manifest = format!("path = {:?}\n{options}", path.to_str().unwrap());
    let data = toml::from_str::<Manifest>(&manifest).unwrap().open()?;
    for index in 0..data.len() {
        let file = data.names[index].rsplit('/').next().unwrap();
        assert_eq!(data.read(index).unwrap(), file.as_bytes());
    }
    Ok(data)
}

#[test]
fn rows_keep_their_order_and_the_split_column_is_read() {
    let table = "label,part,path\ncat,train,img/2.png\nbird,Val,img/1.png\ncat,test,img/3.png\n";
    let data = open(table, "split_column = 'part'").unwrap();
    assert_eq!(data.classes, ["bird", "cat"]);
    assert_eq!(data.labels, [1, 0, 1]);
    assert_eq!(
        data.given_split.unwrap(),
        [Part::Train, Part::Validation, Part::Test]
    );
}

#[test]
fn without_a_split_column_no_split_is_given_and_the_root_can_be_moved() {
    assert!(
        open("path,label\nimg/1.png,a\n", "")
            .unwrap()
            .given_split
            .is_none()
    );
    let error = open("path,label\nimg/1.png,a\n", "root = 'elsewhere'")
        .unwrap_err()
        .to_string();
    assert!(error.contains("a file below elsewhere"), "{error}");
}

#[test]
fn the_camera_column_is_a_number_of_each_image() {
    let cameras = |table: &str| {
        let data = open(table, "camera_column = 'cam'");
        data.map(|data| data.cameras)
            .map_err(|error| error.to_string())
    };
    let table = "path,label,cam\nimg/2.png,a,6\nimg/1.png,a,0\n";
    assert_eq!(cameras(table), Ok(Some(vec![6, 0])));
    for wrong in ["-1", "c2", ""] {
        let error = cameras(&format!("path,label,cam\nimg/2.png,a,{wrong}\n")).unwrap_err();
        let expected =
            format!("list.csv:2, column \"cam\": expected the number of a camera, found {wrong:?}");
        assert!(error.contains(&expected), "{error}");
    }
    let without = open("path,label\nimg/1.png,a\n", "").unwrap();
    assert_eq!(without.cameras, None);
}

#[test]
fn an_unknown_column_gets_a_suggestion() {
    let error = open("file,lable\nimg/1.png,a\n", "image_column = 'file'")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("list.csv:1: no column \"label\" (did you mean \"lable\"?)"),
        "{error}"
    );
}

#[test]
fn the_usual_names_of_columns_are_known_and_numbers_are_no_images() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.csv");
    let guess = |text: &str| {
        fs_err::write(&path, text).unwrap();
        let found = Manifest::guess(&path)?;
        Some((found.image_column, found.label_column, found.split_column))
    };
    let names = |image: &str, label: &str, split: Option<&str>| {
        Some((image.to_owned(), label.to_owned(), split.map(str::to_owned)))
    };
    let text = "Class,file,Split\na,img/1.PNG,train\n";
    assert_eq!(guess(text), names("file", "Class", Some("Split")));
    // Of two candidates the better name counts, wherever it stands.
    let text = "file,path,class,label\n7,1.png,x,y\n";
    assert_eq!(guess(text), names("path", "label", None));
    assert_eq!(guess("path,label\n"), names("path", "label", None));
    let text = "path,label\n/data/1,a\n";
    assert_eq!(guess(text), names("path", "label", None));
    assert_eq!(
        guess("image,label\n0001,cat\n"),
        names("image", "label", None)
    );
    // Beside other columns, a number is no file.
    assert_eq!(guess("file,label,x1,x2\n0,cat,0.5,2\n"), None);
    let text = "file,label,x1\n0.png,cat,0.5\n";
    assert_eq!(guess(text), names("file", "label", None));
    assert_eq!(guess("f0,f1,label\n1,2,a\n"), None);
    assert_eq!(guess(""), None);
}

#[test]
fn a_column_of_cameras_is_known_by_its_name_and_its_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.csv");
    for (text, camera) in [
        ("path,label,Cam\n1.png,a,3\n", Some("Cam")),
        ("path,label,camera\n1.png,a,1\n2.png,a,Nikon D40\n", None),
        ("path,label,camera\n1.png,a,1\n2.png,a,\n", None),
        ("path,label\n1.png,a\n", None),
    ] {
        fs_err::write(&path, text).unwrap();
        let guessed = Manifest::guess(&path).unwrap();
        assert_eq!(guessed.camera_column.as_deref(), camera, "{text}");
        let other = Manifest::new("trained.csv").of_table(&path).unwrap();
        assert_eq!(other.camera_column.as_deref(), camera, "{text}");
    }
}

#[test]
fn a_bad_row_is_named_by_line_column_and_value() {
    for (table, words) in [
        (
            "path,label,part\nimg/8.png,a,train\nimg/9.png,a,test\n",
            ["list.csv:2", "\"path\"", "img/8.png"],
        ),
        (
            "path,label,part\nimg/1.png,,train\n",
            ["list.csv:2", "\"label\"", "expected a label"],
        ),
        (
            "path,label,part\nimg/1.png,a,trian\n",
            ["list.csv:2", "\"part\"", "\"trian\""],
        ),
        (
            "path,label,part\n",
            ["list.csv", "no rows", "after its header"],
        ),
    ] {
        let error = open(table, "split_column = 'part'")
            .unwrap_err()
            .to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

#[test]
fn an_image_that_is_not_there_is_a_damaged_item() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.csv");
    fs_err::write(folder.path().join("1.png"), "one").unwrap();
    fs_err::write(&path, "path,label\n1.png,a\n0002,b\n").unwrap();
    let data = Manifest::guess(&path).unwrap().open().unwrap();
    assert_eq!(
        (&data.names[..], data.len()),
        (&["1.png".into(), "0002".into()][..], 2)
    );
    assert_eq!(data.read(0).unwrap(), b"one");
    let error = data.read(1).unwrap_err().to_string();
    let words = [
        "list.csv:3, column \"path\": expected a file below",
        "found \"0002\"",
    ];
    assert!(words.iter().all(|word| error.contains(word)), "{error}");

    let data = std::sync::Arc::new(data);
    let feed = |share| {
        let input = nearkin_encoder::model::Input::Image(nearkin_encoder::ImageInput::default());
        crate::feed::Feed::new(data.clone(), input, share)
    };
    assert!(feed(0.0).unwrap().expect(&[0]).is_ok());
    let error = feed(0.4).unwrap().expect(&[0, 1]).unwrap_err().to_string();
    assert!(
        error.contains("1 damaged image, data.damaged allows 0"),
        "{error}"
    );
    assert!(error.contains("list.csv:3"), "{error}");
    // Named once it is asked for: what is measured may be without it.
    let feed = feed(0.5).unwrap();
    assert!(feed.damaged().is_empty());
    assert_eq!(feed.batch(&[1], None).unwrap().items.len(), 0);
    assert_eq!(feed.damaged(), ["0002"]);
}

#[test]
fn a_row_without_a_path_is_a_damaged_item_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.csv");
    fs_err::write(folder.path().join("1.png"), "one").unwrap();
    fs_err::write(&path, "path,label\n1.png,a\n,b\n").unwrap();
    let data = Manifest::new(&path).open().unwrap();
    assert_eq!(data.names, ["1.png", "row 2"]);
    let error = data.read(1).unwrap_err().to_string();
    assert!(
        error.contains("list.csv:3") && error.contains("found \"\""),
        "{error}"
    );
}

#[test]
fn boxes_and_landmarks_are_numbers_of_pixels() {
    let names: Vec<String> = (0..10).map(|i| format!("p{i}")).collect();
    let options = format!("box_columns = ['l', 't', 'w', 'h']\nlandmark_columns = {names:?}");
    let header = format!("path,label,l,t,w,h,{}\n", names.join(","));
    let row = "img/1.png,a,3,4.5,10,-2,0,1,2,3,4,5,6,7,8,9.5\n";
    let data = open(&format!("{header}{row}"), &options).unwrap();
    let [region] = data.regions.unwrap()[..] else {
        unreachable!()
    };
    let edges = [region.x, region.y, region.width, region.height];
    assert_eq!(edges, [3.0, 4.5, 10.0, -2.0]);
    let points = [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0], [8.0, 9.5]];
    assert_eq!(data.landmarks, Some(vec![points]));
    for (wrong, words) in [("nan", "\"t\": expected a number"), ("", "\"t\"")] {
        let row = row.replace("4.5", wrong);
        let error = open(&format!("{header}{row}"), &options).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// A Parquet table of `image { bytes, path }`, `label` and `camera`.
fn parquet(path: &Path, rows: &[(&[u8], &str, &str, i64)]) {
    use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;
    let schema = "message t { REQUIRED GROUP image { REQUIRED BYTE_ARRAY bytes; REQUIRED BYTE_ARRAY path (UTF8); } \
                  REQUIRED BYTE_ARRAY label (UTF8); REQUIRED INT64 camera; }";
    let schema = std::sync::Arc::new(parse_message_type(schema).unwrap());
    let file = fs_err::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, std::sync::Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let texts = [
        rows.iter()
            .map(|row| ByteArray::from(row.0.to_vec()))
            .collect::<Vec<_>>(),
        rows.iter().map(|row| ByteArray::from(row.1)).collect(),
        rows.iter().map(|row| ByteArray::from(row.2)).collect(),
    ];
    for values in texts {
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<ByteArrayType>();
        typed.write_batch(&values, None, None).unwrap();
        column.close().unwrap();
    }
    let cameras: Vec<i64> = rows.iter().map(|row| row.3).collect();
    let mut column = group.next_column().unwrap().unwrap();
    let typed = column.typed::<Int64Type>();
    typed.write_batch(&cameras, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

/// A Parquet table of `image`, bytes or names that the file calls nothing, and `label`.
fn plain(path: &Path, images: &[&[u8]]) {
    use ::parquet::data_type::{ByteArray, ByteArrayType};
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;
    let schema = "message t { REQUIRED BYTE_ARRAY image; REQUIRED BYTE_ARRAY label (UTF8); }";
    let schema = std::sync::Arc::new(parse_message_type(schema).unwrap());
    let file = fs_err::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, std::sync::Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let labels = vec![ByteArray::from("a"); images.len()];
    let images = images.iter().map(|image| ByteArray::from(image.to_vec()));
    for values in [images.collect(), labels] {
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<ByteArrayType>();
        typed.write_batch(&values, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn a_plain_column_of_bytes_holds_the_images_whatever_it_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.parquet");
    let long = [b"\x89PNG".as_slice(), &[b'\xff'; 5000]].concat();
    plain(&path, &[&long, b"P5 text alone"]);
    let guessed = Manifest::guess(&path).unwrap();
    assert_eq!(guessed.bytes_column.as_deref(), Some("image"));
    let data = guessed.open().unwrap();
    assert_eq!(data.names, ["row 1", "row 2"]);
    assert_eq!(data.read(0).unwrap(), long);

    // Told that it holds names, the message is of a length to be read.
    let named = Manifest {
        image_column: "image".into(),
        ..Manifest::new(&path)
    };
    let error = named.open().unwrap_err().to_string();
    let found = format!("found \"{} bytes that are no text\"", long.len());
    assert!(error.contains(&found) && error.len() < 300, "{error}");

    plain(&path, &[b"a.png"]);
    let guessed = Manifest::guess(&path).unwrap();
    assert_eq!(
        (guessed.image_column, guessed.bytes_column),
        ("image".into(), None)
    );
}

#[test]
fn a_description_goes_over_to_another_table_that_has_its_columns() {
    let folder = tempfile::tempdir().unwrap();
    let [path, csv] = ["list.parquet", "list.csv"].map(|name| folder.path().join(name));
    plain(&path, &[b"\xff\xd8 one"]);
    fs_err::write(&csv, "image,label\na.png,a\n").unwrap();
    let split_of = |header: &str| {
        let table = folder.path().join("split.csv");
        fs_err::write(&table, header).unwrap();
        let trained = Manifest {
            split_column: Some("part".into()),
            ..Manifest::new("trained.csv")
        };
        trained.of_table(&table).unwrap().split_column
    };
    assert_eq!(split_of("path,split,label,part\n").as_deref(), Some("part"));
    assert_eq!(split_of("path,label,Split\n").as_deref(), Some("Split"));
    assert_eq!(split_of("path,label\n"), None);

    let with = |image: &str, bytes: Option<&str>, label: &str| Manifest {
        image_column: image.into(),
        bytes_column: bytes.map(str::to_owned),
        label_column: label.into(),
        split_column: Some("part".into()),
        root: Some("elsewhere".into()),
        ..Manifest::new("trained.parquet")
    };
    let found = with("path", Some("image"), "label")
        .of_table(&path)
        .unwrap();
    assert_eq!(
        (&found.path, found.split_column, found.root),
        (&path, None, None)
    );
    assert_eq!(found.bytes_column.as_deref(), Some("image"));
    assert!(with("image", None, "label").of_table(&csv).is_some());
    // Other columns, images where names are expected, and names where images are.
    assert_eq!(with("path", Some("image"), "kind").of_table(&path), None);
    assert_eq!(with("image", None, "label").of_table(&path), None);
    assert_eq!(with("path", Some("image"), "label").of_table(&csv), None);
}

#[test]
fn parquet_holds_paths_or_the_images_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.Parquet");
    let images: [&[u8]; 2] = [b"\xff\xd8 one", b"\x89PNG two"];
    for (name, bytes) in [("b.png", images[1]), ("a.jpg", images[0])] {
        fs_err::write(folder.path().join(name), bytes).unwrap();
    }
    parquet(
        &path,
        &[
            (images[0], "a.jpg", "cat", 4),
            (images[1], "b.png", "bat", 2),
        ],
    );
    let manifest = |options: &str| -> Manifest {
        toml::from_str(&format!("path = {:?}\n{options}", path.to_str().unwrap())).unwrap()
    };
    for (options, names) in [
        ("image_column = 'image.path'", ["a.jpg", "b.png"]),
        ("bytes_column = 'image.bytes'", ["row 1", "row 2"]),
        (
            "bytes_column = 'image.bytes'\nimage_column = 'image.path'",
            ["a.jpg", "b.png"],
        ),
    ] {
        let data = manifest(&format!("camera_column = 'camera'\n{options}"))
            .open()
            .unwrap();
        assert_eq!(data.names, names);
        assert_eq!((&data.labels[..], data.classes.len()), (&[1, 0][..], 2));
        assert_eq!(data.cameras, Some(vec![4, 2]));
        for (item, bytes) in images.iter().enumerate() {
            assert_eq!(data.read(item).unwrap(), *bytes);
        }
    }
    let guessed = Manifest::guess(&path).unwrap();
    assert_eq!(guessed.bytes_column.as_deref(), Some("image.bytes"));
    assert_eq!(guessed.open().unwrap().len(), 2);
    for (options, words) in [
        ("", "no column \"path\"; the table has image.bytes"),
        (
            "bytes_column = 'image'",
            "the table has image.bytes, image.path, label, camera",
        ),
        (
            "image_column = 'label'",
            "list.Parquet:1, column \"label\": expected a file below",
        ),
        (
            "image_column = 'image.bytes'",
            "column \"image.bytes\": expected a file below",
        ),
    ] {
        let error = manifest(options).open().unwrap_err().to_string();
        assert!(error.contains(words) && error.len() < 300, "{error}");
    }
    let error = open("path,label\nimg/1.png,a\n", "bytes_column = 'path'").unwrap_err();
    assert!(
        error.to_string().contains("must be one of parquet"),
        "{error}"
    );
}
