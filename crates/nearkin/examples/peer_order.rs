//! The Rust side of `bench/peers/learn_text.py --same-draws`: the order in which training takes the items of a data set in its first epoch.
//!
//! `peer_order SEED NAME COUNT` prints the numbers of the items of the data set of this name, one a line.

use nearkin_encoder::parameters::named_rng;
use rand::seq::SliceRandom;
use std::error::Error;
use std::fmt::Write;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [seed, name, count] = &arguments[..] else {
        return Err("expected SEED NAME COUNT".into());
    };
    let mut order: Vec<usize> = (0..count.parse()?).collect();
    order.shuffle(&mut named_rng(seed.parse()?, &format!("batches/{name}/0")));
    let mut lines = String::new();
    for item in order {
        writeln!(lines, "{item}")?;
    }
    print!("{lines}");
    Ok(())
}
