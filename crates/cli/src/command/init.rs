//! `nearkin init`

use crate::arguments::Init;
use crate::failure::Failure;

/// Writes a recipe that fits the data.
pub fn run(arguments: &Init) -> Result<(), Failure> {
    let text = nearkin::init::recipe_for(&arguments.data)?;
    let Some(output) = &arguments.output else {
        print!("{text}");
        return Ok(());
    };
    if output.exists() {
        return Err(Failure::usage(format!(
            "{}: there already; remove it or choose another name",
            output.display()
        )));
    }
    nearkin::write_beside(output, text.as_bytes())?;
    eprintln!("wrote {0}; next: nearkin train {0}", output.display());
    Ok(())
}
