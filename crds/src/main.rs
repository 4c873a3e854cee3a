//! Prints the FlinCluster CustomResourceDefinition, or with `--write` puts it where it is committed:
//! `crds/flinclusters.yaml` and the template of the Helm chart.

use std::{env, fs};

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => print!("{}", flin_crds::manifest()?),
        ["--chart"] => print!("{}", flin_crds::chart_template()?),
        ["--write"] => {
            write("crds/flinclusters.yaml", &flin_crds::manifest()?)?;
            write("charts/flin/templates/crd.yaml", &flin_crds::chart_template()?)?;
        }
        _ => bail!("usage: flin-crds [--write | --chart]"),
    }
    Ok(())
}

fn write(path: &str, content: &str) -> anyhow::Result<()> {
    fs::write(path, content)
        .with_context(|| format!("write {path} (run this in the project's root)"))
}
