//! bootc's schemas, to which our documents keep.

use anyhow::{Result, bail};
use rocketos_tests::paths;
use serde_json::Value;

/// Checks a document against a schema of bootc's, kept in tests/data.
pub fn validate(schema: &str, document: &Value) -> Result<()> {
    let file = paths::workspace().join("tests/data").join(format!("{schema}.schema.json"));
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    let validator = jsonschema::validator_for(&schema).map_err(|error| anyhow::anyhow!("the schema: {error}"))?;
    let errors: Vec<_> =
        validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    if !errors.is_empty() {
        bail!("{}", errors.join("; "));
    }
    Ok(())
}
