//! What a study is made of.

use super::Measure;
use crate::data::Dataset;
use crate::recipe::{Document, RecipeError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::path::Path;

/// A paper whose comparison can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Paper {
    /// A. Medela, A. Picon, Constellation Loss, 2019.
    Constellation,
    /// F. Schroff, D. Kalenichenko, J. Philbin, FaceNet, CVPR 2015.
    FaceNet,
    /// The same, its networks.
    FaceNetNetworks,
    /// W. Chen, X. Chen, J. Zhang, K. Huang, Beyond Triplet Loss, CVPR 2017.
    Quadruplet,
    /// K. Sohn, Improved Deep Metric Learning with Multi-class N-pair Loss Objective, NIPS 2016.
    NPair,
    /// The same, its faces.
    NPairFaces,
}

impl Paper {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Constellation,
        Self::FaceNet,
        Self::FaceNetNetworks,
        Self::Quadruplet,
        Self::NPair,
        Self::NPairFaces,
    ];

    /// Its name in commands and folders, and its study.
    fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::Constellation => ("constellation", include_str!("studies/constellation.toml")),
            Self::FaceNet => ("facenet", include_str!("studies/facenet.toml")),
            Self::FaceNetNetworks => (
                "facenet-networks",
                include_str!("studies/facenet-networks.toml"),
            ),
            Self::Quadruplet => ("quadruplet", include_str!("studies/quadruplet.toml")),
            Self::NPair => ("npair", include_str!("studies/npair.toml")),
            Self::NPairFaces => ("npair-faces", include_str!("studies/npair-faces.toml")),
        }
    }

    /// Its name in commands and folders.
    pub fn name(self) -> &'static str {
        self.parts().0
    }
}

/// The comparison of a paper.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// What is compared, in a line.
    pub title: String,
    /// Authors, title, year, table.
    pub source: String,
    /// What is other than in the paper, for those who read the table.
    pub remark: String,
    /// What two cores finish.
    pub small: Scale,
    /// What the paper ran.
    pub paper: Scale,
    /// The numbers of each run, in the order of columns.
    pub measures: Vec<Measure>,
    /// What is compared.
    pub arms: Vec<Arm>,
    /// What the paper says of it.
    pub claims: Vec<Claim>,
    /// What all arms have in common.
    recipe: toml::Table,
    /// What arms of one base have in common beyond that, such as a network of their kind.
    #[serde(default)]
    bases: BTreeMap<String, toml::Table>,
}

/// How large a study is run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// The data, below the folder of all data.
    pub data: String,
    /// The key of the recipe that holds its place.
    data_key: String,
    /// Seeds where none are asked for.
    pub seeds: NonZeroU16,
    /// Changes of the recipe, as `--set` takes them.
    #[serde(default)]
    set: Vec<String>,
    /// Further changes where the data give no split of their own.
    #[serde(default)]
    without_split: Vec<String>,
    /// Changes of single arms beyond their own, by their names: what is of another size at another scale.
    #[serde(default)]
    arms: BTreeMap<String, Vec<String>>,
}

/// One side of a comparison.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// Its name in tables.
    pub name: String,
    /// The base that it has beside what all arms have in common.
    #[serde(default)]
    base: Option<String>,
    /// Changes of the recipe, as `--set` takes them.
    #[serde(default)]
    set: Vec<String>,
    /// Whether it trains for half of the steps.
    #[serde(default)]
    half: bool,
    /// The arm whose model of the same seed it starts from.
    #[serde(default)]
    pub after: Option<String>,
    /// The paper's figures, as printed.
    #[serde(default)]
    pub figures: BTreeMap<Measure, String>,
}

impl Arm {
    /// Its folder: the letters and digits of its name.
    pub fn folder(&self) -> String {
        let words = self.name.split(|c: char| !c.is_ascii_alphanumeric());
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        words.join("-")
    }
}

/// One arm is better than another by a measure, says the paper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The arm that is better.
    pub better: String,
    /// Than this one.
    pub than: String,
    /// By this measure.
    pub by: Measure,
}

impl Study {
    /// The study of a paper.
    ///
    /// # Errors
    /// None that a release has: the documents are part of the program, and tested.
    pub fn of(paper: Paper) -> Result<Self, RecipeError> {
        let (name, text) = paper.parts();
        toml::from_str(text).map_err(|error| RecipeError::At {
            place: format!("study {name}"),
            message: error.to_string(),
        })
    }

    /// Changes for all arms that the data below `root` ask for, to come before those of a user: a split where they give
    /// none. None where the data cannot be opened, which a run will say.
    ///
    /// # Errors
    /// A change cannot be, or the recipe with it.
    pub fn changes_of_data(&self, scale: &Scale, root: &Path) -> Result<Vec<String>, RecipeError> {
        let Some(arm) = self
            .arms
            .first()
            .filter(|_| !scale.without_split.is_empty())
        else {
            return Ok(Vec::new());
        };
        let recipe = self.document(scale, arm, (root, &[]))?.any_recipe()?;
        let opened = recipe
            .of_items()
            .map(|(data, _)| Dataset::open(&data.source));
        Ok(match opened {
            Some(Ok(dataset)) if dataset.given_split.is_none() => scale.without_split.clone(),
            _ => Vec::new(),
        })
    }

    /// The recipe of an arm, with data below `root`. The `changes` are of what arms have in common: an arm's own come after.
    /// A change of a table that only other bases have is none of this arm.
    ///
    /// # Errors
    /// A change cannot be, or the recipe with it.
    pub fn document(
        &self,
        scale: &Scale,
        arm: &Arm,
        (root, changes): (&Path, &[String]),
    ) -> Result<Document, RecipeError> {
        let mut recipe = self.recipe.clone();
        recipe.extend(self.base(arm).cloned().unwrap_or_default());
        let text = toml::to_string(&recipe).map_err(|e| RecipeError::Write(e.to_string()))?;
        let mut document = Document::parse(&format!("{}, {}", self.title, arm.name), &text)?;
        let data = root.join(&scale.data).display().to_string();
        document.set(&format!("{}={}", scale.data_key, toml::Value::String(data)))?;
        let common = scale.set.iter().chain(changes);
        for change in common.filter(|change| self.is_of(change, arm)) {
            document.set(change)?;
        }
        let at_scale = scale.arms.get(&arm.name).into_iter().flatten();
        for change in arm.set.iter().chain(at_scale) {
            document.set(change)?;
        }
        if arm.half {
            let recipe = document.any_recipe()?;
            let steps = recipe.of_items().map_or(1, |(_, train)| train.steps.get());
            let half = steps.div_ceil(2);
            document.set(&format!("train.steps={half}"))?;
            document.set(&format!("train.evaluate_every={half}"))?;
        }
        Ok(document)
    }

    fn base(&self, arm: &Arm) -> Option<&toml::Table> {
        self.bases.get(arm.base.as_ref()?)
    }

    /// Whether a common change is of a table that the arm has, or that no base has.
    fn is_of(&self, change: &str, arm: &Arm) -> bool {
        let table = change.split(['.', '=']).next().unwrap_or_default().trim();
        let has = |base: &toml::Table| base.contains_key(table);
        self.base(arm).is_some_and(has) || !self.bases.values().any(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::AnyRecipe;

    #[test]
    fn every_arm_of_every_study_is_a_recipe_at_both_scales() {
        for paper in Paper::ALL {
            let study = Study::of(paper).unwrap();
            for scale in [&study.small, &study.paper] {
                for arm in &study.arms {
                    let document = study
                        .document(scale, arm, (Path::new("data \"1\""), &[]))
                        .unwrap();
                    let recipe = document.any_recipe();
                    assert!(recipe.is_ok(), "{}: {:?}", arm.name, recipe.err());
                }
            }
            assert!(!study.remark.is_empty() && study.source.contains("20"));
        }
    }

    /// Names of a set in its published layout: where it lies, one a class and number, and the numbers of classes.
    fn published(paper: Paper) -> Vec<(&'static str, Vec<String>)> {
        let names = |form: &dyn Fn(usize, usize) -> String, classes: usize, items: usize| {
            let of_class = |class| (0..items).map(move |item| (class, item));
            let all = (0..classes).flat_map(of_class);
            all.map(|(class, item)| form(class, item)).collect()
        };
        match paper {
            Paper::Constellation => vec![(
                "",
                names(&|class, item| format!("0{class}_TISSUE/{item}.png"), 8, 10),
            )],
            Paper::FaceNet | Paper::FaceNetNetworks | Paper::NPairFaces => vec![(
                "",
                names(
                    &|class, item| format!("Person_{class}/Person_{class}_{:04}.jpg", item + 1),
                    40,
                    6,
                ),
            )],
            Paper::Quadruplet => vec![
                (
                    "images_detected",
                    names(
                        &|class, item| format!("1_{class:03}_{}_{item:02}.png", 1 + item / 5),
                        60,
                        10,
                    ),
                ),
                (
                    "train",
                    names(&|class, item| format!("{class:04}_{item:02}.jpg"), 30, 10),
                ),
            ],
            Paper::NPair => Vec::new(),
        }
    }

    #[test]
    fn every_paper_scale_has_a_split_of_data_in_the_published_layout() {
        for paper in Paper::ALL {
            let study = Study::of(paper).unwrap();
            for (below, files) in published(paper) {
                let root = tempfile::tempdir().unwrap();
                let set = root.path().join(&study.paper.data).join(below);
                let mut all: Vec<_> = files.iter().map(|file| set.join(file)).collect();
                if below == "train" {
                    let test = set.with_file_name("test");
                    all.extend(files.iter().take(100).map(|file| test.join(file)));
                }
                for file in all {
                    fs_err::create_dir_all(file.parent().unwrap()).unwrap();
                    fs_err::write(file, "read later").unwrap();
                }
                let changes = study.changes_of_data(&study.paper, root.path()).unwrap();
                assert_eq!(changes.is_empty(), below != "images_detected");
                for arm in &study.arms {
                    let document = study.document(&study.paper, arm, (root.path(), &changes));
                    let recipe = document.unwrap().any_recipe().unwrap();
                    let (data, _) = recipe.of_items().unwrap();
                    let opened = Dataset::open(&data.source).unwrap();
                    let parts = data.parts(&opened, 0).unwrap();
                    assert!(!parts.measured().1.is_empty(), "{}", arm.name);
                }
            }
        }
    }

    #[test]
    fn half_of_the_steps_are_half_of_those_of_the_others_whatever_is_changed() {
        let study = Study::of(Paper::Quadruplet).unwrap();
        let steps = |name: &str| {
            let arm = study.arms.iter().find(|arm| arm.name == name).unwrap();
            let changes = [
                "train.steps=50",
                "head.dim=7",
                "pair_network.alexnet.hidden=9",
            ];
            let changes = changes.map(str::to_owned);
            let document = study.document(&study.small, arm, (Path::new("data"), &changes));
            let recipe = document.unwrap().any_recipe().unwrap();
            match &recipe {
                AnyRecipe::Items(recipe) => assert_eq!(recipe.head.dim, 7),
                recipe => assert!(recipe.to_toml().unwrap().contains("hidden = 9")),
            }
            recipe.of_items().unwrap().1.steps.get()
        };
        let [half, rest, other] =
            ["quadruplet, half", "quadruplet", "triplet (embedding)"].map(steps);
        assert_eq!((half + rest, other), (50, 50));
    }

    #[test]
    fn names_are_those_of_arms_and_measures_of_the_study() {
        for paper in Paper::ALL {
            let study = Study::of(paper).unwrap();
            let place = |name: &str| study.arms.iter().position(|arm| arm.name == name);
            for claim in &study.claims {
                for arm in [&claim.better, &claim.than] {
                    assert!(place(arm).is_some(), "{}: no arm {arm}", paper.name());
                }
                assert!(study.measures.contains(&claim.by), "{claim:?}");
            }
            for name in [&study.small, &study.paper]
                .iter()
                .flat_map(|s| s.arms.keys())
            {
                assert!(place(name).is_some(), "{}: no arm {name}", paper.name());
            }
            for (at, arm) in study.arms.iter().enumerate() {
                assert!(arm.figures.keys().all(|m| study.measures.contains(m)));
                let base = arm.base.as_ref();
                assert!(
                    base.is_none_or(|base| study.bases.contains_key(base)),
                    "{base:?}"
                );
                // Run in their order, an arm finds the one it starts from done.
                if let Some(after) = &arm.after {
                    assert!(place(after).is_some_and(|before| before < at), "{after}");
                }
                let folders = study.arms.iter().map(Arm::folder);
                assert_eq!(
                    folders.filter(|f| *f == arm.folder()).count(),
                    1,
                    "{}",
                    arm.name
                );
            }
        }
    }
}
