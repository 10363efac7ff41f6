//! Every layout on a made-up set, from a folder and from an archive of it.

use std::fmt::Write;
use std::path::Path;

use crate::data::tree::tests::folder_of;
use crate::data::zip::tests::write_zip;
use crate::data::{DataError, Dataset, Part, Role, Source};
use Part::{Test, Train, Validation};

/// An image's name, its class, and the part and the camera that it should get.
type Image = (&'static str, &'static str, Option<Part>, Option<u32>);

struct Case {
    source: &'static str,
    /// What to set beside the path.
    options: &'static str,
    /// Files that are no images of the set: lists, and what is left out.
    others: &'static [(&'static str, &'static str)],
    /// In the order of the data set.
    images: &'static [Image],
    left_out: usize,
}

const CASES: &[Case] = &[
    Case {
        source: "lfw",
        options: "",
        others: &[("README", ""), ("notes/photo.jpg", "")],
        images: &[
            ("lfw/Ann_Lee/Ann_Lee_0001.jpg", "Ann_Lee", None, None),
            ("lfw/Ann_Lee/Ann_Lee_0002.jpg", "Ann_Lee", None, None),
            ("lfw/Bo/Bo_0001.jpg", "Bo", None, None),
        ],
        left_out: 1,
    },
    Case {
        source: "market1501",
        options: "",
        others: &[
            ("bounding_box_test/-1_c1s1_000401_03.jpg", ""),
            ("gt_bbox/0001_c1s1_001051_00.jpg", ""),
            ("query/Thumbs.db", ""),
        ],
        images: &[
            (
                "bounding_box_test/0000_c6s1_000401_03.jpg",
                "0000",
                Some(Test),
                Some(6),
            ),
            (
                "bounding_box_test/0001_c2s1_000301_00.jpg",
                "0001",
                Some(Test),
                Some(2),
            ),
            ("query/0001_c1s1_001051_00.jpg", "0001", Some(Test), Some(1)),
            (
                "bounding_box_train/0002_c1s1_000451_03.jpg",
                "0002",
                Some(Train),
                Some(1),
            ),
            (
                "bounding_box_train/0002_c3_f0046985.jpg",
                "0002",
                Some(Train),
                Some(3),
            ),
        ],
        left_out: 2,
    },
    Case {
        source: "market1501",
        options: "distractors = false",
        others: &[("bounding_box_test/0000_c6s1_000401_03.jpg", "")],
        images: &[("query/0001_c1s1_001051_00.jpg", "0001", Some(Test), Some(1))],
        left_out: 1,
    },
    Case {
        source: "cuhk01",
        options: "",
        others: &[],
        images: &[
            ("campus/0001002.png", "0001", None, Some(0)),
            ("campus/0001003.png", "0001", None, Some(1)),
            ("campus/0971001.png", "0971", None, Some(0)),
        ],
        left_out: 0,
    },
    Case {
        source: "cuhk03",
        options: "",
        others: &[("images_labeled/1_001_1_01.png", "")],
        images: &[
            ("images_detected/1_001_1_01.png", "1_001", None, Some(0)),
            ("images_detected/1_001_2_06.png", "1_001", None, Some(1)),
            ("images_detected/5_001_2_06.png", "5_001", None, Some(9)),
        ],
        left_out: 1,
    },
    Case {
        source: "cuhk03",
        options: "boxes = 'labeled'",
        others: &[("images_detected/1_002_1_01.png", "")],
        images: &[("images_labeled/1_001_1_01.png", "1_001", None, Some(0))],
        left_out: 1,
    },
    Case {
        source: "cuhk03",
        options: "",
        others: &[],
        images: &[
            ("train/0000_04.jpg", "train/0000", Some(Train), Some(0)),
            ("train/0000_05.jpg", "train/0000", Some(Train), Some(1)),
            ("val/0000_00.jpg", "val/0000", Some(Test), Some(0)),
        ],
        left_out: 0,
    },
    Case {
        source: "cuhk03",
        options: "",
        others: &[],
        images: &[
            ("test/0000_09.jpg", "test/0000", Some(Test), Some(1)),
            ("val/0000_00.jpg", "val/0000", Some(Validation), Some(0)),
        ],
        left_out: 0,
    },
    Case {
        source: "viper",
        options: "",
        others: &[("parallel/000_1.bmp", "")],
        images: &[
            ("VIPeR/cam_a/000_45.bmp", "000", None, Some(0)),
            ("VIPeR/cam_b/000_90.bmp", "000", None, Some(1)),
            ("VIPeR/cam_a/001_0.bmp", "001", None, Some(0)),
        ],
        left_out: 1,
    },
    Case {
        source: "cub200",
        options: "",
        others: &[
            (
                "CUB/images.txt",
                "1 099.Ovenbird/O_1.jpg\n2 100.Pelican/P_1.jpg\n3 101.Wren/W_1.jpg\n",
            ),
            ("CUB/image_class_labels.txt", "2 100\n1 99\n3 101\n"),
            ("CUB/images/099.Ovenbird/unlisted.jpg", ""),
        ],
        images: &[
            (
                "CUB/images/099.Ovenbird/O_1.jpg",
                "099.Ovenbird",
                Some(Train),
                None,
            ),
            (
                "CUB/images/100.Pelican/P_1.jpg",
                "100.Pelican",
                Some(Train),
                None,
            ),
            ("CUB/images/101.Wren/W_1.jpg", "101.Wren", Some(Test), None),
        ],
        left_out: 1,
    },
    Case {
        source: "cars196",
        options: "",
        others: &[("top.jpg", "")],
        images: &[
            ("train/009/00002.jpg", "009", Some(Train), None),
            ("test/098/00003.jpg", "098", Some(Train), None),
            ("train/099/00001.jpg", "099", Some(Test), None),
            ("test/196/00004.jpg", "196", Some(Test), None),
        ],
        left_out: 1,
    },
    Case {
        source: "sop",
        options: "",
        others: &[
            (
                "S/Ebay_train.txt",
                "image_id class_id super_class_id path\n1 1 1 bicycle_final/11_0.JPG\n2 2 1 bicycle_final/12_0.JPG\n",
            ),
            (
                "S/Ebay_test.txt",
                "image_id class_id super_class_id path\n3 11319 2 cabinet_final/7_0.JPG\n",
            ),
        ],
        images: &[
            ("S/bicycle_final/11_0.JPG", "1", Some(Train), None),
            ("S/cabinet_final/7_0.JPG", "11319", Some(Test), None),
            ("S/bicycle_final/12_0.JPG", "2", Some(Train), None),
        ],
        left_out: 0,
    },
    Case {
        source: "omniglot",
        options: "",
        others: &[("strokes/x.png", "")],
        images: &[
            (
                "images_evaluation/Angelic/character01/0965_01.png",
                "Angelic/character01",
                Some(Test),
                None,
            ),
            (
                "images_background/Greek/character01/0394_01.png",
                "Greek/character01",
                Some(Train),
                None,
            ),
            (
                "images_background_small2/Korean/character02/0540_20.png",
                "Korean/character02",
                Some(Train),
                None,
            ),
        ],
        left_out: 1,
    },
    Case {
        source: "omniglot",
        options: "",
        others: &[],
        images: &[(
            "Greek/character01/0394_01.png",
            "Greek/character01",
            None,
            None,
        )],
        left_out: 0,
    },
];

fn open(source: &str, options: &str, path: &Path) -> Result<Dataset, DataError> {
    let recipe = format!("[{source}]\npath = {:?}\n{options}", path.to_str().unwrap());
    Dataset::open(&toml::from_str::<Source>(&recipe).unwrap())
}

fn all_or_none<T: Copy>(images: &[Image], of: impl Fn(&Image) -> Option<T>) -> Option<Vec<T>> {
    images.iter().map(of).collect()
}

#[test]
fn every_layout_gives_classes_parts_and_cameras_from_a_folder_and_from_an_archive() {
    for case in CASES {
        let others = case
            .others
            .iter()
            .map(|&(name, text)| (name, text.as_bytes()));
        let images = case
            .images
            .iter()
            .map(|&(name, ..)| (name, name.as_bytes()));
        let files: Vec<(&str, &[u8])> = others.chain(images).collect();
        let folder = folder_of(&files);
        let elsewhere = tempfile::tempdir().unwrap();
        let archive = elsewhere.path().join("set.zip");
        let entries = files
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()));
        write_zip(&archive, &entries.collect::<Vec<_>>());
        for path in [folder.path(), &archive] {
            let data = open(case.source, case.options, path).unwrap();
            let context = format!("{} {}: {:?}", case.source, path.display(), data.names);
            let names: Vec<&str> = case.images.iter().map(|image| image.0).collect();
            assert_eq!(data.names, names, "{context}");
            for (item, &(name, class, ..)) in case.images.iter().enumerate() {
                assert_eq!(data.read(item).unwrap(), name.as_bytes(), "{context}");
                assert_eq!(data.classes[data.labels[item] as usize], class, "{context}");
            }
            let parts = all_or_none(case.images, |image| image.2);
            assert_eq!(data.given_split, parts, "{context}");
            let cameras = all_or_none(case.images, |image| image.3);
            assert_eq!(data.cameras, cameras, "{context}");
            assert_eq!(data.skipped.images, case.left_out, "{context}");
        }
    }
}

#[test]
fn queries_of_market1501_are_told_from_its_gallery() {
    let folder = folder_of(&[
        ("bounding_box_train/0002_c1s1_000451_03.jpg", b""),
        ("query/0003_c1s1_000451_03.jpg", b""),
        ("bounding_box_test/0003_c2s1_000451_03.jpg", b""),
        ("bounding_box_test/0000_c2s1_000451_03.jpg", b""),
    ]);
    let data = open("market1501", "", folder.path()).unwrap();
    let roles = [Role::Distractor, Role::Both, Role::Gallery, Role::Query];
    assert_eq!(data.roles, Some(roles.to_vec()), "{:?}", data.names);
    let faces = folder_of(&[("Bo/Bo_0001.jpg", b"")]);
    assert_eq!(open("lfw", "", faces.path()).unwrap().roles, None);
}

#[test]
fn people_of_labeled_faces_train_and_test_as_the_lists_say() {
    let folder = folder_of(&[
        ("Ann_Lee/Ann_Lee_0001.jpg", b""),
        ("Bo/Bo_0001.jpg", b""),
        ("Cy/Cy_0001.jpg", b""),
        ("Di/Di_0001.jpg", b""),
    ]);
    let read = |train: &str, test: &str| {
        let lists = tempfile::tempdir().unwrap();
        let mut options = String::new();
        for (key, text) in [("train", train), ("test", test)] {
            if !text.is_empty() {
                let path = lists.path().join(key);
                fs_err::write(&path, text).unwrap();
                writeln!(options, "{key} = {:?}", path.to_str().unwrap()).unwrap();
            }
        }
        let data = open("lfw", &options, folder.path()).map_err(|error| error.to_string())?;
        let parts = data.given_split.unwrap();
        Ok::<_, String>(data.classes.into_iter().zip(parts).collect::<Vec<_>>())
    };
    let want = |parts: &[(&str, Part)]| {
        Ok(parts
            .iter()
            .map(|&(name, part)| (name.to_owned(), part))
            .collect())
    };
    // View 1's list of people, and one of pairs; the people of no list are the other part's.
    let [ann, bo, cy, di] = ["Ann_Lee", "Bo", "Cy", "Di"];
    assert_eq!(
        read("2\nAnn_Lee\t1\nBo\t1\n", ""),
        want(&[(ann, Train), (bo, Train), (cy, Test), (di, Test)])
    );
    assert_eq!(
        read("", "1\t1\nAnn_Lee\t1\t1\nBo\t1\tDi\t1\n"),
        want(&[(ann, Test), (bo, Test), (cy, Train), (di, Test)])
    );
    // With both lists nobody else takes part.
    assert_eq!(read("Cy\n", "Bo\n"), want(&[(bo, Test), (cy, Train)]));
    for (train, test, words) in [
        ("Cy\nBob\n", "", "train:2: the data set has no image of Bob"),
        ("Cy\nBo\n", "Bo\n", "Bo in both lists"),
        (
            "Cy 1 2 3 4\n",
            "",
            "train:1: expected a person or a pair, found 5",
        ),
    ] {
        let error = read(train, test).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn cars_called_by_their_names_train_in_the_first_half_of_the_alphabet() {
    let files: Vec<(String, &[u8])> = (1..=196)
        .map(|class| (format!("Car {class:03}/1.jpg"), &b""[..]))
        .collect();
    let folder = folder_of(&files);
    let data = open("cars196", "", folder.path()).unwrap();
    let parts = data.given_split.unwrap();
    assert_eq!((parts[97], parts[98]), (Train, Test));
    assert_eq!(parts.iter().filter(|&&part| part == Train).count(), 98);
    let error = open("cars196", "", folder_of(&files[..9]).path()).unwrap_err();
    assert!(error.to_string().contains("found 9 folders"), "{error}");
}

#[test]
fn what_a_layout_does_not_have_is_named() {
    let header = "image_id class_id super_class_id path\n";
    let train = format!("{header}1 1 1 a/1.JPG\n");
    let wrong_class = format!("{header}1 x 1 a/1.JPG\n");
    for (source, files, words) in [
        (
            "lfw",
            vec![("a/1.jpg", "")],
            "none of its 1 images is called as Person_Name",
        ),
        ("lfw", vec![("a/1.txt", "")], "found only 1 × txt"),
        (
            "market1501",
            vec![("query/1.jpg", "")],
            "\"query/1.jpg\" is not called",
        ),
        (
            "market1501",
            vec![("query/0001_c1x.jpg", "")],
            "such as bounding_box_train/",
        ),
        (
            "cuhk01",
            vec![("campus/0001005.png", "")],
            "such as campus/",
        ),
        (
            "cuhk03",
            vec![("images_detected/6_001_1_01.png", "")],
            "6_001_1_01.png",
        ),
        (
            "cuhk03",
            vec![("train/0001_10.jpg", "")],
            "train/0001_10.jpg",
        ),
        (
            "viper",
            vec![("cam_a/a.bmp", "")],
            "such as cam_a/005_45.bmp",
        ),
        ("cub200", vec![("images/a/1.jpg", "")], "no file images.txt"),
        (
            "cub200",
            vec![
                ("images.txt", "1 a/1.jpg"),
                ("image_class_labels.txt", "1 1"),
            ],
            "images.txt:1: there is no image images/a/1.jpg",
        ),
        (
            "cub200",
            vec![
                ("images.txt", "1 a/1.jpg\n"),
                ("image_class_labels.txt", "2 1\n1 0"),
            ],
            "image_class_labels.txt:2: expected the number of a class, found \"0\"",
        ),
        (
            "cub200",
            vec![
                ("images.txt", "\n1 a/1.jpg"),
                ("image_class_labels.txt", "2 1"),
            ],
            "images.txt:2: there is no class of image 1",
        ),
        (
            "sop",
            vec![("Ebay_train.txt", header)],
            "no file Ebay_test.txt",
        ),
        (
            "sop",
            vec![("Ebay_train.txt", &train)],
            "Ebay_train.txt:2: there is no image a/1.JPG",
        ),
        (
            "sop",
            vec![("Ebay_train.txt", &wrong_class)],
            "number of a class, found \"x\"",
        ),
    ] {
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(f, text)| (*f, text.as_bytes()))
            .collect();
        let error = open(source, "", folder_of(&files).path()).unwrap_err();
        assert!(error.to_string().contains(words), "{source}: {error}");
    }
}

#[test]
fn birds_are_cut_to_their_boxes_where_asked() {
    let files = |boxes: &'static str| {
        folder_of(&[
            ("images.txt", &b"1 099.Ovenbird/O_1.jpg\n"[..]),
            ("image_class_labels.txt", b"1 99"),
            ("bounding_boxes.txt", boxes.as_bytes()),
            ("images/099.Ovenbird/O_1.jpg", b""),
        ])
    };
    let folder = files("1 60.0 27.0 325.5 304.0\n");
    let data = open("cub200", "boxes = true", folder.path()).unwrap();
    let [region] = data.regions.unwrap()[..] else {
        unreachable!()
    };
    let edges = [region.x, region.y, region.width, region.height];
    assert_eq!(edges, [60.0, 27.0, 325.5, 304.0]);
    assert!(open("cub200", "", folder.path()).unwrap().regions.is_none());
    for (boxes, words) in [
        ("2 1 1 1 1", "images.txt:1: there is no box of image 1"),
        (
            "1 1 1 1",
            "bounding_boxes.txt:1: expected 5 fields, found 4",
        ),
        ("1 1 1 x 1", "bounding_boxes.txt:1: expected four numbers"),
    ] {
        let error = open("cub200", "boxes = true", files(boxes).path()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn cars_as_published_are_read_by_their_annotations() {
    let annotations = include_bytes!("../mat/cars_annos.mat");
    let images = [1, 2, 3, 4].map(|at| format!("cars/car_ims/{at:06}.jpg"));
    let mut files: Vec<(&str, &[u8])> = vec![("cars/cars_annos.mat", annotations)];
    files.extend(images.iter().map(|image| (image.as_str(), &b""[..])));
    files.push(("cars/car_ims/more.jpg", b""));
    let folder = folder_of(&files);
    let data = open("cars196", "", folder.path()).unwrap();
    assert_eq!(data.classes, ["1", "98", "99", "196"]);
    // In the alphabetical order of their classes' names.
    assert_eq!(data.labels, [0, 3, 1, 2]);
    assert_eq!(data.names, [0, 3, 1, 2].map(|at| images[at].clone()));
    assert_eq!(data.given_split, Some(vec![Train, Test, Train, Test]));
    assert_eq!((data.regions, data.skipped.images), (None, 1));
    let cut = open("cars196", "boxes = true", folder.path()).unwrap();
    let region = cut.regions.unwrap()[2];
    let edges = [region.x, region.y, region.width, region.height];
    assert_eq!(edges, [2.0, 3.0, 48.0, 57.0]);

    fs_err::remove_file(folder.path().join(&images[2])).unwrap();
    let error = |options: &str| {
        open("cars196", options, folder.path())
            .unwrap_err()
            .to_string()
    };
    let absent = error("");
    assert!(
        absent
            .contains("cars_annos.mat: lists an image that is not there, cars/car_ims/000003.jpg"),
        "{absent}"
    );
    let list = folder.path().join("cars/cars_annos.mat");
    fs_err::write(&list, &annotations[..200]).unwrap();
    assert!(error("").contains("cars_annos.mat: "));
    fs_err::remove_file(list).unwrap();
    assert!(error("boxes = true").contains("no file cars_annos.mat"));
}
