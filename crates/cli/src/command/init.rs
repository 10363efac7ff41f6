//! `nearkin init`

use crate::arguments::Init;
use crate::failure::Failure;
use crate::output;

/// Writes a recipe that fits the data.
pub fn run(arguments: &Init, json: bool) -> Result<(), Failure> {
    if let Some(path) = &arguments.output
        && path.exists()
    {
        return Err(Failure::usage(format!(
            "{}: there already; remove it or choose another name",
            path.display()
        )));
    }
    let text = nearkin::init::recipe_for(&arguments.data)?;
    let Some(path) = &arguments.output else {
        return if json {
            output::json(&serde_json::json!({ "recipe": text }))
        } else {
            output::write(text)
        };
    };
    nearkin::write_beside(path, text.as_bytes())?;
    if json {
        return output::line(serde_json::json!({ "file": path }));
    }
    output::note(format_args!(
        "wrote {0}; next: nearkin train {0}",
        path.display()
    ));
    Ok(())
}
