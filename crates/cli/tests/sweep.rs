//! `nearkin sweep` of networks, losses and samplers: a combination that cannot be is known before the first run.

#[allow(dead_code, reason = "the rest is for other tests")]
mod workplace;

use workplace::Workplace;

#[test]
fn what_does_not_fit_is_said_before_the_first_run() {
    let place = Workplace::new();
    place.images("photos", 8, 4);
    place
        .run(&["init", "photos", "-o", "recipe.toml"])
        .succeeds();
    let sweep = |vary: &str| {
        let command = ["sweep", "recipe.toml", "--set", "train.steps=1", "--vary"];
        place.run(&[&command[..], &[vary, "--out", "swept"]].concat())
    };
    for (vary, wrong, reason) in [
        (
            "network={convnet = {widths = [4]}}, {alexnet = {}}",
            "network={alexnet = {}}",
            "the feature map is",
        ),
        (
            "sampler={pk = {classes = 2, per_class = 2}}, {pk = {classes = 99, per_class = 2}}",
            "sampler={pk = {classes = 99, per_class = 2}}",
            "99",
        ),
        (
            "loss={triplet_margin = {}}, {nt_xents = {}}",
            "loss={nt_xents = {}}",
            "nt_xents",
        ),
        (
            "loss={triplet_margin = {}}, {barlow_twins = {}}",
            "loss={barlow_twins = {}}",
            "barlow_twins",
        ),
    ] {
        let (key, values) = vary.split_once('=').unwrap();
        let said = sweep(&format!("{key}=[{values}]"));
        assert!(!said.stderr.contains("1 of 2"), "{}", said.stderr);
        assert!(
            said.stderr.contains(wrong) && said.stderr.contains(reason),
            "{}",
            said.stderr
        );
        assert!(!place.path("swept").exists());
    }
    let fit = sweep("sampler.pk.classes=[2, 3]");
    assert!(fit.succeeds().stdout.contains("sampler.pk.classes=3"));
}
